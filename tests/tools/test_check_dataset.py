"""check_dataset.py as a user runs it."""

import re
import runpy
import sys

import pytest
from mmengine.config import Config

from tests.datasets.files import write_image, write_mask, write_template
from tests.tools.toolbox import REPO, run_tool

SCRIPT = 'dataset_converters/check_dataset.py'
FOLDER = ['data/images', '--labels', 'data/labels.csv']


@pytest.fixture
def root(tmp_path):
    """Twenty images of two classes with masks, which the config reads in validation."""
    for number in range(20):
        write_image(tmp_path / f'data/images/{number}.jpg', 80, 120, seed=number)
        write_mask(tmp_path / f'data/masks/{number}.png', 1 + number % 2, 80, 120)
    lines = [f'{number},{("cat", "dog")[number % 2]}' for number in range(20)]
    (tmp_path / 'data/labels.csv').write_text('\n'.join(['id,label', *lines]))
    write_template(tmp_path / 'config.py', data_root='data', num_classes=3)
    return tmp_path


def run_here(monkeypatch, root, *arguments):
    """Run the script in this process; starting one takes seconds."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *map(str, arguments), '--num-workers', '0'])
    return runpy.run_path(str(REPO / 'tools' / SCRIPT))['main']()


@pytest.mark.slow
def test_from_a_folder_to_a_config(root):
    arguments = [*FOLDER, '--masks', 'data/masks', '--split', 0.2, '--report', 'report', '--config', 'mine.py']
    output = run_tool(SCRIPT, *arguments, cwd=root).stdout
    for line in (
        'num_classes = 3, the background included',
        '0 errors, 0 warnings',
        'report written to report',
        'train.txt (16) and val.txt (4) are in data',
        'mine.py: 2000 iterations; train: afa train mine.py',
    ):
        assert line in output.splitlines()
    assert sorted(path.name for path in (root / 'report').iterdir()) == ['report.txt']


def test_a_config_is_written_with_lists_or_without(root, monkeypatch, capsys):
    assert run_here(monkeypatch, root, *FOLDER, '--config', 'mine.py') == 0
    config = Config.fromfile(root / 'mine.py')
    assert config.model.decode_head.num_classes == 3
    assert config.train_dataloader.dataset.data_root == str(root / 'data')
    assert (config.train_dataloader.dataset.ann_file, config.val_dataloader.dataset.ann_file) == (
        'train.txt',
        'val.txt',
    )
    assert [len((root / f'data/{name}.txt').read_text().split()) for name in ('train', 'val')] == [18, 2]
    (root / 'few.txt').write_text('0\n1\n')
    (root / 'other.txt').write_text('2\n3\n')
    assert run_here(monkeypatch, root, *FOLDER, '--list', 'few.txt', 'other.txt', '--config', 'other.py') == 0
    config = Config.fromfile(root / 'other.py')
    assert config.train_dataloader.dataset.data_root == str(root)
    assert config.train_dataloader.dataset.ann_file == 'few.txt'
    assert config.train_dataloader.dataset.label_file == 'data/labels.csv'


def test_base_iterations_and_side_are_chosen(root, monkeypatch, capsys):
    options = ['--base', 'afa_efficientnet-lite2_voc-animals', '--iterations', '60', '--side', '224']
    assert run_here(monkeypatch, root, *FOLDER, '--config', 'mine.py', *options) == 0
    config = Config.fromfile(root / 'mine.py')
    assert config.model.backbone.type == 'AttentionBackbone'
    assert config.model.decode_head.num_classes == 3
    assert config.model.data_preprocessor['size'] == (224, 224)
    (crop,) = [step for step in config.train_pipeline if step.type == 'RandomCropWithBox']
    assert crop.crop_size == (224, 224)
    assert (config.train_cfg.max_iters, config.model.train_cfg.cam_label_until) == (60, 21)
    assert config.param_scheduler[0].max_iters == 60
    with pytest.raises(FileNotFoundError, match='afa_mit-b9_voc'):
        run_here(monkeypatch, root, *FOLDER, '--config', 'other.py', '--base', 'afa_mit-b9_voc')


@pytest.mark.parametrize('option', ['--iterations', '--side'])
@pytest.mark.parametrize('value', ['0', '-5'])
def test_iterations_and_side_are_positive(root, monkeypatch, capsys, option, value):
    with pytest.raises(SystemExit):
        run_here(monkeypatch, root, *FOLDER, '--config', 'mine.py', option, value)
    assert f'argument {option}' in capsys.readouterr().err
    assert not (root / 'mine.py').exists()


def test_folders_are_labels_of_their_own(root, monkeypatch, capsys):
    for number in range(20):
        folder = root / 'tags' / ('cat', 'dog')[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (root / f'data/images/{number}.jpg').rename(folder / f'{number}.jpg')
    assert run_here(monkeypatch, root, 'tags', '--labels', 'tags', '--config', 'mine.py') == 0
    assert '0 errors, 0 warnings' in capsys.readouterr().out
    dataset = Config.fromfile(root / 'mine.py').train_dataloader.dataset
    assert (dataset.data_prefix.img_path, dataset.label_file) == ('tags', 'tags')


def test_a_config_is_checked(root, monkeypatch, capsys):
    assert run_here(monkeypatch, root, *FOLDER, '--split', '0.2') == 0
    (root / 'data/images/notes.docx').touch()
    assert run_here(monkeypatch, root, 'config.py', '--report', 'report') == 0
    output = capsys.readouterr().out
    assert 'warning: files in data/images that are not read (1)\n    .docx (1)' in output
    assert re.search(r'\| images +\| +16 \| +4 \|', output)


def test_errors_end_it_before_anything_is_written(root, monkeypatch, capsys):
    (root / 'data/images/new.jpg').write_text('no image')
    assert run_here(monkeypatch, root, *FOLDER, '--config', 'mine.py') == 1
    assert not (root / 'mine.py').exists()
    assert not (root / 'data/train.txt').exists()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['data/images'], '--labels'),
        (['afa_mit-b1_vco'], 'no folder of images, nor the name of a config; did you mean afa_mit-b1_voc?'),
        (['gone'], 'gone is no folder of images, nor the name of a config. `afa config list`'),
        (['config.py', '--labels', 'data/labels.csv'], 'omit --labels'),
        ([*FOLDER, '--list', 'data/train.txt', '--split', 0.1], '--split writes lists, --list reads them'),
        ([*FOLDER, '--list', 'data/train.txt', '--config', 'mine.py'], '--list TRAIN VAL'),
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
        (['gone', '--labels', 'data/labels.csv'], 'no such folder: gone'),
        (['data/images', '--labels', 'data/gone.csv'], 'no such file: data/gone.csv'),
        (['data/images', '--labels', 'data/labels.npy'], 'convert_labels.py'),
        ([*FOLDER, '--masks', 'gone'], 'all: no such folder of masks (1)\n    gone'),
        ([*FOLDER, '--list', 'gone.txt'], 'gone: cannot be listed (1)\n    `ann_file`'),
        (['config.py'], 'no such file: data/train.txt'),
    ],
)
def test_missing_files_are_errors(root, monkeypatch, capsys, arguments, words):
    (root / 'data/labels.npy').touch()
    assert run_here(monkeypatch, root, *arguments) == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(('option', 'word'), [('img_sufix=.png', 'img_sufix'), ('type=ImageDataset', 'ImageDataset')])
def test_a_config_that_cannot_be_built_is_named(root, monkeypatch, option, word):
    with pytest.raises(ValueError, match=rf'config\.py cannot be built.*{word}'):
        run_here(monkeypatch, root, 'config.py', '--cfg-options', f'train_dataloader.dataset.{option}')


def test_a_shipped_config_is_checked_by_its_name(root, monkeypatch, capsys):
    options = ['--cfg-options', 'data_root=gone']
    assert run_here(monkeypatch, root, 'afa_mit-tiny_shapes', *options) == 1
    assert '`data_root` of ShapesVOCDataset' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_here(monkeypatch, root, 'afa_mit-tiny_shapes', '--labels', 'data/labels.csv')
    assert 'omit --labels' in capsys.readouterr().err
    (root / 'data/images').rename(root / 'afa_mit-tiny_shapes')
    assert run_here(monkeypatch, root, 'afa_mit-tiny_shapes', '--labels', 'data/labels.csv') == 0


def test_options_change_the_config(root, monkeypatch, capsys):
    options = ['val_dataloader=None', 'train_dataloader.dataset.ann_file=', 'classes=[background,cat,dog,cow]']
    assert run_here(monkeypatch, root, 'config.py', '--cfg-options', *options) == 0
    output = capsys.readouterr().out
    assert 'num_classes = 4' in output
    assert 'classes without an image (1)\n    cow' in output


def test_a_split_list_is_read(root, monkeypatch, capsys):
    (root / 'data/some.txt').write_text('1\n2.jpg\n')
    assert run_here(monkeypatch, root, *FOLDER, '--list', 'data/some.txt') == 0
    assert re.search(r'left out of the list +\| +18 ', capsys.readouterr().out)
