"""Reading of image-level labels."""

import json
import pickle

import pytest

from afa_mmseg.datasets import read_classes, read_label_file, read_voc_xml
from afa_mmseg.datasets.label_files import rare_classes
from tests import refusal
from tests.datasets.files import write_image

CLASSES = ('cat', 'dog', 'dining table')


def refused(read, path, *arguments, words):
    refusal.refused(read, path, *arguments, words=[path.name, *words])


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


@pytest.mark.parametrize('header', [b'', b'\xef\xbb\xbfid,label,label\r\n', b'ID,labels\r\n', b'Bild;Tier\r\n'])
def test_names(tmp_path, header):
    file = tmp_path / 'labels.csv'
    text = header + b'x,dog,cat\r\n\r\n y , "dining table",,\r\nz\r\nw\xc3\xa9,cat'
    file.write_bytes(text.replace(b',', b';') if b';' in header else text)
    assert read_label_file(file, CLASSES) == {'x': ['dog', 'cat'], 'y': ['dining table'], 'z': [], 'w\u00e9': ['cat']}


@pytest.mark.parametrize(
    'text',
    [
        'a.jpg,"cat, dog"\nb\nc,"dining table"',
        'id,tags\na.jpg,cat;dog\nb,\nc,dining table\n',
        'a.jpg\tcat,dog\nb\nc\tdining table\n',
        'id;labels\na.jpg;cat | dog\nb;\nc;dining table\n',
    ],
)
def test_several_names_in_a_cell(tmp_path, text):
    file = tmp_path / 'labels.csv'
    file.write_text(text)
    assert read_label_file(file, CLASSES) == {'a.jpg': ['cat', 'dog'], 'b': [], 'c': ['dining table']}
    assert read_classes(file) == ('cat', 'dining table', 'dog')


@pytest.mark.parametrize('header', ['Dateiname;Tags;Fotograf', 'id;comment;labels', 'file;label;label;Ort'])
def test_a_column_beside_those_of_names_is_refused(tmp_path, header):
    file = tmp_path / 'labels.csv'
    file.write_text(f'{header}\na;cat;Eva\nb;dog;Tom\n')
    (named,) = {'Fotograf', 'comment', 'Ort'} & {*header.split(';')}
    refused(read_classes, file, words=[repr(named), "'label'"])


def test_a_dash_is_no_class(tmp_path):
    file = tmp_path / 'labels.csv'
    file.write_text('id,label\na,-\nb,"cat, -"\n')
    assert read_label_file(file, CLASSES) == {'a': [], 'b': ['cat']}
    assert read_classes(file) == ('cat',)


ONE_HOT = {'x': ['cat'], 'y': ['cat', 'dining table'], 'z': []}
WORDS = ['WAHR FALSCH', 'VRAI FAUX', 'ja nein', 'oui non', 'yes no', 'Y N', 'true false', '1 0', '1,0 0,0', '\u2713 -']
WORDS = [words.split() for words in WORDS]


@pytest.mark.parametrize(
    'text',
    [
        # Excel in German: semicolons, CRLF, byte-order mark; an empty column and rows at the end.
        '\ufeffID;cat;dog;dining table;;\r\nx;1;0;0;;\r\ny;1;;1;;\r\nz;;;;;\r\n;;;;;\r\n\r\n',
        'sep=;\nid;cat;dog;dining table\nx;1\ny;1;0;1\nz\n',
        'id\tcat\tdog\tdining table\nx\tx\t\t\ny\tX\t\tx\nz\t\t\t\n',
        '"filename","cat","dog","dining table"\n"x","TRUE","FALSE","FALSE"\n"y","True","","yes"\n"z","no","No","NO"\n',
        # pandas: an index without a name, and floats
        ',cat,dog,dining table\nx,1.0,0.0,0.0\ny,1.0,0.0,1.0\nz,0.0,0.0,0.0\n',
        # columns in another order, and an empty one
        'id,dining table,,dog,cat\nx,0,,0,1\ny,1,,0,1\nz,0,,0,0\n',
        ' id , cat ,dog,dining table\n x , 1 ,0,\ny,\u00a01,, true  \nz\n , \n',
        *(f'id;cat;dog;dining table\nx;{yes};{no};{no}\ny;{yes};;{yes}\nz;{no};{no};{no}\n' for yes, no in WORDS),
    ],
)
def test_one_hot_columns_as_spreadsheets_write_them(tmp_path, text):
    file = tmp_path / 'labels.csv'
    file.write_bytes(text.encode())
    labels = read_label_file(file, CLASSES)
    assert {img_id: set(names) for img_id, names in labels.items()} == {i: set(n) for i, n in ONE_HOT.items()}
    assert set(read_classes(file)) == set(CLASSES)


