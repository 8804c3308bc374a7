"""`convert_labels.py` as a user runs it."""

import json
import os
import pickle
import runpy
import signal
import sys

import numpy as np
import pytest

from tests.datasets.files import write_image
from tests.tools.toolbox import REPO, run_tool

SCRIPT = 'dataset_converters/convert_labels.py'
CAT, DOG, PERSON = 7, 11, 14  # places among the classes of VOC


def one_hot(*places):
    vector = np.zeros(20, np.float32)
    vector[list(places)] = 1
    return vector


@pytest.fixture
def source(tmp_path):
    """A label file as the field has it: a dict that `np.save` pickled."""
    np.save(
        tmp_path / 'onehot.npy',
        {'2007_000032': one_hot(PERSON, CAT), '2007_000027': one_hot(), '2007_000033': one_hot(DOG)},
    )
    return tmp_path / 'onehot.npy'


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """Run the script in this process (a fresh one needs seconds to import torch); return its status and its lines."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [SCRIPT, *arguments])
        with pytest.raises(SystemExit) as status:
            runpy.run_path(str(REPO / 'tools' / SCRIPT), run_name='__main__')
        output = capsys.readouterr()
        return status.value.code or 0, (output.out + output.err).splitlines()

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)


def test_a_pickled_dict_becomes_json_once(source, tmp_path, convert):
    process = run_tool(SCRIPT, 'onehot.npy', 'new/labels.json', '--classes', 'voc', cwd=tmp_path)
    assert json.loads((tmp_path / 'new/labels.json').read_text()) == {
        '2007_000027': [],
        '2007_000032': ['cat', 'person'],
        '2007_000033': ['dog'],
    }
    assert process.stdout.endswith('      3 images, 1 of them without any label\nwritten to new/labels.json\n')
    before = (tmp_path / 'new/labels.json').stat().st_mtime_ns
    status, lines = convert('onehot.npy', 'new/labels.json', '--classes', 'voc')
    assert status == 0
    counts = {line.split()[1]: int(line.split()[0]) for line in lines[:20]}
    assert sum(counts.values()) == 3
    assert (counts['cat'], counts['dog'], counts['person'], counts['aeroplane']) == (1, 1, 1, 0)
    assert lines[20:] == ['      3 images, 1 of them without any label', 'already in new/labels.json']
    assert (tmp_path / 'new/labels.json').stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['labels.json']


def test_exports_of_other_tools_and_folders_are_recognised(tmp_path, convert):
    coco = dict(
        images=[dict(id=1, file_name='a.jpg'), dict(id=2, file_name='b.jpg')],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[dict(image_id=1, category_id=2), dict(image_id=1, category_id=1)],
    )
    choice = dict(type='choices', value=dict(choices=['dog', 'cat']))
    tasks = [
        dict(data=dict(image=f'/data/upload/1/0a1b2c3d-{name}.jpg'), annotations=[dict(result=result)])
        for name, result in (('a', [choice]), ('b', []))
    ]
    for name, content in (('coco.json', coco), ('project.json', tasks)):
        (tmp_path / name).write_text(json.dumps(content))
    for name in ('folders/cat/a.jpg', 'folders/dog/a.jpg', 'folders/background/b.jpg'):
        write_image(tmp_path / name, seed=name[-5] == 'b')
    for source in ('coco.json', 'project.json'):
        status, lines = convert(source, 'out.json')
        assert status == 0, lines
        assert json.loads((tmp_path / 'out.json').read_text()) == {'a': ['cat', 'dog'], 'b': []}
    assert convert('folders', 'out.json')[0] == 0
    both = {'cat/a': ['cat', 'dog'], 'dog/a': ['cat', 'dog']}
    assert json.loads((tmp_path / 'out.json').read_text()) == {'background/b': [], **both}


class Touch:
    """Loading it runs a command."""

    def __reduce__(self):
        return os.system, ('touch flag',)


def test_a_file_that_would_run_a_command_is_refused_and_nothing_is_written(tmp_path):
    (tmp_path / 'labels.pkl').write_bytes(pickle.dumps({'a': one_hot(CAT), 'b': Touch()}))
    process = run_tool(SCRIPT, 'labels.pkl', 'out.json', '--classes', 'voc', cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert f'error: label file labels.pkl: refused: the file asks for {os.system.__module__}.system' in process.stdout
    assert 'Traceback' not in process.stdout
    assert [path.name for path in tmp_path.iterdir()] == ['labels.pkl']


@pytest.mark.parametrize(
    ('arguments', 'status', 'words'),
    [
        (['onehot.npy', 'out.json', '--classes', 'coco'], 1, ["id '2007_000032': 20 numbers, expected 80"]),
        (['onehot.npy', 'out.json'], 1, ['onehot.npy', '--classes']),
        (['gone.npy', 'out.json', '--classes', 'voc'], 1, ['no such file: gone.npy']),
        (['onehot.npy', 'out.csv', '--classes', 'voc'], 2, ['must end in .json, got out.csv']),
    ],
)
def test_a_mistake_is_one_message(source, tmp_path, convert, arguments, status, words):
    found, lines = convert(*arguments)
    text = '\n'.join(lines)
    assert found == status
    assert 'convert_labels.py: error: ' in text
    assert [word for word in words if word not in text] == []
    assert [path.name for path in tmp_path.iterdir()] == ['onehot.npy']
