"""What a user gives by mistake is refused with what is wrong and what to do; or is read as it is meant."""

import io
import os
import runpy
import signal
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer, load_segmentor
from afa_mmseg.apis.pictures import read_picture
from afa_mmseg.datasets import read_label_file
from afa_mmseg.datasets.decoding import LIMIT_VARIABLE
from afa_mmseg.engine.config_check import check_config
from tests.datasets.files import write_picture
from tests.tiny_files import write_tiny_files
from tests.tools.toolbox import REPO

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
TRAIN = [dict(type='LoadImageFromFile'), dict(type='PackImageLevelInputs')]


def refused(function, *arguments, words, errors=(ValueError, FileNotFoundError), **settings):
    """Check that a call is refused, in words."""
    with pytest.raises(errors) as error:
        function(*arguments, **settings)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


# Data sets


@pytest.fixture
def folder(tmp_path):
    for name in 'ab':
        write_picture(tmp_path / 'img' / f'{name}.jpg')
    (tmp_path / 'labels.csv').write_text('a,cat\nb,cat,dog\n')
    (tmp_path / 'train.txt').write_text('a\nb\n')
    return tmp_path


def build(root, **settings):
    defaults = dict(ann_file='train.txt', label_file='labels.csv', data_prefix=dict(img_path='img'), pipeline=TRAIN)
    return DATASETS.build(dict(defaults, type='ImageLevelDataset', data_root=str(root), **settings))


LISTS = [
    (b'a\n../../x\n', ['train.txt', "'../../x'", 'must stay in the picture folder']),
    (b'sub/../../x\n', ["'sub/../../x'", 'must stay in the picture folder']),
    (b'..\\x\n', ['must stay in the picture folder']),
    (b'/etc/passwd\n', ["'/etc/passwd'", 'must stay in the picture folder']),
    (b'C:\\x\n', ['must stay in the picture folder']),
    ('étui\n'.encode('cp1252'), ['train.txt', 'line 1 is not UTF-8', 'one id a line']),
    ('a\n'.encode('utf-16'), ['train.txt', 'not UTF-8']),
    (b'a\x00b\n', ["'a\\x00b'", 'cannot be names of files']),
    (b'a\x1b[2J\n', ["'a\\x1b[2J'", 'cannot be names of files']),
    (b'x' * 300, ['cannot be names of files', 'a list of ids?']),
    (b'a\nb\na\n', ['in the list twice', "'a'"]),
    (b'', ['train.txt', 'no pictures']),
    (b'a\nc\n', ['1 of 2 ids', "'c'"]),
]


@pytest.mark.parametrize(('data', 'words'), LISTS)
def test_lists(folder, data, words):
    (folder / 'train.txt').write_bytes(data)
    refused(build, folder, words=words)


FIELDS = [
    (dict(label_file='labels.npy'), ['.npy', 'label_file', 'runs whatever code']),
    (dict(label_file='labels.xlsx'), ['.xlsx', 'as CSV']),
    (dict(label_file='gone.csv'), ['gone.csv', 'label_file']),
    (dict(ann_file='gone.txt'), ['gone.txt', 'ann_file']),
    (dict(data_prefix=dict(img_path='gone')), ['gone', 'img_path']),
    (dict(metainfo=dict(classes=['cat', 'dog'])), ['cat', 'unknown class']),
    (dict(metainfo=dict(classes=['background', 'cot'])), ["unknown class 'cat'", "did you mean 'cot'"]),
    (dict(metainfo=dict(classes=['background'])), ['classes', 'at least one class']),
]


@pytest.mark.parametrize(('settings', 'words'), FIELDS, ids=lambda x: str(x)[:40])
def test_fields_of_data_sets(folder, settings, words):
    for name in ('labels.npy', 'labels.xlsx'):
        (folder / name).write_bytes(b'')
    refused(build, folder, words=words, **settings)


def test_twice_the_lines_take_twice_the_steps_not_four_times(tmp_path):
    counts = []
    for lines in (5_000, 10_000):
        (tmp_path / 'a.csv').write_text(''.join(f'{i:06},cat,dog\n' for i in range(lines)))
        steps = [0]

        def count(frame, event, argument, steps=steps):
            steps[0] += 1

        sys.setprofile(count)
        try:
            assert len(read_label_file(tmp_path / 'a.csv', ['cat', 'dog'])) == lines
        finally:
            sys.setprofile(None)
        counts.append(steps[0])
    assert counts[1] < 2.1 * counts[0]


