"""check_dataset.py as a user runs it."""

import importlib.util
import json
import re
import sys

import pytest

from tests.datasets.files import write_image, write_mask
from tests.tools.toolbox import REPO, run_tool

SCRIPT = 'dataset_converters/check_dataset.py'
FOLDER = ['--img-dir', 'data/images', '--labels', 'data/labels.csv']


@pytest.fixture
def root(tmp_path):
    """Twenty images of two classes with masks, which the config reads in validation."""
    for number in range(20):
        write_image(tmp_path / f'data/images/{number}.jpg', 80, 120, seed=number)
        write_mask(tmp_path / f'data/masks/{number}.png', 1 + number % 2, 80, 120)
    lines = [f'{number},{("cat", "dog")[number % 2]}' for number in range(20)]
    (tmp_path / 'data/labels.csv').write_text('\n'.join(['id,label', *lines]))
    (tmp_path / 'config.py').write_text(
        f'_base_ = {str(REPO / "configs/afa/afa_mit-b1_custom.py")!r}\n'
        "train_dataloader = dict(dataset=dict(data_root='data'))\n"
        "val_dataloader = dict(dataset=dict(data_root='data'))\n"
        'model = dict(decode_head=dict(num_classes=3))\n'
    )
    return tmp_path


@pytest.mark.slow
def test_from_a_folder_to_split_lists_to_a_checked_config(root, monkeypatch, capsys):
    arguments = [*FOLDER, '--masks', 'data/masks', '--split', 0.2, '--report', 'report']
    run = run_tool(SCRIPT, *arguments, cwd=root)
    assert 'num_classes = 3, the background included' in run.stdout
    assert '0 errors, 0 warnings' in run.stdout
    assert 'report written to report' in run.stdout
    assert 'train.txt (16) and val.txt (4) written to data' in run.stdout
    assert sorted(path.name for path in (root / 'report').iterdir()) == ['classes.png', 'report.json', 'report.txt']

    assert run_here(monkeypatch, root, *arguments) == 0
    again = capsys.readouterr().out
    assert 'report is unchanged in report' in again
    assert 'train.txt (16) and val.txt (4) are already in data' in again

    (root / 'data/images/notes.docx').touch()
    with_config = run_tool(SCRIPT, 'config.py', '--report', 'report', '--num-workers', 2, cwd=root)
    assert 'warning: files in data/images that are not read (1)\n    .docx (1)' in with_config.stdout
    assert '0 errors, 1 warning' in with_config.stdout  # and exit status 0
    figures = json.loads((root / 'report/report.json').read_text())['splits']
    assert {name: data['images'] for name, data in figures.items()} == dict(train=16, val=4)


def run_here(monkeypatch, root, *arguments):
    """Run the script in this process; starting one takes seconds."""
    spec = importlib.util.spec_from_file_location('check_dataset', REPO / 'tools' / SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *map(str, arguments)])
    return module.main()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'name a config, or --img-dir and --labels'),
        (['config.py', *FOLDER], 'omit --img-dir'),
        ([*FOLDER, '--list', 'data/train.txt', '--split', 0.1], '--split writes lists, --list reads them'),
    ],
)
def test_wrong_arguments(root, monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit) as stopped:
        run_here(monkeypatch, root, *arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--img-dir', 'gone', '--labels', 'data/labels.csv'], 'no such folder: gone'),
        (['--img-dir', 'data/images', '--labels', 'data/gone.csv'], 'no such file: data/gone.csv'),
        ([*FOLDER, '--masks', 'gone'], 'all: no such folder of masks (1)\n    gone'),
        ([*FOLDER, '--list', 'gone.txt'], 'gone: cannot be listed (1)\n    `ann_file`'),
        (['config.py'], 'no such file: data/train.txt'),
    ],
)
def test_missing_files_are_errors(root, monkeypatch, capsys, arguments, words):
    assert run_here(monkeypatch, root, *arguments) == 1
    assert words in capsys.readouterr().out


def test_options_change_the_config(root, monkeypatch, capsys):
    options = ['val_dataloader=None', 'train_dataloader.dataset.ann_file=', 'model.decode_head.num_classes=5']
    assert run_here(monkeypatch, root, 'config.py', '--cfg-options', *options) == 1
    output = capsys.readouterr().out
    assert 'num_classes is 5' in output
    assert '1 error, 0 warnings' in output


def test_a_split_list_is_read(root, monkeypatch, capsys):
    (root / 'data/some.txt').write_text('1\n2.jpg\n')
    assert run_here(monkeypatch, root, *FOLDER, '--list', 'data/some.txt') == 0
    assert re.search(r'left out of the list +\| +18 ', capsys.readouterr().out)
