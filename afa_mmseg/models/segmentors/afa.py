"""AFA: affinity learned from attention, and pseudo-labels from CAMs propagated along it."""

from typing import Any, NamedTuple, NoReturn, Optional

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional.pseudo_label import ClassPacking
from ...utils.checks import check_keys
from ..pseudo_labelers import Affinity, AffinityPseudoLabeler
from .base import Classification, ImageLevelSegmentor, SampleList


class Phases(NamedTuple):
    """When training learns from what; both bounds are iteration indices, the last of their phase.

    Args:
        cls_only_until: Up to here only the classifier learns.
        cam_label_until: Up to here segmentation learns from plain CAMs, afterwards from propagated ones.
        affinity_from_propagated: After `cam_label_until`, affinity too learns from propagated CAMs (COCO).
    """

    cls_only_until: int = 2000
    cam_label_until: int = 6000
    affinity_from_propagated: bool = False


@MODELS.register_module()
class AFA(ImageLevelSegmentor):
    """End-to-end segmentation from image-level labels by affinity from attention (Ru et al., CVPR 2022).

    Each training step computes multi-scale CAMs, turns them into pseudo-labels (refined; in the last phase
    propagated along the learned affinity first), and learns classification, affinity and segmentation at once.
    Prediction is that of any mmseg segmentor.

    Args:
        backbone: An attention-exposing backbone such as `AttnMixVisionTransformer`.
        decode_head: `AFAHead`.
        pseudo_labeler: `AffinityPseudoLabeler` (`cam_scales`, `radius`, `bkg_scores`) or a subclass of it.
        train_cfg: Settings of `Phases`.
        kwargs: `refiner`, `test_cfg` and others: see `ImageLevelSegmentor`.

    Raises:
        ValueError: unexpected keys or invalid values, here, in `ImageLevelSegmentor` or in the rule.

    Note:
        Two deliberate differences from the reference: the plain image's scale-1 CAM comes from the training
        pass instead of a pass of its own, and batch-norm statistics move with the training pass only.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        pseudo_labeler: Optional[dict] = None,
        train_cfg: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        phases = _read_phases(train_cfg or {})
        pseudo_labeler = pseudo_labeler or dict(type='AffinityPseudoLabeler')
        super().__init__(backbone, decode_head, pseudo_labeler, train_cfg=train_cfg, **kwargs)
        if not isinstance(self.pseudo_labeler, AffinityPseudoLabeler):
            raise ValueError(
                f'model.pseudo_labeler of AFA is a {type(self.pseudo_labeler).__name__}, which has no affinity: '
                "use dict(type='AffinityPseudoLabeler') or a subclass of it"
            )
        self.phases = phases

    # Training

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Compute the losses of the current phase.

        Args:
            inputs: Normalised images.
            data_samples: Each with `gt_label` (C,) and, in its meta information, `img_box`.

        Shape:
            inputs (B, 3, H, W).

        Returns:
            `loss_cls`, `loss_affinity`, `loss_seg`, and, once there are pseudo-labels, `loss_energy` where the head
            has one, the counts of positive and negative pairs and the shares of ignored and foreground pixels.

        Raises:
            KeyError: a sample has no `gt_label`.
            ValueError: `gt_label` has the wrong length, or the crop is too small for the smallest CAM scale.
        """
        gt_label = self.image_labels(data_samples)
        head = self.decode_head
        features, attentions = self.backbone.forward_with_attention(inputs)
        losses = dict(loss_cls=head.loss_cls(head.image_logits(features), gt_label))
        if self.iteration <= self.phases.cls_only_until:
            with torch.no_grad():
                head(features)  # batch-norm statistics move from the first iteration on
            return {**losses, **head.zero_losses()}

        return {**losses, **self._pseudo_label_losses(inputs, data_samples, gt_label, features, attentions)}

    def _pseudo_label_losses(
        self, inputs: Tensor, data_samples: SampleList, gt_label: Tensor, features: list, attentions: list
    ) -> dict:
        """Compute the losses of affinity and segmentation, which learn from pseudo-labels."""
        head = self.decode_head
        affinity = head.affinity(attentions)
        base = (head.cam_logits(features), affinity.detach().float())
        classes, boxes = self.present_classes(gt_label, data_samples), self.image_boxes(inputs, data_samples)
        seg_label, affinity_label = self.pseudo_labels(inputs, classes, boxes, self.iteration, base)
        target = self.pseudo_labeler.affinity_target(affinity_label, features[-1].shape[-2:])
        return dict(
            **self.segmentation_losses(inputs, features, seg_label, boxes),
            loss_affinity=head.loss_affinity(affinity, target, self.pseudo_labeler.ignore_index),
            positive_pairs=(target == 1).sum().float(),
            negative_pairs=(target == 0).sum().float(),
        )

    def pseudo_labels(
        self,
        inputs: Tensor,
        classes: ClassPacking,
        boxes: Tensor,
        iteration: int,
        base: Optional[tuple[Tensor, Tensor]] = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the labels that segmentation and affinity learn from at an iteration.

        Args:
            inputs: Normalised images.
            classes: Those that the images hold.
            boxes: The part of each crop that shows real image (see `functional.fuse_labels`).
            iteration: Index of the training step, which decides the phase.
            base: CAM logits and affinity of `inputs`, if computed already.

        Shape:
            inputs (B, 3, H, W); boxes (B, 4); outputs two label maps (B, H, W).
        """
        labeler = self.pseudo_labeler
        if iteration <= self.phases.cam_label_until:
            rule = labeler.cam_label
        elif self.phases.affinity_from_propagated:
            rule = labeler.label
        else:
            rule = labeler.label_and_cam_label
        output = self.extract_cam(inputs, base, classes)
        labels = self.apply_rule(rule, inputs, output, classes, boxes)
        return labels[0], labels[-1]

    # CAMs

    def classify(self, inputs: Tensor) -> Classification:
        """Compute scores, CAM logits, affinity and attention; see `ImageLevelSegmentor.classify`."""
        head = self.decode_head
        features, attentions = self.backbone.forward_with_attention(inputs)
        return Classification(
            head.image_logits(features), head.cam_logits(features), head.affinity(attentions), tuple(attentions)
        )

    def cam_logits(self, inputs: Tensor, num_affinities: int = 0) -> tuple[Tensor, Optional[Affinity]]:
        """Compute CAM logits and factors of the affinity; see `ImageLevelSegmentor.cam_logits`."""
        features, attentions = self.backbone.forward_with_attention(inputs)
        cam = self.decode_head.cam_logits(features)
        if num_affinities == 0:
            return cam, None
        return cam, self.decode_head.affinity_factors([a.first(num_affinities) for a in attentions])


def _read_phases(train_cfg: dict) -> Phases:
    check_keys(train_cfg, Phases._fields, 'model.train_cfg')
    phases = Phases(**train_cfg)
    for name in ('cls_only_until', 'cam_label_until'):
        if not isinstance(getattr(phases, name), int):
            raise ValueError(f'model.train_cfg.{name}={getattr(phases, name)!r} must be the index of an iteration')
    return phases


@MODELS.register_module(name='WeaklySupervisedSegmentor')
def _renamed(**kwargs: Any) -> NoReturn:
    """Raise an error that names `AFA`, which this was called in earlier versions."""
    raise ValueError(
        "model.type='WeaklySupervisedSegmentor' is now 'AFA', and its pseudo_label=dict(...) is now "
        "pseudo_labeler=dict(type='AffinityPseudoLabeler', ...): rename both in the config"
    )