# Configs

MISSPELT = [
    ({'train_dataloder': dict(batch_size=2)}, ['train_dataloder', "did you mean 'train_dataloader'"]),
    ({'model.test_cfg.crf': dict(num_iter=3)}, ['model.test_cfg.crf.num_iter', "did you mean 'num_iters'"]),
    ({'model.test_cfg.crf': 3}, ['model.test_cfg.crf is 3', 'num_iters']),
    ({'model.test_cfg.bkg_scores': 0.5}, ['model.test_cfg.bkg_scores', "did you mean 'bkg_score'"]),
    ({'model.pseudo_label.cam_scale': (1.0,)}, ['model.pseudo_label.cam_scale', "'cam_scales'"]),
    ({'model.train_cfg.cls_only_unti': 1}, ['model.train_cfg.cls_only_unti', "'cls_only_until'"]),
    ({'model.refiner.num_iter': 3}, ['model.refiner.num_iter', "'num_iters'"]),
    ({'model.decode_head.loss_cls.weight': 3}, ['model.decode_head.loss_cls.weight', "'loss_weight'"]),
    ({'model.decode_head.num_class': 3}, ['model.decode_head.num_class', "'num_classes'"]),
    ({'model.backbone.archs': 'b1'}, ['model.backbone.archs', "'arch'"]),
    ({'train_dataloader.batchsize': 2}, ['train_dataloader.batchsize', "'batch_size'"]),
    ({'train_dataloader.dataset.labels_file': 'x'}, ['train_dataloader.dataset.labels_file', "'label_file'"]),
    ({'train_dataloader.dataset.pipeline.1.ratio_rang': 1}, ['pipeline[1].ratio_rang', "'ratio_range'"]),
    ({'val_evaluator.0.iou_metric': ['mIoU']}, ['val_evaluator[0].iou_metric', "'iou_metrics'"]),
    ({'default_hooks.checkpoint.max_keep_ckpt': 1}, ['checkpoint.max_keep_ckpt', "'max_keep_ckpts'"]),
    ({'custom_hooks.0.intervall': 1}, ['custom_hooks[0].intervall', "'interval'"]),
    ({'optim_wrapper.optimizer.weight_decays': 1}, ['optimizer.weight_decays', "'weight_decay'"]),
    ({'param_scheduler.0.warmup_iter': 1}, ['param_scheduler[0].warmup_iter', "'warmup_iters'"]),
    ({'train_cfg.max_iter': 1}, ['train_cfg.max_iter', "'max_iters'"]),
    ({'tta_model.scale': [1.0]}, ['tta_model.scale', "'scales'"]),
    ({'randomness.sead': 1}, ['randomness.sead', "'seed'"]),
    ({'data_root': 'elsewhere'}, ['--cfg-options data_root', 'train_dataloader.dataset.data_root']),
]