def test_names_may_look_like_marks_under_a_header_that_names_no_class(tmp_path):
    file = tmp_path / 'labels.csv'
    file.write_text('id,label,label\na,1,x\nb,0\n')
    assert read_label_file(file, ['0', '1', 'x']) == {'a': ['1', 'x'], 'b': ['0']}
    assert read_classes(file) == ('0', '1', 'x')


@pytest.mark.parametrize('classes', [('0', '1', '2'), ('class1', 'class2', 'class3')])
def test_columns_with_names_of_a_plain_header_are_those_of_known_classes(tmp_path, classes):
    file = tmp_path / 'labels.csv'
    file.write_text(f'id,{",".join(classes)}\na,1,0,0\nb,0,0,1\nc,0,1,1\n')
    assert read_label_file(file, classes) == {'a': [classes[0]], 'b': [classes[2]], 'c': [*classes[1:]]}
    refused(read_classes, file, words=['line 1', classes[2], 'id,label,label', 'metainfo'])
    refused(read_label_file, file, classes[:2], words=['header', repr(classes[2])])
    refused(read_label_file, file, (*classes, 'cat'), words=['header', "'cat'"])


def test_columns_may_be_numbered_though_numbers_are_classes(tmp_path):
    file = tmp_path / 'labels.csv'
    file.write_text(',0,1\na,5,1\nb,0,\n')
    assert read_label_file(file, [str(digit) for digit in range(10)]) == {'a': ['5', '1'], 'b': ['0']}


def test_an_index_is_a_header(tmp_path):
    file = tmp_path / 'labels.csv'
    file.write_text('index,label\na,cat\nb,dog\n')
    assert read_classes(file) == ('cat', 'dog')
    assert read_label_file(file, CLASSES) == {'a': ['cat'], 'b': ['dog']}


def test_tabs_separate_a_tsv_whatever_its_cells_hold(tmp_path):
    file = tmp_path / 'labels.tsv'
    file.write_text('id\ttable, wooden\tcat;dog\na\t1\t0\n')
    assert read_label_file(file, ['table, wooden', 'cat;dog']) == {'a': ['table, wooden']}


@pytest.mark.parametrize(
    ('name', 'text', 'classes'),
    [
        ('a.csv', 'id,dog,cat,bee\nx,1,0,0\n', ('dog', 'cat', 'bee')),
        ('a.csv', 'x,dog,cat\ny\nz,\u732b,cat\n', ('cat', 'dog', '\u732b')),
        ('a.csv', 'id,cat\nx,1\ny,0\n', ('cat',)),
        ('a.json', '{"x": ["dog"], "y": [], "z": ["cat", "dog, wild"]}', ('cat', 'dog', 'dog, wild')),
    ],
)
def test_classes_come_from_the_file_itself(tmp_path, name, text, classes):
    (tmp_path / name).write_text(text, encoding='utf-8')
    assert read_classes(tmp_path / name) == classes


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.csv', 'x,cat\ny,Cat\n', ["'Cat'", "'cat'"]),
        ('a.csv', 'id,cat,Background\nx,1,1\n', ["'Background'"]),
        ('a.csv', '', ['no class']),
        ('a.json', '{"x": [1, 0]}', ["'x'", '[1, 0]', 'metainfo']),
        ('a.csv', 'x,cat\x1b[2J\n', ["'cat\\x1b[2J'"]),
    ],
)
def test_classes_that_can_hardly_be_meant(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    refused(read_classes, tmp_path / name, words=words)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('id,cat,dog\nx,1,0\n', ["no column 'dining table'"]),
        ('id,cat,dog,dining tables\nx,1,0,0\n', ['header', "'dining tables'", "'dining table'"]),
        ('id,cat,cat\nx,1,0\n', ['line 1', "'cat'"]),
        ('id,cat,dog\nx,1,0,,1\n', ['line 2', 'cell 5', "'1'"]),
        ('id,cat,dog\nx,1,0\ny,O,1\n', ['line 3', "column 'cat'", "'O'"]),
        ('id;cat;dog\nx;1;FA\u0141SZ\n', ['line 2', "column 'dog'", "'FA\u0141SZ'"]),
        ('id,label1,label2,label3\nx,1,0,0\n', ['line 1 (id, label1, label2, label3)', 'metainfo']),
        ('id,cat,dog\nx,1,0\n,0,1\n', ['line 3', 'no id']),
        ('id,cat,dog\nx,1,0\nx,0,1\n', ['line 3', "'x'"]),
        ('x,1,0\ny,0,1\n', ['line 1 (x, 1, 0)', 'header']),
        ('id,cat,dog\nx;1;0\n', ['line 2', "'x;1;0'", "','"]),
        ('x,"cat\ny,dog\n', ['line']),
    ],
)
def test_tables_that_cannot_be_read_one_way_only(tmp_path, text, words):
    (tmp_path / 'a.csv').write_text(text, encoding='utf-8')
    refused(read_label_file, tmp_path / 'a.csv', CLASSES, words=words)


