"""Reading of image-level labels."""

import gc
import json
import pickle
from contextlib import suppress

import pytest

from afa_mmseg.datasets import read_classes, read_label_file, read_voc_xml

CLASSES = ('cat', 'dog', 'dining table')


def test_json_of_names_and_one_hot_lists(tmp_path):
    file = tmp_path / 'labels.json'
    labels = {'x': ['dog', 'cat', 'dog'], 'sub/y': [0, 1, 1], 'z': [0.0, 0.0, 0.0], 'none': []}
    file.write_text(json.dumps(labels))
    assert read_label_file(file, CLASSES) == {
        'x': ['dog', 'cat'],
        'sub/y': ['dog', 'dining table'],
        'z': [],
        'none': [],
    }


@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
@pytest.mark.parametrize('header', [b'', b'id,label,label\r\n', b'ID,labels\r\n'])
def test_csv(tmp_path, bom, header):
    file = tmp_path / 'labels.csv'
    file.write_bytes(bom + header + b'x,dog,cat\r\n\r\n y , "dining table",,\r\nz\r\nw\xc3\xa9,cat')
    assert read_label_file(file, CLASSES) == {
        'x': ['dog', 'cat'],
        'y': ['dining table'],
        'z': [],
        'w\u00e9': ['cat'],
    }


ONE_HOT = {'x': ['cat'], 'y': ['cat', 'dining table'], 'z': []}


@pytest.mark.parametrize(
    'text',
    [
        'id,cat,dog,dining table\nx,1,0,0\ny,1,0,1\nz,0,0,0\n',
        # Excel in German: semicolons, CRLF, byte-order mark; an empty column and rows at the end.
        '\ufeffID;cat;dog;dining table;;\r\nx;1;0;0;;\r\ny;1;;1;;\r\nz;;;;;\r\n;;;;;\r\n\r\n',
        'sep=;\nid;cat;dog;dining table\nx;1\ny;1;0;1\nz\n',
        'id\tcat\tdog\tdining table\nx\tx\t\t\ny\tX\t\tx\nz\t\t\t\n',
        '"filename","cat","dog","dining table"\n"x","TRUE","FALSE","FALSE"\n"y","True","","yes"\n"z","no","No","NO"\n',
        # pandas: an index without a name, and floats
        ',cat,dog,dining table\nx,1.0,0.0,0.0\ny,1.0,0.0,1.0\nz,0.0,0.0,0.0\n',
        # columns in another order, and an empty one
        'id,dining table,,dog,cat\nx,0,,0,1\ny,1,,0,1\nz,0,,0,0\n',
    ],
    ids=['plain', 'semicolons', 'sep line', 'tabs', 'quoted', 'pandas', 'other order'],
)
def test_one_hot_columns_as_spreadsheets_write_them(tmp_path, text):
    file = tmp_path / 'labels.csv'
    file.write_bytes(text.encode())
    labels = read_label_file(file, CLASSES)
    assert {img_id: set(names) for img_id, names in labels.items()} == {i: set(n) for i, n in ONE_HOT.items()}


def test_names_may_look_like_marks_under_a_header_that_names_no_class(tmp_path):
    file = tmp_path / 'labels.csv'
    file.write_text('id,label,label2\na,1,x\nb,0\n')
    assert read_label_file(file, ['0', '1', 'x']) == {'a': ['1', 'x'], 'b': ['0']}
    assert read_classes(file) == ('0', '1', 'x')


def test_tabs_separate_a_tsv_whatever_its_cells_hold(tmp_path):
    file = tmp_path / 'labels.tsv'
    file.write_text('id\ttable, wooden\tcat;dog\na\t1\t0\n')
    assert read_label_file(file, ['table, wooden', 'cat;dog']) == {'a': ['table, wooden']}