@pytest.fixture
def told(caplog):
    """What mmengine's logger tells."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize(('options', 'words'), MISSPELT, ids=lambda x: next(iter(x)) if isinstance(x, dict) else '')
def test_keys_of_configs_that_nothing_reads(options, words):
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    refused(check_config, config, options, words=[str(CONFIG), *words])


@pytest.mark.parametrize('path', sorted((REPO / 'configs/afa').glob('*.py')), ids=lambda path: path.stem)
def test_all_keys_of_shipped_configs_are_read(path, told):
    check_config(Config.fromfile(path))
    assert 'nothing reads' not in told.text


def test_the_config_that_training_writes_is_read(tmp_path, told):
    Config.fromfile(CONFIG).dump(tmp_path / 'written.py')
    check_config(Config.fromfile(tmp_path / 'written.py'))
    assert 'nothing reads' not in told.text


def test_a_variable_that_nothing_reads_is_told(tmp_path, told):
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(CONFIG)!r}\nside = 3\nspare = 4\nrandomness = dict(seed=side)\n')
    check_config(Config.fromfile(tmp_path / 'mine.py'))
    assert 'nothing reads spare' in told.text
    assert 'side' not in told.text


# Checkpoints


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


def without(state):
    state.pop('decode_head.classifier.weight')


def reshaped(state):
    state['decode_head.classifier.weight'] = torch.zeros(3, 3)


def fewer_classes(state):
    state['decode_head.conv_seg.weight'] = state['decode_head.conv_seg.weight'][:7]


def another_key(state):
    state['decode_head.clasifier.weight'] = state['decode_head.classifier.weight']


def no_tensor(state):
    state['decode_head.classifier.weight'] = 'zero'


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (without, ["it lacks 'decode_head.classifier.weight'"]),
        (reshaped, ["it reshapes 'decode_head.classifier.weight'"]),
        (fewer_classes, ['has 7 classes', 'the config 21', 'num_classes']),
        (another_key, ["it adds 'decode_head.clasifier.weight'"]),
        (no_tensor, ['no tensors', "'decode_head.classifier.weight'"]),
        (dict.clear, ['it lacks']),
    ],
)
def test_checkpoints_of_something_else(tiny, tmp_path, change, words):
    content = torch.load(tiny[1], weights_only=True)
    change(content['state_dict'])
    torch.save(content, tmp_path / 'a.pth')
    refused(load_segmentor, Config.fromfile(tiny[0]), tmp_path / 'a.pth', words=['a.pth', *words])


# Pictures


def encode(picture, suffix, **options):
    file = io.BytesIO()
    picture.save(file, suffix, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def bomb(side):
    """A PNG file of few bytes that claims side x side pixels."""
    header = b'IHDR' + struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    chunks = [header, b'IDAT' + zlib.compress(b'\0' * 999), b'IEND']
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.fixture(scope='module')
def rgb():
    small = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((60, 40), Image.Resampling.BICUBIC)


def load(path):
    """Read a picture as training does, and check that inference reads it alike: as ours, mmseg's, and from a path."""
    image = TRANSFORMS.build(dict(type='LoadImageFromFile'))(dict(img_path=str(path)))['img']
    assert np.array_equal(image, read_picture(path))
    by_inferencer = TRANSFORMS.build(dict(type='InferencerLoader'))(str(path))['img']
    assert np.array_equal(image, by_inferencer)
    return image


def bits16(rgb):
    return cv2.imencode('.png', np.asarray(rgb, np.uint16)[..., ::-1] * 257)[1].tobytes()


KINDS = {
    'a.png': lambda rgb: encode(rgb, 'PNG'),
    'transparent.png': lambda rgb: encode(rgb.convert('RGBA'), 'PNG'),
    '16 bits.png': bits16,
    'animated.png': lambda rgb: encode(rgb, 'PNG', save_all=True, append_images=[Image.new('RGB', rgb.size)]),
    'animated.webp': lambda rgb: encode(
        rgb, 'WEBP', save_all=True, append_images=[Image.new('RGB', rgb.size)], lossless=True
    ),
    'pages.tif': lambda rgb: encode(rgb, 'TIFF', save_all=True, append_images=[Image.new('RGB', rgb.size)]),
    'cmyk.tif': lambda rgb: encode(rgb.convert('CMYK'), 'TIFF'),
    'cmyk.jpg': lambda rgb: encode(rgb.convert('CMYK'), 'JPEG', quality=98),
    'turned.jpg': lambda rgb: encode(rgb.transpose(Image.Transpose.ROTATE_90), 'JPEG', quality=98, exif=turned(6)),
    'turned.png': lambda rgb: encode(rgb.transpose(Image.Transpose.ROTATE_180), 'PNG', exif=turned(3)),
}