@pytest.mark.parametrize('name', ['a.csv', 'a.json'])
def test_other_encodings(tmp_path, name):
    (tmp_path / name).write_bytes('x,cat\ny,\u00e9tui\n'.encode('cp1252'))
    for arguments in ((read_classes,), (read_label_file, CLASSES)):
        refused(arguments[0], tmp_path / name, *arguments[1:], words=['line 2', '0xe9', 'UTF-8'])


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.json', '{"x": ["cot"]}', ["'x'", "'cot'", "'cat'", 'cat, dog, dining table']),
        ('a.csv', 'x,"cat, dgo"\n', ["'x'", "'dgo'", "'dog'", 'metainfo']),
        ('a.json', '{"x": [0, 1]}', ["'x'", '2 numbers', 'expected 3']),
        ('a.json', '{"x": [0, 2, 0]}', ["'x'", '[0, 2, 0]', 'zeros and ones']),
        ('a.json', '{"x": "cat"}', ["'x'", "'cat'"]),
        ('a.json', '{"x": ["cat", 1]}', ["'x'", "['cat', 1]"]),
        ('a.json', '["x"]', ['list']),
        ('a.json', '{"x": ', ['JSON', 'column 7']),
        ('a.json', '[' * 100_000, ['JSON']),
        ('a.json', '{"x": [], "y": [], "x": ["cat"]}', ["'x'", 'twice']),
        ('a.npy', '', ['.npy', '`label_file`', 'convert_labels.py']),
        ('a.xlsx', '', ['.xlsx', 'CSV']),
        ('a.txt', '', ['.txt', '.csv', 'convert_labels.py']),
    ],
)
def test_bad_label_file_is_named_with_value_and_remedy(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    refused(read_label_file, tmp_path / name, CLASSES, words=words)


def test_a_pickle_under_another_name_is_not_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / 'sprung'), 'w'))

    for name in ('labels.json', 'labels.csv', 'labels.npy'):
        (tmp_path / name).write_bytes(pickle.dumps({'x': Trap()}))
        refused(read_label_file, tmp_path / name, CLASSES, words=[])
    assert not (tmp_path / 'sprung').exists()


def test_a_rare_class_is_named_with_the_common_one_of_similar_name():
    labels = {str(number): ['dog', 'cat'] if number % 2 else ['dog'] for number in range(300)}
    assert rare_classes(labels, ('cat', 'dog')) == {}
    labels.update(a=['dgo'], b=['sheep'])
    assert rare_classes(labels, ('cat', 'dgo', 'dog', 'sheep')) == {'dgo': "did you mean 'dog'?", 'sheep': ''}
    labels.update({f'{number}b': ['sheep'] for number in range(3)})  # more than 1 %
    assert list(rare_classes(labels, ('cat', 'dgo', 'dog', 'sheep'))) == ['dgo']


# Files of other tools

COCO = dict(
    images=[dict(id=number, file_name=f'{name}.jpg') for number, name in enumerate('abc')],
    categories=[dict(id=9, name='dog'), dict(id=0, name='background'), dict(id=3, name='cat')],
    annotations=[
        dict(id=i, image_id=image, category_id=category) for i, (image, category) in enumerate([(0, 9), (1, 3), (0, 3)])
    ],
)


