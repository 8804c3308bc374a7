"""A second method in a few lines: CAMs of a ResNet, pseudo-labels from plain CAMs, neither affinity nor attention."""

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from afa_mmseg.models import Classification, ImageLevelSegmentor
from tests.tools.toolbox import REPO


@MODELS.register_module(force=True)
class CAMOnly(ImageLevelSegmentor):
    """Learn a classifier and, from its refined CAMs, segmentation."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.classifier = nn.Conv2d(self.decode_head.in_channels, self.num_foreground, kernel_size=1, bias=False)

    def loss(self, inputs, data_samples):
        """Compute the losses of classification and segmentation from one shared pass."""
        gt_label, boxes = self.image_labels(data_samples), self.image_boxes(inputs, data_samples)
        classes = self.present_classes(gt_label, data_samples)
        features = self.backbone(inputs)
        found = self._classify(features)
        output = self.extract_cam(inputs, (found.cam_logits, None), classes)
        (label,) = self.apply_rule(self.pseudo_labeler.label, inputs, output, classes, boxes)
        loss_cls = F.multilabel_soft_margin_loss(found.image_logits, gt_label)
        return dict(loss_cls=loss_cls, **self.segmentation_losses(inputs, features, label, boxes))

    def classify(self, inputs):
        """Compute scores and CAM logits."""
        return self._classify(self.backbone(inputs))

    def _classify(self, features):
        with torch.autocast(features[-1].device.type, enabled=False):
            last = features[-1].float()
            image_logits = self.classifier(F.adaptive_max_pool2d(last, 1)).flatten(1)
            return Classification(image_logits, F.conv2d(last.detach(), self.classifier.weight.detach()))


MODEL = dict(
    type='CAMOnly',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], bgr_to_rgb=True, size=(64, 64),
    ),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, strides=(1, 2, 2, 1)),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1, num_classes=7,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=1.0),
    ),
    pseudo_labeler=dict(type='CamPseudoLabeler', cam_scales=(1.0, 0.5), bkg_scores=(0.3, 0.6)),
    refiner=dict(type='PAR', num_iters=3),
)  # fmt: skip


def cam_only_config(data, iterations=2):
    """Return a config that trains the method on a folder of ShapesVOC and validates once."""
    base = [f'{REPO}/configs/_base_/{name}.py' for name in ('datasets/shapes_voc', 'schedules/schedule_tiny')]
    text = f'_base_ = {[*base, f"{REPO}/configs/_base_/default_runtime.py"]}\nmodel = {MODEL}\n'
    cam = "dict(type='CAMIoUMetric', field='pred_cam', bkg_score=0.45, prefix='cam')"
    refined = "dict(type='CAMIoUMetric', field='pred_refined_cam', prefix='refined_cam')"
    text += f"val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), {cam}, {refined}]\n"
    text += 'val_cfg = dict(pseudo_label=True)\n'
    cfg = Config.fromstring(text, '.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(data)
    cfg.train_dataloader.dataset.pipeline[-2].crop_size = (64, 64)
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
    return cfg