@pytest.mark.parametrize('name', KINDS)
def test_pictures_of_every_kind_are_read_as_they_are_shown(rgb, tmp_path, name):
    (tmp_path / name).write_bytes(KINDS[name](rgb))
    image = load(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.shape == (40, 60, 3)
    difference = np.abs(image[..., ::-1].astype(int) - np.asarray(rgb)).mean()
    assert difference < (3 if name.endswith('.jpg') else 0.01)


BROKEN = {
    'empty.jpg': (lambda rgb: b'', ['the file is empty']),
    'text.png': (lambda rgb: b'hello', ['cannot be decoded']),
    'half.png': (lambda rgb: encode(rgb, 'PNG')[:600], ['cannot be decoded']),
    'nan.tif': (lambda rgb: encode(Image.fromarray(np.full((40, 60), np.nan, np.float32)), 'TIFF'), ['8 and 16 bits']),
    'bomb.png': (
        lambda rgb: bomb(30_000),
        ['900,000,000 pixels, more than 200,000,000', f'{LIMIT_VARIABLE}=900000000'],
    ),
}


@pytest.mark.parametrize('name', BROKEN)
def test_pictures_that_cannot_be_used_are_refused_alike_in_training_and_inference(rgb, tmp_path, name):
    make, words = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(make(rgb))
    for read in (
        lambda: TRANSFORMS.build(dict(type='LoadImageFromFile'))(dict(img_path=str(path))),
        lambda: TRANSFORMS.build(dict(type='InferencerLoader'))(str(path)),
        lambda: read_picture(path),
    ):
        refused(read, words=[name, *words])


def test_the_limit_of_pixels_can_be_raised_and_lowered(rgb, tmp_path, monkeypatch):
    (tmp_path / 'a.png').write_bytes(encode(rgb, 'PNG'))
    monkeypatch.setenv(LIMIT_VARIABLE, '2399')
    refused(read_picture, tmp_path / 'a.png', words=['2,400 pixels, more than 2,399'])
    monkeypatch.setenv(LIMIT_VARIABLE, '2400')
    assert read_picture(tmp_path / 'a.png').shape == (40, 60, 3)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)  # Pillow's own limit does not come before ours
    assert read_picture(tmp_path / 'a.png').shape == (40, 60, 3)
    monkeypatch.setenv(LIMIT_VARIABLE, 'many')
    refused(read_picture, tmp_path / 'a.png', words=["AFA_MAX_PIXELS='many'", 'number of pixels'])


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.full((64, 80, 3), np.nan, np.float32), ['not finite (NaN or infinite)']),
        (np.zeros((64, 80, 3), np.uint16), ['uint16', 'image // 257']),
        (np.zeros((64, 80), np.uint8), ['shape (64, 80)', '(H, W, 3)']),
        (np.zeros((64, 80, 4), np.uint8), ['shape (64, 80, 4)']),
        (np.zeros((0, 80, 3), np.uint8), ['shape (0, 80, 3)']),
        (np.full((64, 80, 3), 'x'), ['<U1']),
    ],
    ids=['NaN', '16 bits', 'grey', 'transparent', 'empty', 'text'],
)
def test_arrays_that_are_no_pictures(tiny, array, words):
    inferencer = WeakSegInferencer(*tiny, device='cpu', show_progress=False)
    refused(inferencer, array, words=words)


# Command lines

COMMANDS = [
    (['train.py', 'gone.py'], ['config not found: gone.py']),
    (['train.py', CONFIG, '--cfg-options', 'model.test_cfg.bkg_scor=1'], ['bkg_scor', "did you mean 'bkg_score'"]),
    (['train.py', CONFIG, '--cfg-options', 'load_from=gone.pth'], ['load_from not found: gone.pth']),
    (['train.py', CONFIG, '--cfg-options', 'load_from=notes.txt'], ['notes.txt is no checkpoint']),
    (['test.py', CONFIG, 'gone.pth'], ['checkpoint not found: gone.pth']),
    (['test.py', CONFIG, 'notes.txt'], ['notes.txt is no checkpoint']),
    (['test.py', CONFIG, 'notes.txt', '--cfg-options', 'max_iter=3'], ['max_iter', 'no such key']),
    (['infer.py', CONFIG, 'notes.txt', 'a.jpg', '--out', 'out'], ['notes.txt is no checkpoint']),
    (['export_onnx.py', CONFIG, 'notes.txt', 'a.onnx'], ['notes.txt is no checkpoint']),
    (['publish_model.py', 'notes.txt', 'out'], ['notes.txt is no checkpoint']),
    (['model_converters/convert_mit.py', 'gone.pth', 'out.pth'], ['checkpoint not found: gone.pth']),
    (['dataset_converters/check_dataset.py', 'gone.py'], ['gone.py']),
]


@pytest.mark.parametrize(('command', 'words'), COMMANDS, ids=lambda x: ' '.join(map(str, x))[-60:])
def test_command_lines_end_with_one_message(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text('no checkpoint\n')
    write_picture(tmp_path / 'a.jpg')
    monkeypatch.setattr(sys, 'argv', [str(REPO / 'tools' / command[0]), *map(str, command[1:])])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # the handlers of this process stay
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name='__main__')
    message = end.value.code if isinstance(end.value.code, str) else capsys.readouterr().err
    assert end.value.code not in (0, None)
    assert [word for word in (f'{os.path.basename(command[0])}: error: ', *words) if word not in message] == [], message
    assert not (tmp_path / 'out').exists()
