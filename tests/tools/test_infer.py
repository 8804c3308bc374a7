"""tools/infer.py on images of several kinds."""

import re
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.utils import read_mask
from tests.tiny_files import CLASSES, PALETTE, SEEN, make_image, write_tiny_files
from tests.tools.toolbox import REPO

QUIET = dict(device='cpu', show_progress=False)
KINDS = ('cam', 'propagated', 'pseudo', 'pred')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def images(tmp_path):
    """Images of several sizes and kinds, two of one name, among files that are none."""
    root = tmp_path / 'images'
    (root / 'day' / '.cache').mkdir(parents=True)
    cv2.imwrite(str(root / 'a.jpg'), make_image(seed=1))
    cv2.imwrite(str(root / 'a.png'), make_image(seed=2))
    cv2.imwrite(str(root / 'day/a.PNG'), make_image(240, 300, seed=3))
    cv2.imwrite(str(root / 'day/.cache/hidden.png'), make_image())
    cv2.imwrite(str(root / 'day/narrow.png'), make_image(200, 20))  # too narrow for CAMs
    (root / 'broken.jpg').write_bytes(b'\xff\xd8 no more')
    (root / 'notes.txt').write_text('no image')
    return root


@pytest.fixture
def infer(files, monkeypatch):
    """Run the tool in this process; its exit status."""

    def run(*arguments):
        script = str(REPO / 'tools/infer.py')
        monkeypatch.setattr('sys.argv', [script, *files, *map(str, arguments), '--device', 'cpu'])
        return runpy.run_path(script)['main']()

    return run


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def test_a_folder_with_broken_images(images, infer, tmp_path, capsys):
    out = images / 'results'  # where images are looked for
    assert infer(images, '--out', out, '--npz') == 1
    printed = capsys.readouterr()
    assert f'3 of 5 images written to {out}' in printed.out
    broken, narrow = printed.err.splitlines()[-2:]
    assert re.search('FAILED .*broken.jpg: cannot read', broken)
    assert re.search('FAILED .*narrow.png: image .* 200 x 20 .*is too small', narrow)
    done = ['a.jpg', 'a.png', 'day/a']  # two images of one name keep their suffix
    assert names(out) == sorted(
        [
            *(f'panel/{name}.jpg' for name in done),
            *(f'overlay/{what}/{name}.jpg' for what in KINDS for name in done),
            *(f'mask/{what}/{name}.png' for what in KINDS[1:] for name in done),
            *(f'scores/{name}.npz' for name in done),
            'mask/classes.txt',
        ]
    )
    assert infer(images, '--out', out) == 1  # its own results are no images to infer
    assert '3 of 5 images' in capsys.readouterr().out


def test_masks_and_scores_are_those_of_the_python_interface(files, images, infer, tmp_path):
    assert infer(images / 'a.jpg', images / 'day/a.PNG', '--out', tmp_path, '--npz', '--classes', SEEN) == 0
    inferencer = WeakSegInferencer(*files, **QUIET)
    held = CLASSES.index(SEEN)
    for image, name in ((images / 'a.jpg', 'a'), (images / 'day/a.PNG', 'day/a')):
        sample = inferencer(image, classes=[SEEN], return_datasamples=True)
        expected = dict(
            pred=sample.pred_sem_seg.data[0],
            propagated=sample.pred_propagated_cam.data.argmax(dim=0),
            pseudo=sample.pred_pseudo_label.data[0],
        )
        for what, label in expected.items():
            assert np.array_equal(read_mask(tmp_path / f'mask/{what}/{name}.png'), label)
        with np.load(tmp_path / f'scores/{name}.npz') as scores:
            assert scores['classes'].tolist() == [held]
            np.testing.assert_allclose(scores['cam'][0], sample.pred_cam.data[held - 1], atol=1e-3)
            np.testing.assert_allclose(scores['propagated'], sample.pred_propagated_cam.data[[0, held]], atol=1e-3)
            np.testing.assert_allclose(scores['probability'].sum(axis=0, dtype=np.float32), 1, atol=5e-3)
            np.testing.assert_allclose(scores['score'], sample.pred_score, rtol=1e-5)
    palette = Image.open(tmp_path / 'mask/pred/a.png').getpalette()
    assert palette[: 3 * 21] == [value for colour in PALETTE for value in colour]