@pytest.mark.parametrize(
    ('name', 'text', 'classes'),
    [
        ('a.csv', 'id,dog,cat,bee\nx,1,0,0\n', ('dog', 'cat', 'bee')),
        ('a.csv', 'id;"table, wooden";cat\nx;1;0\n', ('table, wooden', 'cat')),
        ('a.csv', 'x,dog,cat\ny\nz,\u732b,cat\n', ('cat', 'dog', '\u732b')),
        ('a.json', '{"x": ["dog"], "y": [], "z": ["cat", "dog"]}', ('cat', 'dog')),
    ],
)
def test_classes_come_from_the_file_itself(tmp_path, name, text, classes):
    (tmp_path / name).write_text(text, encoding='utf-8')
    assert read_classes(tmp_path / name) == classes


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.csv', 'id,label\nx,"cat, dog"\n', ['a.csv', "'cat, dog'", 'several classes', 'cell of its own']),
        ('a.csv', 'x,cat\ny,Cat\n', ["'Cat' and 'cat'", 'same way']),
        ('a.csv', 'x,dining table\ny,dining  table\n', ["'dining  table' and 'dining table'"]),
        ('a.csv', 'id,cat,Background\nx,1,1\n', ["'Background'", 'take it out']),
        ('a.csv', 'id\nx\ny\n', ['a.csv', 'names no class', 'label at least one']),
        ('a.csv', '', ['names no class']),
        ('a.json', '{"x": [1, 0]}', ["'x'", '[1, 0]', 'names no classes', 'metainfo']),
        ('a.json', '{"x": [""]}', ['without a name']),
    ],
)
def test_classes_that_can_hardly_be_meant(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        read_classes(tmp_path / name)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('id,cat,dog\nx,1,0\n', ["no column 'dining table'", 'Add the column']),
        ('id,cat,dog,dining tables\nx,1,0,0\n', ['header', "'dining tables'", "did you mean 'dining table'"]),
        ('id,cat,cat\nx,1,0\n', ['line 1', "'cat'", 'two columns']),
        ('id,cat,dog\nx,1,0,,1\n', ['line 2', 'cell 5', "'1'", 'without a name', 'line 1']),
        ('id,cat,dog\nx,1,0\ny,O,1\n', ['line 3', "column 'cat'", "'O'", "line 2 holds '1'", 'id,label,label']),
        ('id,cat,notes\nx,1,blurred\n', ['line 2', "column 'notes'", "'blurred'"]),
        ('id,cat,dog\nx,1,0\n,0,1\n', ['line 3', 'no id']),
        ('x,1,0\ny,0,1\n', ['line 1 (x, 1, 0)', 'no header', 'id,cat,dog']),
        ('Bild,cat,dog\nx,1,0\n', ['line 1 (Bild, cat, dog)', 'no header', 'id,label']),
        ('id;cat,dog\nx;1\n', ['line 1', 'comma and semicolon', 'quotation marks']),
        ('id,cat,dog\nx;1;0\n', ['line 2', "'x;1;0' is one cell", 'comma', 'same separator']),
        ('x,"cat\ny,dog\n', ['quotation mark is not closed']),
        ('x,"cat\ndog"\n', ['line 2', 'spans lines', 'one label in a cell']),
    ],
)
def test_tables_that_cannot_be_read_one_way_only(tmp_path, text, words):
    (tmp_path / 'a.csv').write_text(text)
    with pytest.raises(ValueError) as error:
        read_label_file(tmp_path / 'a.csv', CLASSES)
    assert [word for word in ['a.csv', *words] if word not in str(error.value)] == []


