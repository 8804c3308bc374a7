"""The wheel in an empty environment and folder: what is in it, and the command `afa` from training to prediction."""

import subprocess
import zipfile

import pytest

from tests.wheels import REPO, build_wheel, environment_of, make_environment

SHORT = (
    'train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
)  # fmt: skip


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp('wheel'))


@pytest.mark.slow
def test_the_wheel_holds_package_configs_and_tools(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for folder in ('configs', 'tools') for path in (REPO / folder).rglob('*') if path.is_file()]
    expected = {f'afa_mmseg/.mim/{path.relative_to(REPO).as_posix()}' for path in files if path.suffix != '.pyc'}
    sources = [*(REPO / 'afa_mmseg').rglob('*.py'), *(REPO / 'afa_mmseg/models/checkpoints/shipped').iterdir()]
    package = {path.relative_to(REPO).as_posix() for path in sources}
    assert len(expected) > 60
    assert (expected | package | {'afa_mmseg/.mim/model-index.yml', 'afa_mmseg_cli.py'}) - names == set()
    assert {name.split('/')[0].split('-')[0] for name in names} == {'afa_mmseg', 'afa_mmseg_cli.py'}


@pytest.mark.slow
def test_trains_tests_and_predicts_in_an_empty_folder(wheel, tmp_path):
    variables = environment_of(make_environment(tmp_path / 'env', wheel), OMP_NUM_THREADS='1')
    folder = tmp_path / 'empty'
    folder.mkdir()

    def afa(*words):
        process = subprocess.run(
            ['afa', *map(str, words)], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
        )
        assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
        return process.stdout

    afa('config', 'copy', 'afa_mit-tiny_shapes', 'mine.py')
    assert str(tmp_path / 'env') in (folder / 'mine.py').read_text(encoding='utf-8')
    afa('prepare', 'shapes', 'data/ShapesVOC', '--num-train', 8, '--num-val', 2)
    output = afa('train', 'mine.py', '--work-dir', 'run', '--cfg-options', *SHORT)
    assert 'Iter(train) [3/3]' in output  # a loss, in a run that is shorter than the interval
    assert len(output.splitlines()) < 80
    checkpoint = folder / 'run/iter_3.pth'
    assert 'mIoU: ' in afa('test', 'afa_mit-tiny_shapes.py', checkpoint)
    image = folder / 'data/ShapesVOC/JPEGImages/val_000000.jpg'
    afa('infer', 'afa_mit-tiny_shapes', checkpoint, image, '--out', 'results')
    assert list((folder / 'results/mask').rglob('*.png'))
