"""WeakSegInferencer: the results of mmseg's inferencer, and the CAMs of the segmentor."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.inferencer import CAM_FIELDS
from afa_mmseg.apis.views import Painter, Prediction
from afa_mmseg.visualization import overlay_propagated
from tests.tiny_files import CLASSES, PALETTE, SEEN, UNSEEN, make_image, write_tiny_files
from tests.tools.toolbox import REPO

QUIET = dict(device='cpu', show_progress=False)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(scope='module')
def inferencer(files):
    return WeakSegInferencer(*files, **QUIET)


@pytest.fixture
def folder(tmp_path):
    """Two images, one in a subfolder, beside other files."""
    (tmp_path / 'images/sub').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'images/a.png'), make_image(seed=1))
    cv2.imwrite(str(tmp_path / 'images/sub/a.png'), make_image(seed=2))
    (tmp_path / 'images/notes.txt').write_text('no image')
    return tmp_path / 'images'


def model_inputs(model, image):
    return model.data_preprocessor(dict(inputs=[torch.from_numpy(image.transpose(2, 0, 1).copy())]))['inputs']


def make_sample(*names):
    sample = SegDataSample()
    sample.gt_label = torch.tensor([float(name in names) for name in CLASSES[1:]])
    return sample


def test_predictions_and_files_are_mmsegs(files, inferencer, folder, tmp_path):
    theirs, image = MMSegInferencer(*files, device='cpu'), str(folder / 'a.png')
    expected = theirs(image, out_dir=str(tmp_path / 'theirs'), return_vis=True)
    result = inferencer(image, out_dir=str(tmp_path / 'ours'), return_vis=True, with_cam=False)
    assert result.keys() == expected.keys()
    assert np.array_equal(result['predictions'], expected['predictions'])
    assert len(np.unique(expected['predictions'])) > 5
    assert np.array_equal(result['visualization'], expected['visualization'])
    written = [path.relative_to(tmp_path / 'theirs') for path in sorted((tmp_path / 'theirs').rglob('*.*'))]
    assert len(written) == 2
    assert all((tmp_path / 'ours' / p).read_bytes() == (tmp_path / 'theirs' / p).read_bytes() for p in written)


def test_cams_are_those_of_the_segmentor_for_the_classes_that_are_named(inferencer):
    image = make_image()
    result = inferencer(image, classes=[UNSEEN])
    (steps,) = inferencer.model.explain(model_inputs(inferencer.model, image), [make_sample(UNSEEN)])
    assert_close(torch.from_numpy(result['pred_cam']), steps.cam())
    assert np.array_equal(result['pred_pseudo_label'], steps.pseudo_label().numpy())
    assert_close(torch.from_numpy(result['pred_score']), steps.score)
    held = CLASSES.index(UNSEEN)
    assert result['pred_cam'][held - 1].max() > 0.99
    assert np.flatnonzero(result['pred_propagated_cam'].max(axis=(1, 2))).tolist() == [0, held]
    assert set(np.unique(result['pred_pseudo_label'])) <= {0, held, 255}


def test_without_names_the_classifier_decides(inferencer):
    result = inferencer(make_image())
    seen = result['pred_score'] > 0.5
    assert 3 < seen.sum() < 17
    assert np.array_equal(result['pred_cam'].max(axis=(1, 2)) > 0, seen)


def test_paths_arrays_lists_and_folders_are_the_same_images(inferencer, folder):
    by_folder = inferencer(str(folder))
    by_list = inferencer([folder / 'a.png', make_image(seed=2)], batch_size=2)
    by_path = inferencer(folder / 'sub/a.png')
    samples = inferencer([str(folder / 'a.png'), str(folder / 'sub/a.png')], return_datasamples=True)
    assert len(samples) == 2
    for field in ('predictions', *CAM_FIELDS):
        for i in range(2):
            assert_close(by_list[field][i], by_folder[field][i], rtol=1e-4, atol=1e-4)
        assert np.array_equal(by_path[field], by_folder[field][1])
    assert np.array_equal(samples[1].pred_cam.data.numpy(), by_path['pred_cam'])


def test_work_for_cams_is_done_only_where_they_are_wanted(inferencer, monkeypatch):
    passes, refinements = [], []
    head, refiner = inferencer.model.decode_head, inferencer.model.pseudo_labeler.refiner
    make_cams, refine = head.cam_logits, refiner.forward
    monkeypatch.setattr(head, 'cam_logits', lambda x: (passes.append(1), make_cams(x))[1])
    monkeypatch.setattr(refiner, 'forward', lambda *x: (refinements.append(1), refine(*x))[1])
    plain = inferencer(make_image(), with_cam=False)
    assert (set(plain), len(passes)) == ({'predictions', 'visualization'}, 0)
    cams = inferencer(make_image(), with_pseudo_label=False)
    assert set(cams) - set(plain) == {'pred_score', 'pred_cam', 'pred_propagated_cam'}
    assert (len(passes) > 0, len(refinements)) == (True, 0)


def test_propagated_cams_are_drawn_as_everywhere(inferencer):
    image = make_image(seed=1)
    prediction = Prediction.of(inferencer(image, classes=[UNSEEN], return_datasamples=True))
    painter = Painter(CLASSES, PALETTE)
    expected = overlay_propagated(image, prediction.propagated, PALETTE)
    assert np.array_equal(painter.overlay(image, prediction, 'propagated'), expected)
    hidden = (expected == (image * 0.55).astype(np.uint8)).all(axis=2)
    assert np.array_equal(hidden, prediction.label('propagated') == 0)
    assert 0.5 < hidden.mean() < 0.8
    none = prediction._replace(classes=[])
    for what in ('cam', 'propagated'):
        assert np.array_equal(painter.overlay(image, none, what), (image * 0.55).astype(np.uint8))
    with pytest.raises(ValueError, match='lacks propagated'):
        painter.overlay(image, prediction._replace(propagated=None), 'propagated')


def test_explain_shows_the_steps_to_the_same_result(inferencer):
    image = make_image()
    steps = inferencer.explain(image, [SEEN, UNSEEN])
    result = inferencer(image, classes=[SEEN, UNSEEN])
    assert [inferencer.class_names[i] for i in steps.classes] == [SEEN, UNSEEN]
    assert np.array_equal(steps.cam().numpy(), result['pred_cam'])
    assert steps.affinity_of(3, 5).shape == steps.plain.grid
    assert np.flatnonzero(inferencer.explain(image).score > 0.5).tolist() == inferencer.explain(image).classes


def test_scales_and_crf_are_those_of_testing(files, inferencer):
    image = make_image()
    data = next(inferencer.preprocess([image]))
    tta = WeakSegInferencer(*files, tta=True, **QUIET)
    (expected,) = tta.tta_model.test_step(data)
    result = tta(image, classes=[SEEN])
    assert np.array_equal(result['predictions'], expected.pred_sem_seg.data[0])
    plain = inferencer(image, classes=[SEEN])
    assert not np.array_equal(result['predictions'], plain['predictions'])
    assert all(np.array_equal(result[field], plain[field]) for field in CAM_FIELDS)

    with_crf = WeakSegInferencer(*files, crf=True, **QUIET)
    assert with_crf.model.crf.num_iters == 10
    sample = inferencer.model.test_step(data)[0]
    with_crf.model.post_process(model_inputs(with_crf.model, image), [sample])
    assert np.array_equal(with_crf(image)['predictions'], sample.pred_sem_seg.data[0])
    assert not np.array_equal(with_crf(image)['predictions'], plain['predictions'])


def test_classes_and_colours_come_from_the_checkpoint_or_the_caller(files, inferencer):
    assert inferencer.class_names == CLASSES[1:]
    assert inferencer.palette == PALETTE
    other = WeakSegInferencer(*files, classes=[f'c{i}' for i in range(21)], **QUIET)
    assert (other.class_names[0], other.palette) == ('c1', PALETTE)
    with pytest.raises(ValueError, match='palette has 3 entries, the network 21 classes'):
        WeakSegInferencer(*files, palette=[[0, 0, 0]] * 3, **QUIET)


def test_a_checkpoint_of_another_config_and_other_segmentors_are_refused(files, tmp_path):
    config, checkpoint = files
    fewer = Config.fromfile(config)
    fewer.model.decode_head.num_classes = 7
    with pytest.raises(ValueError, match='has 21 classes, the config 7 '):
        WeakSegInferencer(fewer, checkpoint, **QUIET)
    assert fewer.model.get('test_cfg') == dict(mode='whole')  # the caller's config is left as it is
    with pytest.raises(ValueError, match='EncoderDecoder has no CAMs'):
        WeakSegInferencer(REPO / 'configs/afa/segformer_mit-tiny_shapes.py', checkpoint, **QUIET)
    without = Config.fromfile(config)
    without.tta_model = None
    with pytest.raises(ValueError, match="tta requires tta_model=dict\\(type='MaxScaleTTAModel'\\)"):
        WeakSegInferencer(without, checkpoint, tta=True, **QUIET)
    with pytest.raises(FileNotFoundError, match='no.py'):
        WeakSegInferencer('no.py', checkpoint)
