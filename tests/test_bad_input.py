"""Invalid input is refused with what is wrong and what to do, or read as it is meant."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer, init_model
from afa_mmseg.apis.images import read_image
from tests.datasets.files import write_image, write_mask
from tests.refusal import refuse_command, refused
from tests.tiny_files import write_tiny_files
from tests.tools.toolbox import REPO

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
TRAIN = [dict(type='LoadImage'), dict(type='PackImageLevelInputs')]


# Data sets


@pytest.fixture
def folder(tmp_path):
    for name in 'ab':
        write_image(tmp_path / 'img' / f'{name}.jpg')
    (tmp_path / 'labels.csv').write_text('a,cat\nb,cat,dog\n')
    (tmp_path / 'train.txt').write_text('a\nb\n')
    return tmp_path


def build(root, **settings):
    defaults = dict(ann_file='train.txt', label_file='labels.csv', data_prefix=dict(img_path='img'), pipeline=TRAIN)
    return DATASETS.build({**defaults, 'type': 'ImageLevelDataset', 'data_root': str(root), **settings})


LISTS = [
    (b'a\n../../x\n', ['train.txt', "'../../x'", 'image folder']),
    (b'/etc/passwd\n', ["'/etc/passwd'", 'image folder']),
    (b'C:\\x\n', ['image folder']),
    ('étui\n'.encode('cp1252'), ['train.txt', 'line 1 is not UTF-8', 'one id a line']),
    (b'a\x1b[2J\n', ["'a\\x1b[2J'", 'cannot be names of files']),
    (b'x' * 300, ['cannot be names of files', 'a list of ids?']),
    (b'a\nb\na\n', ["'a'"]),
]


@pytest.mark.parametrize(('data', 'words'), LISTS)
def test_lists(folder, data, words):
    for outside in (folder.parent / 'x', folder.parent.parent / 'x', folder / 'x'):
        write_image(outside.with_suffix('.jpg'))  # to be had, if it were asked for
    (folder / 'train.txt').write_bytes(data)
    refused(build, folder, words=words)


FIELDS = [
    (dict(label_file='labels.npy'), ['.npy', 'label_file', 'convert_labels.py']),
    (dict(label_file='labels.xlsx'), ['.xlsx', 'as CSV']),
    (dict(data_prefix=dict(img_path='gone')), ['gone', 'img_path']),
    (dict(metainfo=dict(classes=['background', 'cot'])), ["unknown class 'cat'", "did you mean 'cot'"]),
    (dict(metainfo=dict(classes=['background'])), ['classes', 'at least one class']),
]


@pytest.mark.parametrize(('settings', 'words'), FIELDS, ids=lambda x: str(x)[:40])
def test_fields_of_data_sets(folder, settings, words):
    for name in ('labels.npy', 'labels.xlsx'):
        (folder / name).write_bytes(b'')
    refused(build, folder, words=words, **settings)


# Checkpoints


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


CHANGES = [
    (dict.clear, ['it lacks']),
    (
        lambda state: state.update({'decode_head.conv_seg.weight': torch.zeros(7, 32, 1, 1)}),
        ['7 classes', 'num_classes'],
    ),
    (lambda state: state.update({'backbone.any': 'zero'}), ['no tensors', "'backbone.any'"]),
]


@pytest.mark.parametrize(('change', 'words'), CHANGES, ids=range(3))
def test_checkpoints_of_something_else(tiny, tmp_path, change, words):
    content = torch.load(tiny[1], weights_only=True)
    change(content['state_dict'])
    torch.save(content, tmp_path / 'a.pth')
    refused(init_model, Config.fromfile(tiny[0]), tmp_path / 'a.pth', words=['a.pth', *words])


# Images


def encode(image, suffix, **options):
    file = io.BytesIO()
    image.save(file, suffix, **options)
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
    """Read an image as training does, and check that inference reads it alike."""
    image = TRANSFORMS.build(dict(type='LoadImage'))(dict(img_path=str(path)))['img']
    assert np.array_equal(image, read_image(path))
    return image


def bits16(rgb):
    return cv2.imencode('.png', np.asarray(rgb, np.uint16)[..., ::-1] * 257)[1].tobytes()


def pages(rgb, suffix, **options):
    return encode(rgb, suffix, save_all=True, append_images=[Image.new('RGB', rgb.size)], **options)


KINDS = {
    'a.png': lambda rgb: encode(rgb, 'PNG'),
    'transparent.png': lambda rgb: encode(rgb.convert('RGBA'), 'PNG'),
    '16 bits.png': bits16,
    'animated.png': lambda rgb: pages(rgb, 'PNG'),
    'animated.webp': lambda rgb: pages(rgb, 'WEBP', lossless=True),
    'pages.tif': lambda rgb: pages(rgb, 'TIFF'),
    'cmyk.tif': lambda rgb: encode(rgb.convert('CMYK'), 'TIFF'),
    'cmyk.jpg': lambda rgb: encode(rgb.convert('CMYK'), 'JPEG', quality=98),
    'turned.jpg': lambda rgb: encode(rgb.transpose(Image.Transpose.ROTATE_90), 'JPEG', quality=98, exif=turned(6)),
    'turned.png': lambda rgb: encode(rgb.transpose(Image.Transpose.ROTATE_180), 'PNG', exif=turned(3)),
}


@pytest.mark.parametrize('name', KINDS)
def test_images_of_every_kind_are_read_as_they_are_shown(rgb, tmp_path, name):
    (tmp_path / name).write_bytes(KINDS[name](rgb))
    image = load(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.shape == (40, 60, 3)
    difference = np.abs(image[..., ::-1].astype(int) - np.asarray(rgb)).mean()
    assert difference < (3 if name.endswith('.jpg') else 0.01)


BROKEN = {
    'empty.jpg': (lambda rgb: b'', ['the file is empty']),
    'text.png': (lambda rgb: b'hello', ['cannot be decoded']),
    'nan.tif': (lambda rgb: encode(Image.fromarray(np.full((40, 60), np.nan, np.float32)), 'TIFF'), ['8 and 16 bits']),
    'bomb.png': (lambda rgb: bomb(30_000), ['900000000 pixels']),
}


@pytest.mark.parametrize('name', BROKEN)
def test_images_that_cannot_be_used_are_refused_alike_in_training_and_inference(rgb, tmp_path, name):
    make, words = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(make(rgb))
    refused(TRANSFORMS.build(dict(type='LoadImage')), dict(img_path=str(path)), words=[name, *words])
    refused(read_image, path, words=[name, *words])


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.full((64, 80, 3), np.nan, np.float32), ['not finite (NaN or infinite)']),
        (np.zeros((64, 80, 3), np.uint16), ['uint16', 'image // 257']),
        (np.zeros((64, 80), np.uint8), ['(64, 80)', '(H, W, 3)']),
        (np.zeros((0, 80, 3), np.uint8), ['(0, 80, 3)']),
        (np.full((64, 80, 3), 'x'), ['<U1']),
    ],
    ids=['NaN', '16 bits', 'greyscale', 'empty', 'text'],
)
def test_arrays_that_are_no_images(tiny, array, words):
    inferencer = WeakSegInferencer(*tiny, device='cpu', show_progress=False)
    refused(inferencer, array, words=words)


# Masks

MASKS = {
    'another size': (np.zeros((40, 55)), np.uint8, ['55 x 40 pixels, its image 56 x 40', 'draw it']),
    'many values': (np.arange(40 * 56).reshape(40, 56), np.uint16, ['holds 3, 4, 5, ... (2236 in all)']),
    'colours': (np.zeros((40, 56, 3)), np.uint8, ['holds colours, not class indices', '8-bit PNG']),
}
LOAD_MASKS = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackImageLevelInputs')]


def with_masks(folder, pipeline=LOAD_MASKS, **settings):
    prefix = dict(img_path='img', seg_map_path='masks')
    return build(folder, data_prefix=prefix, pipeline=pipeline, **settings)


@pytest.fixture
def masks(folder):
    for name in 'ab':
        write_mask(folder / 'masks' / f'{name}.png', value=2)
    return folder / 'masks'


@pytest.mark.parametrize('name', MASKS)
def test_masks_that_are_not_of_their_image_or_classes(folder, masks, name):
    pixels, kind, words = MASKS[name]
    Image.fromarray(pixels.astype(kind)).save(masks / 'a.png')
    metainfo = dict(classes=['background', 'cat', 'dog'])
    dataset = with_masks(folder, metainfo=metainfo, test_mode=True, broken_images='skip')
    refused(dataset.__getitem__, 0, words=[f'mask {masks}/a.png ', *words])
    assert dataset[1]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 2, 255]
    assert with_masks(folder, pipeline=TRAIN)[0]['data_samples'].img_id == 'a'  # which reads no masks


@pytest.mark.parametrize('data', [b'', b'hello', bomb(30_000)], ids=['empty', 'text', 'bomb'])
def test_masks_that_cannot_be_read(folder, masks, data):
    (masks / 'a.png').write_bytes(data)
    refused(with_masks(folder).__getitem__, 0, words=[f'mask {masks}/a.png cannot be read', '8-bit PNG'])


def test_a_pipeline_with_masks_for_a_data_set_without(folder):
    refused(build(folder, pipeline=LOAD_MASKS).__getitem__, 0, words=['`LoadMask`', "'seg_map_path'", 'take'])


# Command lines

COMMANDS = [
    (['train.py', 'gone.py'], ['config not found: gone.py']),
    (['train.py', CONFIG, '--cfg-options', 'model.test_cfg.bkg_scor=1'], ['bkg_scor', 'bkg_score']),
    (['train.py', CONFIG, '--cfg-options', 'load_from=gone.pth'], ['load_from not found: gone.pth']),
    (['train.py', CONFIG, '--cfg-options', 'model.type=Segmentr'], ['cannot be built: KeyError: Segmentr is not in']),
    (['train.py', CONFIG, '--cfg-options', 'custom_hooks.7.x=1'], ['--cfg-options do not fit', 'Index 7 exceeds']),
    (['train.py', 'open.py'], ['open.py cannot be built: SyntaxError', 'AFA_TRACEBACK=1']),
    (['train.py', 'empty.py'], ['empty.py: `model` is None']),
    (['test.py', CONFIG, 'gone.pth'], ['checkpoint not found: gone.pth']),
    (['test.py', CONFIG, 'notes.txt'], ['notes.txt is no checkpoint']),
    (['test.py', CONFIG, 'other.pth'], ['other.pth: ', 'not one of this config']),
    (['train.py', CONFIG], ['no such folder: data/ShapesVOC', 'make_shapes_voc.py']),
    (['export_onnx.py', CONFIG, 'other.pth', 'a.onnx'], ['other.pth: ', 'not one of this config', "lacks 'backbone."]),
    (['export_onnx.py', CONFIG, 'gone.pth', 'a.onnx'], ['checkpoint not found: gone.pth']),
    (['infer.py', CONFIG, 'other.pth', 'a.jpg', '--out', 'out'], ['other.pth: ', 'not one of', "lacks 'backbone."]),
    (['infer.py', CONFIG, 'other.pth', 'a.jpg', '--out', 'out', '--device', 'gpu'], ["'gpu'", '--device', 'use cpu']),
    (['infer_video.py', CONFIG, 'other.pth', '0', '--out', 'a.mp4', '--device', 'cuda:99'], ["'cuda:99'", 'use cpu']),
    (['export_pseudo_labels.py', 'bare.py', 'other.pth', '--out', 'out'], ['train_dataloader.dataset']),
    (['publish_model.py', 'notes.txt', 'out', '--license', 'other'], ['notes.txt is no checkpoint']),
    (['dataset_converters/prepare_coco.py', '.'], ['images of train2014: no such folder']),
    (['analysis_tools/error_profile.py', CONFIG, 'gone.pth'], ['gone.pth']),
    (['analysis_tools/plot_training.py', 'nothing'], ['no training log in nothing: ']),
    (['model_converters/convert_mit.py', 'gone.pth', 'out.pth'], ['checkpoint not found: gone.pth']),
    (['dataset_converters/check_dataset.py', 'gone.py'], ['gone.py']),
    (['dataset_converters/check_dataset.py', CONFIG, '--cfg-options', 'custom_hooks.7.x=1'], ['Index 7 exceeds']),
    (['infer.py', 'type.py', 'other.pth', 'a.jpg', '--out', 'out'], ['type.py cannot be built', 'Segmentr']),
    (['quickstart_report.py', '--afa', 'gone', '--out', 'report'], ['no trained run in gone']),
]


@pytest.mark.parametrize(('command', 'words'), COMMANDS, ids=lambda x: ' '.join(map(str, x))[-60:])
def test_command_lines_end_with_one_message(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text('no checkpoint\n')
    (tmp_path / 'bare.py').write_text('model = dict()\n')
    (tmp_path / 'type.py').write_text(f"_base_ = '{CONFIG}'\nmodel = dict(type='Segmentr')\n")
    (tmp_path / 'empty.py').touch()
    (tmp_path / 'open.py').write_text('model = (\n')
    torch.save(dict(weight=torch.zeros(1)), tmp_path / 'other.pth')
    write_image(tmp_path / 'a.jpg')
    message = refuse_command(monkeypatch, capsys, *command)
    assert [word for word in (f'{os.path.basename(command[0])}: error: ', *words) if word not in message] == [], message
    assert not (tmp_path / 'out').exists()
