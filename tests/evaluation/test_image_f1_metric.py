import pytest
import torch
from mmseg.registry import METRICS

from afa_mmseg.evaluation import ImageF1Metric


def evaluate(*pairs, **settings):
    metric = METRICS.build(dict(type='ImageF1Metric', **settings))
    samples = [dict(pred_score=torch.tensor(score), gt_label=torch.tensor(label)) for score, label in pairs]
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_mean_over_images_by_hand():
    result = evaluate(
        ([0.9, 0.8, 0.1], [1.0, 0.0, 0.0]),  # one right, one too many: 2 / 3
        ([0.2, 0.7, 0.6], [1.0, 1.0, 1.0]),  # two right, one missed: 4 / 5
        ([0.1, 0.2, 0.9], [0.0, 0.0, 1.0]),  # 1
    )
    # The mean over classes would be (1/2 + 2/3 + 1) / 3 = 13 / 18.
    assert result == {'cls/f1': pytest.approx(100 * (2 / 3 + 4 / 5 + 1) / 3)}


@pytest.mark.parametrize('label', [[0.0, 0.0], [1.0, 0.0]])
def test_images_without_predicted_class_count_as_zero(label):
    assert evaluate(([0.5, 0.1], label), ([0.9, 0.1], [1.0, 0.0])) == {'cls/f1': 50}


def test_threshold_and_prefix():
    assert evaluate(([0.4, 0.2], [1.0, 0.0]), thr=0.3, prefix='image') == {'image/f1': 100}


@pytest.mark.parametrize('field', ['pred_score', 'gt_label'])
def test_missing_fields_are_named(field):
    sample = dict(pred_score=torch.rand(2), gt_label=torch.ones(2))
    del sample[field]
    with pytest.raises(KeyError, match=rf"'{field}'.*val_evaluator"):
        ImageF1Metric().process({}, [sample])