@pytest.mark.parametrize('name', ['a.csv', 'a.json'])
@pytest.mark.parametrize(
    ('data', 'words'),
    [
        ('x,cat\ny,\u00e9tui\n'.encode('cp1252'), ['line 2', '0xe9', 'UTF-8', 'Excel', 'LibreOffice']),
        ('x\tcat\n'.encode('utf-16'), ['line 1', '0xff', 'UTF-8']),
    ],
)
def test_other_encodings_are_named_with_how_to_save(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    for read in (read_classes, lambda path: read_label_file(path, CLASSES)):
        with pytest.raises(ValueError) as error:
            read(tmp_path / name)
        assert [word for word in [name, *words] if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.json', '{"x": ["cot"]}', ['a.json', "'x'", "'cot'", "did you mean 'cat'", 'cat, dog, dining table']),
        ('a.csv', 'x,Dog\n', ['a.csv', "'x'", "'Dog'", "did you mean 'dog'", 'metainfo']),
        ('a.json', '{"x": [0, 1]}', ["'x'", 'length 2', 'expected 3', 'cat, dog, dining table']),
        ('a.json', '{"x": [0, 2, 0]}', ["'x'", '[0, 2, 0]', 'one-hot list of 3']),
        ('a.json', '{"x": "cat"}', ["'x'", "'cat'", '["cat", "dog"]']),
        ('a.json', '{"x": ["cat", 1]}', ["'x'", 'neither']),
        ('a.json', '["x"]', ['a.json', 'list', '{"id": ["cat", "dog"]']),
        ('a.json', '{"x": ', ['a.json', 'not valid JSON', 'column 7']),
        ('a.json', '{"x": [], "y": [], "x": ["cat"]}', ["'x'", 'twice']),
        ('a.csv', 'x,cat\ny\nx,dog\n', ['a.csv', "'x'", 'twice']),
        ('a.npy', '', ['.npy', '`label_file`', '.json', '.csv', 'runs whatever code']),
        ('a.pkl', '', ['.pkl', 'runs whatever code']),
        ('a.xlsx', '', ['.xlsx', 'Save the spreadsheet as CSV']),
        ('a.txt', '', ['.txt', 'Rename it to .csv']),
    ],
)
def test_bad_label_file_is_named_with_value_and_remedy(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        read_label_file(tmp_path / name, CLASSES)
    assert [word for word in words if word not in str(error.value)] == []


def test_numbers_of_any_length_are_no_labels(tmp_path):
    (tmp_path / 'a.json').write_text(f'{{"x": [{"9" * 5000}, 0, 0]}}')
    with pytest.raises(ValueError, match=r"'x'.*: \[inf, 0, 0\] is neither"):
        read_label_file(tmp_path / 'a.json', CLASSES)


def test_blanks_around_cells_do_not_count(tmp_path):
    (tmp_path / 'a.csv').write_text(
        'id , cat ,dog,dining table\n x , 1 ,0 , true  \n y,\u00a01,, \n , \n', encoding='utf-8'
    )
    assert read_label_file(tmp_path / 'a.csv', CLASSES) == {'x': ['cat', 'dining table'], 'y': ['cat']}


@pytest.mark.parametrize('text', ['id,cat,dog,dining table\na,1,0,0\n', 'a,cot\n'])
def test_garbage_is_collected_again_afterwards(tmp_path, text):
    (tmp_path / 'a.csv').write_text(text)
    with suppress(ValueError):
        read_label_file(tmp_path / 'a.csv', CLASSES)
    assert gc.isenabled()


def test_a_pickle_under_another_name_is_not_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / 'sprung'), 'w'))

    for name in ('labels.json', 'labels.csv', 'labels.npy'):
        (tmp_path / name).write_bytes(pickle.dumps({'x': Trap()}))
        with pytest.raises(ValueError):
            read_label_file(tmp_path / name, CLASSES)
    assert not (tmp_path / 'sprung').exists()


def test_missing_label_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.csv'):
        read_label_file(tmp_path / 'gone.csv', CLASSES)


def test_xml_gives_every_object_and_no_parts(tmp_path):
    file = tmp_path / 'a.xml'
    file.write_text(
        '<annotation><object><name>person</name><part><name>head</name></part></object>'
        '<object><name> dog\n</name><difficult>1</difficult></object><object><name>person</name></object></annotation>'
    )
    assert read_voc_xml(file) == ['person', 'dog', 'person']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('<annotation><object>', ['a.xml', 'not valid XML', 'fetch it again']),
        ('', ['a.xml', 'not valid XML']),
        ('<annotation><object><name>cat</name></object><object/></annotation>', ['a.xml', 'object 2', '<name>']),
    ],
)
def test_bad_xml(tmp_path, text, words):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(ValueError) as error:
        read_voc_xml(tmp_path / 'a.xml')
    assert [word for word in words if word not in str(error.value)] == []
