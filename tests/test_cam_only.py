"""A method without affinity and attention goes through training, inference, video, export, panels and the page."""

import json
import math

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import MODELS

from afa_mmseg.functional import cam_scores
from afa_mmseg.models.segmentors.base import fixed_statistics
from tests.any_method import AnyMethod
from tests.cam_only import MODEL, CAMOnly, cam_only_config
from tests.reference_network import make_sample


class TestCAMOnly(AnyMethod):
    config = staticmethod(cam_only_config)

    def test_it_trains_validates_and_draws(self, files, tmp_path):
        config, _ = files
        config = config.copy()
        config.work_dir = str(tmp_path)
        config.visualizer.name = str(tmp_path)  # mmengine keeps visualizers by name
        assert [hook.type for hook in config.custom_hooks] == ['WeakSegVisualizationHook']
        runner = Runner.from_cfg(config)
        before = runner.model.decode_head.conv_seg.weight.clone()
        runner.train()
        assert not torch.equal(runner.model.decode_head.conv_seg.weight, before)
        lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).read_text().splitlines()]
        logged = {key: value for line in lines for key, value in line.items()}
        assert {'cam/mIoU', 'refined_cam/mIoU'} <= set(logged)
        assert all(math.isfinite(value) for value in logged.values())
        (image,) = tmp_path.rglob('vis_image/*.png')
        assert image.name == 'val_val_000000_2.png'


def build(**settings):
    return MODELS.build(dict(MODEL, **settings))


def test_cam_passes_leave_statistics_of_batch_norm_alone():
    model = build().train()
    images = 50 + 10 * torch.randn(2, 3, 64, 64)
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.extract_cam(images)
    names = [name for name in before if name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))]
    assert len(names) > 20
    for name, value in model.named_buffers():
        assert name not in names or torch.equal(value, before[name])
    model.backbone(images)  # a training pass moves them
    assert not torch.equal(model.backbone.bn1.running_mean, before['backbone.bn1.running_mean'])


def test_cam_passes_do_not_count_for_a_cumulative_average():
    norm = torch.nn.BatchNorm2d(3, momentum=None)
    norm(torch.randn(2, 3, 8, 8) + 4)
    with fixed_statistics(norm):
        norm(torch.randn(2, 3, 8, 8) - 4)
    assert (norm.num_batches_tracked, norm.momentum) == (1, None)
    assert norm.running_mean.mean() > 3


def test_a_rule_may_read_the_cams_of_a_second_classifier():
    class TwoClassifiers(CAMOnly):
        def _classify(self, features):
            found = super()._classify(features)
            return found._replace(cam_logits=torch.cat([found.cam_logits, -found.cam_logits], dim=1))

    model = TwoClassifiers(**{key: value for key, value in MODEL.items() if key != 'type'}).eval()
    model.pseudo_labeler.scores = lambda output, gt_label, bkg_scores: cam_scores(output.aux_cam, gt_label, bkg_scores)
    sample = make_sample([1, 4], 6, ori_shape=(64, 64))
    (steps,) = model.explain(torch.randn(1, 3, 64, 64), [sample])
    assert set(steps.pseudo_label().unique().tolist()) <= {0, 2, 5, 255}
    assert set(steps.refined_label(0.4).unique().tolist()) <= {0, 2, 5}


def test_an_affinity_needs_a_rule_that_propagates():
    class WithAffinity(CAMOnly):
        def _classify(self, features):
            found = super()._classify(features)
            cells = found.cam_logits[0, 0].numel()
            return found._replace(affinity=torch.ones(len(found.cam_logits), cells, cells))

    model = WithAffinity(**{key: value for key, value in MODEL.items() if key != 'type'}).eval()
    with pytest.raises(ValueError, match='CamPseudoLabeler .*AffinityPseudoLabeler'), model.predicting_cams():
        model.predict(torch.randn(1, 3, 64, 64), [make_sample([1], 6, ori_shape=(64, 64), img_shape=(64, 64))])


@pytest.mark.parametrize('part', ['neck', 'auxiliary_head'])
def test_what_training_would_leave_out_is_refused(part):
    with pytest.raises(ValueError, match=f'model.{part} .*CAMOnly'):
        build(**{part: dict(type='FPN')})


def test_settings_of_testing_need_no_mode():
    model = build(test_cfg=dict(bkg_score=0.4)).eval()
    (result,) = model.predict(torch.randn(1, 3, 64, 64), [make_sample([1], 6, ori_shape=(64, 64), img_shape=(64, 64))])
    assert result.pred_sem_seg.shape == (64, 64)
