"""Predictions and steps of a method without affinity and attention."""

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.cam_only import MODEL
from tests.reference_network import make_sample

SAMPLE = make_sample([1], num_classes=6, ori_shape=(48, 80), img_shape=(64, 64))


@pytest.fixture
def segmentor():
    return MODELS.build(MODEL).eval()


@pytest.fixture
def steps(segmentor):
    return segmentor.explain(torch.randn(1, 3, 64, 64), [SAMPLE.clone()])[0]


def test_predictions_carry_all_maps_but_the_propagated_cam(segmentor):
    with torch.no_grad(), segmentor.predicting_cams(pseudo_label=True):
        (result,) = segmentor.predict(torch.randn(1, 3, 64, 64), [SAMPLE.clone()])
    assert 'pred_propagated_cam' not in result
    assert 'pred_aux_cam' not in result
    assert result.pred_score.shape == (6,)
    assert result.pred_cam.shape == result.pred_refined_cam.shape == result.pred_pseudo_label.shape == (48, 80)
    assert set(result.pred_pseudo_label.data.unique().tolist()) <= {0, 2, 255}


def test_the_maps_of_a_second_classifier_are_carried_where_there_is_one(segmentor, monkeypatch):
    original = segmentor.extract_cam
    monkeypatch.setattr(segmentor, 'extract_cam', lambda *a, **k: (x := original(*a, **k))._replace(aux_cam=1 - x.cam))
    with torch.no_grad(), segmentor.predicting_cams():
        (result,) = segmentor.predict(torch.randn(1, 3, 64, 64), [SAMPLE.clone()])
    assert set(result.pred_aux_cam.data.amax((1, 2)).nonzero().flatten().tolist()) == {1}


def test_steps_state_what_the_method_has(steps):
    assert (steps.has_affinity, steps.has_attention) == (False, False)
    for call in (lambda: steps.propagated(0.3), lambda: steps.affinity_of(0, 0), lambda: steps.attention_of(0, 0)):
        with pytest.raises(ValueError, match=r'has_affinity|has_attention'):
            call()
    assert torch.equal(steps.cam_label(), steps.pseudo_label())
    assert set(steps.refined(0.3).amax((1, 2)).nonzero().flatten().tolist()) <= {0, 2}


def test_afa_has_both(tiny_segmentor):
    steps = tiny_segmentor.explain(torch.randn(1, 3, 64, 64), [SegDataSample()])[0]
    assert (steps.has_affinity, steps.has_attention) == (True, True)
