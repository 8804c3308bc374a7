"""Images that are empty, truncated, not images, too large, or deleted during a run."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image

from afa_mmseg.datasets import ImageLevelDataset
from afa_mmseg.datasets.images import BrokenImageError, check_whole, decode_image
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, prepare_runtime, run_training
from tests.engine.training import CONFIG, OPTIONS

LOAD = [dict(type='LoadImage'), dict(type='PackImageLevelInputs')]


def encode(kind, details=(6, 8), **options):
    small = np.random.default_rng(0).integers(0, 256, (*details, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC).save(file, kind, **options)
    return file.getvalue()


JPEG, PNG = encode('jpeg', quality=95), encode('png')
NOISE = encode('jpeg', details=(64, 96))  # of so many bytes that, half of them zeros, all of it can be decoded
EXIF = b'\xff\xe1\x00\x0aExif\0\0\xff\xd9'  # a thumbnail's end
THUMBNAIL = JPEG[:2] + EXIF + JPEG[2:]
BROKEN = {
    'empty': b'',
    'half': JPEG[: len(JPEG) // 2],
    'almost whole': JPEG[:-8],
    'rest is zeros': JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
    'rest of many details is zeros': NOISE[: len(NOISE) // 2] + bytes(len(NOISE) // 2),
    'rest after a thumbnail is zeros': NOISE[:2] + EXIF + NOISE[2 : len(NOISE) // 2] + bytes(len(NOISE) // 2),
    'half, with a thumbnail': THUMBNAIL[: len(THUMBNAIL) // 2],
    'half a PNG': PNG[: len(PNG) // 2],
    'text': b'<html>404 Not Found</html>',
}
WHOLE = {
    'JPEG': JPEG,
    'JPEG with a thumbnail': THUMBNAIL,
    'PNG': PNG,
    'padding at the end': JPEG + bytes(512),
    "a camera's notes at the end": JPEG + b'SEFT' * 40,
    'notes and padding at the end': NOISE + b'SEFT' * 40 + bytes(512),
}


@pytest.fixture
def folder(tmp_path):
    """Four images and their labels."""
    for index in range(4):
        (tmp_path / f'{index}.jpg').write_bytes(JPEG)
    (tmp_path / 'labels.csv').write_text('id,label\n0,cat\n1,dog\n2,cat\n3,dog\n')
    return tmp_path


def dataset(folder, **settings):
    return ImageLevelDataset(data_root=str(folder), label_file='labels.csv', pipeline=LOAD, **settings)


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_image_is_named(folder, name):
    (folder / '1.jpg').write_bytes(BROKEN[name])
    data = dataset(folder)
    assert data[0]['data_samples'].img_id == '0'
    with pytest.raises(BrokenImageError, match=rf'{folder}/1\.jpg(.|\n)*broken_images=skip'):
        data[1]


@pytest.mark.parametrize('name', WHOLE)
def test_whole_images_are_read(folder, name):
    (folder / '1.jpg').write_bytes(WHOLE[name])
    sample = dataset(folder)[1]
    assert sample['inputs'].shape == (3, 64, 96)
    assert sample['inputs'].float().std() > 10


def test_an_image_above_the_limit_of_pixels_is_refused(folder, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 96 * 64 // 2 - 1)  # Pillow refuses twice as many
    with pytest.raises(BrokenImageError, match=r'0\.jpg(.|\n)*6144 pixels'):
        dataset(folder)[0]
    with pytest.raises(BrokenImageError, match='6144 pixels'):
        decode_image(PNG, 'a.png')


def test_a_truncated_file_is_found_without_the_decoder(tmp_path):
    """OpenCV 4 decodes the first part of a JPEG file and fills the rest with grey."""
    for name in BROKEN.keys() - {'text'}:
        (tmp_path / 'a.jpg').write_bytes(BROKEN[name])
        with pytest.raises(OSError):
            check_whole(tmp_path / 'a.jpg')


def test_a_broken_image_is_replaced_by_the_next_one_and_listed_in_the_sample(folder):
    (folder / '1.jpg').write_bytes(BROKEN['half'])
    data = dataset(folder, broken_images='skip')
    (folder / '2.jpg').unlink()
    sample = data[1]['data_samples']
    assert sample.img_id == '3'
    assert sample.gt_label.tolist() == [0, 1]
    assert [Path(path).name for path, _ in sample.left_out] == ['1.jpg', '2.jpg']
    assert 'No such file' in sample.left_out[1][1]
    assert 'left_out' not in data[0]['data_samples']


def test_evaluation_skips_nothing(folder):
    (folder / '1.jpg').write_bytes(b'')
    with pytest.raises(BrokenImageError, match=r'1\.jpg.*the file is empty'):
        dataset(folder, broken_images='skip', test_mode=True)[1]


def test_an_unmounted_disk_is_an_error(folder):
    data = dataset(folder, broken_images='skip')
    for path in folder.glob('*.jpg'):
        path.unlink()
    with pytest.raises(BrokenImageError, match=r'images in a row .*jpg'):
        data[0]


def test_other_policies_are_refused(folder):
    with pytest.raises(ValueError, match="`broken_images` of ImageLevelDataset is 'ignore'"):
        dataset(folder, broken_images='ignore')


def test_a_bug_is_not_a_broken_image(folder):
    data = dataset(folder, broken_images='skip')
    data.pipeline.transforms.append(lambda results: {}['bug'])
    with pytest.raises(KeyError, match='bug'):
        data[0]


# Whole runs


@HOOKS.register_module()
class RemoveFile(Hook):
    """Delete a file of the data set during a run."""

    def __init__(self, path):
        self.path = Path(path)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.path.unlink(missing_ok=True)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes')
    make_shapes_voc(str(root), num_train=12, num_val=1)
    return root


def train(data, work_dir, **options):
    """Train two rounds of 12 images with two worker processes; return the exit code."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            **OPTIONS,
            'train_dataloader.dataset.data_root': str(data),
            'train_dataloader.num_workers': 2,
            'train_dataloader.batch_size': 2,
            'train_cfg.max_iters': 12,
            'train_cfg.val_interval': 12,
            'param_scheduler.0.max_iters': 12,
            'custom_hooks': [],
            'vis_backends': [],
            'visualizer.vis_backends': [],
            **options,
        }
    )
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    prepare_runtime(cfg, 'none')
    return run_training(build_runner(cfg))


def images(root):
    return sorted((root / 'JPEGImages').glob('train_*.jpg'))


@pytest.mark.slow
def test_a_run_stops_and_names_the_broken_image(shapes, tmp_path, capfd):
    path = images(shapes)[5]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        assert train(shapes, tmp_path / 'stop') == 1
    finally:
        path.write_bytes(whole)
    error = capfd.readouterr().err
    assert re.search(rf'error: .*{path}', error)
    assert 'Traceback' not in error


@pytest.mark.slow
def test_a_run_skips_and_logs_deleted_images(shapes, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(shapes, data)
    gone = images(data)[3]
    options = {
        'train_dataloader.dataset.broken_images': 'skip',
        'custom_hooks': [dict(type='RemoveFile', path=str(gone))],
    }
    assert train(data, tmp_path / 'skip', **options) == 0
    (file,) = (tmp_path / 'skip').glob('*/*.log')
    log = file.read_text()
    assert len(re.findall(rf'skipped, and another image loaded: .*{gone}', log)) == 1