def test_coco_annotations_are_tags(tmp_path):
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(COCO))
    assert read_classes(file) == ('cat', 'dog')
    assert read_label_file(file, ('cat', 'dog')) == {'a.jpg': ['dog', 'cat'], 'b.jpg': ['cat'], 'c.jpg': []}


def annotation(*results, **kwargs):
    return dict(result=[dict(type=kind, value={kind: names}) for kind, names in results], **kwargs)


TASKS = [
    dict(
        data=dict(image='/data/upload/1/0a1b2c3d-IMG_1.JPG'),
        annotations=[
            annotation(('choices', ['cat'])),
            annotation(('rectanglelabels', ['dog']), ('brushlabels', ['cat']), ('textarea', ['a note'])),
        ],
    ),
    dict(data=dict(photo='/data/local-files/?d=holiday/b%20c.png'), annotations=[annotation()]),
    dict(data=dict(image='s3://bucket/x/d.jpg?version=1', text='a.jpg'), annotations=[annotation(('rectangle', []))]),
    dict(data=dict(image='e.jpg'), annotations=[annotation(('choices', ['cat']), was_cancelled=True)]),
    dict(data=dict(image='f.jpg'), annotations=[]),
]


def test_label_studio_choices_and_regions_are_tags(tmp_path):
    file = tmp_path / 'project.json'
    file.write_text(json.dumps(TASKS))
    assert read_classes(file) == ('cat', 'dog')
    assert read_label_file(file, ('cat', 'dog')) == {'IMG_1.JPG': ['cat', 'dog'], 'b c.png': [], 'd.jpg': []}


def test_folders_are_tags_and_a_copy_in_two_of_them_has_both(tmp_path):
    for name, seed in {'cat/a': 0, 'cat/b': 1, 'dog/a': 0, 'dog/b': 2, 'dog/sub/c': 3, 'background/d': 4}.items():
        write_image(tmp_path / f'{name}.jpg', seed=seed)
    assert read_classes(tmp_path) == ('cat', 'dog')
    both = ['cat', 'dog']
    assert read_label_file(tmp_path, both) == {
        'background/d': [],
        'cat/a': both,
        'cat/b': ['cat'],  # not the image of dog/b
        'dog/a': both,
        'dog/b': ['dog'],
        'dog/sub/c': ['dog'],
    }
    write_image(tmp_path / 'cat/.thumbnails/a.jpg')
    assert list(read_label_file(tmp_path, both)) == ['background/d', 'cat/a', 'cat/b', 'dog/a', 'dog/b', 'dog/sub/c']
    write_image(tmp_path / 'e.jpg')
    refused(read_classes, tmp_path, words=['e.jpg'])


def changed(content, **fields):
    return {**content, **fields}


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (changed(COCO, annotations=[dict(image_id=7, category_id=3)]), ['COCO', '7']),
        (changed(COCO, annotations=[dict(image_id=0, category_id=4)]), ['COCO', '4']),
        (changed(COCO, images=[dict(id=number) for number in range(3)]), ['COCO', 'file_name']),
        (changed(COCO, images=[*COCO['images'], dict(id=9, file_name='a.jpg')]), ['file_name']),
        ([dict(image='a.jpg', choice='cat')], ['task 1', 'JSON-MIN']),
        ([changed(TASKS[0], data=dict(text='a'))], ['task 1', '`data`']),
        ([TASKS[0], TASKS[0]], ["'IMG_1.JPG'"]),
    ],
)
def test_exports_of_another_form_are_named(tmp_path, content, words):
    (tmp_path / 'a.json').write_text(json.dumps(content))
    refused(read_classes, tmp_path / 'a.json', words=words)


# XML


def test_xml_names_every_object_and_no_parts(tmp_path):
    file = tmp_path / 'a.xml'
    file.write_text(
        '<annotation><object><name>person</name><part><name>head</name></part></object>'
        '<object><name> dog\n</name><difficult>1</difficult></object><object><name>person</name></object></annotation>'
    )
    assert read_voc_xml(file) == ['person', 'dog', 'person']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('<annotation><object>', ['XML']),
        ('<?xml version="1.0" encoding="nowhere"?><annotation/>', ['XML']),
        ('<annotation><object><name>cat</name></object><object/></annotation>', ['object 2', '<name>']),
    ],
)
def test_bad_xml(tmp_path, text, words):
    (tmp_path / 'a.xml').write_text(text)
    refused(read_voc_xml, tmp_path / 'a.xml', words=words)