def test_large_images_are_made_smaller_and_masks_keep_their_size(files, images, infer, tmp_path):
    assert infer(images / 'day/a.PNG', '--out', tmp_path, '--side', '100', '--what', 'pred', '--npz') == 0
    assert names(tmp_path / 'mask/pred') == ['a.png']
    small = cv2.resize(cv2.imread(str(images / 'day/a.PNG')), (100, 80), interpolation=cv2.INTER_AREA)
    expected = WeakSegInferencer(*files, **QUIET)(small, with_cam=False)['predictions'].astype(np.uint8)
    label = read_mask(tmp_path / 'mask/pred/a.png')
    assert np.array_equal(label, np.repeat(np.repeat(expected, 3, axis=0), 3, axis=1))
    with np.load(tmp_path / 'scores/a.npz') as scores:
        assert scores['probability'].shape == (21, 80, 100)
        assert scores.files == ['probability']


def test_masks_of_another_models_classes_are_not_mixed(images, infer, tmp_path):
    (tmp_path / 'mask').mkdir()
    (tmp_path / 'mask/classes.txt').write_text('kind2\nkind1\n')
    with pytest.raises(ValueError, match='of other classes'):
        infer(images / 'a.jpg', '--out', tmp_path)
    assert names(tmp_path / 'mask') == ['classes.txt']


def test_a_segmentor_without_cams_segments(files, images, tmp_path, monkeypatch):
    config = Config.fromfile(files[0])
    kept = {key: config.model[key] for key in ('data_preprocessor', 'backbone', 'decode_head')}
    kept['decode_head']['loss_decode'] = dict(type='CrossEntropyLoss')
    config.model = dict(type='EncoderDecoder', test_cfg=dict(mode='whole'), **kept)
    config.dump(tmp_path / 'plain.py')
    command = [str(REPO / 'tools/infer.py'), str(tmp_path / 'plain.py'), files[1], str(images / 'a.jpg')]
    monkeypatch.setattr('sys.argv', [*command, '--out', str(tmp_path / 'out'), '--what', 'pred', '--device', 'cpu'])
    assert runpy.run_path(command[0])['main']() == 0
    expected = WeakSegInferencer(*files, **QUIET)(str(images / 'a.jpg'), with_cam=False)['predictions']
    assert np.array_equal(read_mask(tmp_path / 'out/mask/pred/a.png'), expected)


def test_scales_crf_and_patterns(files, images, infer, tmp_path):
    assert infer(f'{images}/**/a.[jP]*', '--out', tmp_path, '--what', 'pred', '--tta', '--crf') == 0
    assert names(tmp_path / 'mask/pred') == ['a.png', 'day/a.png']
    assert (tmp_path / 'mask/classes.txt').read_text().splitlines() == list(CLASSES[1:])
    expected = WeakSegInferencer(*files, tta=True, crf=True, **QUIET)(str(images / 'a.jpg'), with_cam=False)
    assert np.array_equal(read_mask(tmp_path / 'mask/pred/a.png'), expected['predictions'])


def test_an_overlay_shows_the_classes_where_they_are(images, infer, tmp_path):
    infer(images / 'day/a.PNG', '--out', tmp_path, '--classes', SEEN, '--what', 'cam', '--npz')
    painted = np.asarray(Image.open(tmp_path / 'overlay/cam/a.jpg'), np.float32)[:240, :300]
    with np.load(tmp_path / 'scores/a.npz') as scores:
        cam = scores['cam'][0].astype(np.float32)
    distance = np.abs(painted - PALETTE[CLASSES.index(SEEN)]).sum(axis=2)
    assert distance[cam > 0.95].mean() < 25 < 100 < distance[cam < 0.1].mean()
    panel = Image.open(tmp_path / 'panel/a.jpg')
    assert panel.width >= 2 * 300


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['images', '--classes', 'Kind3,dog'],
            r"--classes\): unknown class 'Kind3' \(did you mean 'kind3'\?\)",
        ),
        (['images', '--what', 'cams'], 'what=cams: choose from cam, propagated, pseudo, pred'),
        (['images', '--side', '0'], 'side=0 must be a positive'),
        (['nowhere'], 'image or folder not found: nowhere'),
        (['images/*.bmp'], r'no images in images/\*.bmp'),
    ],
)
def test_errors_are_raised_before_the_work_begins(images, infer, monkeypatch, arguments, message):
    monkeypatch.chdir(images.parent)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        infer(*arguments, '--out', 'out')
    assert not (images.parent / 'out').exists()


def test_an_image_that_memory_does_not_suffice_for_does_not_stop_the_others(
    images, infer, tmp_path, capsys, monkeypatch
):
    predict = WeakSegInferencer.__call__

    def allocate_too_much(self, image, **kwargs):
        return torch.empty(1 << 60, dtype=torch.uint8) if image.shape[0] == 240 else predict(self, image, **kwargs)

    monkeypatch.setattr(WeakSegInferencer, '__call__', allocate_too_much)
    assert infer(images / 'a.jpg', images / 'day/a.PNG', '--out', tmp_path / 'out', '--what', 'pred') == 1
    assert '1 of 2 images written' in capsys.readouterr().out
