"""ToCo: token contrast beside pseudo-labels from plain CAMs."""

import math
from typing import Any, NamedTuple, Optional

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import cam_to_label, local_crop_flags, sample_local_crops, uncertain_regions
from ...functional.cam import resize
from ...functional.local_crops import cut_crops
from ...utils.checks import check_keys
from ..pseudo_labelers import CamOutput
from .base import Classification, ImageLevelSegmentor, SampleList
from .explanation import Explanation

#: Fields of samples that hold views 2 and 3, see `AddView`.
VIEWS = ('view2', 'view3')


class ToCoSettings(NamedTuple):
    """When training learns from what, and how local crops are drawn; bounds are the last iterations of their phase.

    Args:
        no_seg_until: Up to here segmentation has zero gradients.
        no_contrast_until: Up to here token contrast has zero gradients.
        aux_label_until: Up to here segmentation learns from the CAMs of the auxiliary classifier; None: to the end,
            and pseudo-labels of trained networks are made from them.
        num_crops: Local crops of each image.
        local_size: Side of a local crop in pixels.
        scale_boxes: Whether patch tokens outside the image box are ignored by the cells that it covers. The published
            code compares cell numbers with the box in pixels, which ignores every cell of many crops.
    """

    no_seg_until: int = 2000
    no_contrast_until: int = -1
    aux_label_until: Optional[int] = -1
    num_crops: int = 8
    local_size: int = 96
    scale_boxes: bool = False


@MODELS.register_module()
class ToCo(ImageLevelSegmentor):
    """End-to-end segmentation with token contrast (Ru et al., CVPR 2023).

    CAMs come from the last layer of a Vision Transformer and, by an auxiliary classifier, from an intermediate one.
    The auxiliary CAMs decide which patch tokens the last layer learns to separate, and which crops show background.

    Args:
        backbone: `AttnVisionTransformer` with two `out_indices`: the intermediate layer, and the last one.
        decode_head: `ToCoHead`; a loss of it that is None is left out. Without auxiliary classifier, contrast learns
            from the CAMs of the last layer.
        pseudo_labeler: Config of the rule; its `bkg_scores` are the thresholds of contrast, too.
        train_cfg: Settings of `ToCoSettings`.
        test_size: Height and width that images are resized to, after normalisation, when they are predicted (not
            under test-time augmentation); None for their own.
        kwargs: See `ImageLevelSegmentor`.

    Raises:
        ValueError: An unexpected key or an invalid value of `train_cfg`, or see `ImageLevelSegmentor`.

    Note:
        One pass of the input returns CAMs, class token and features; the reference has four passes.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        pseudo_labeler: Optional[dict] = None,
        train_cfg: Optional[dict] = None,
        test_size: Optional[tuple[int, int]] = None,
        **kwargs: Any,
    ) -> None:
        check_keys(train_cfg or {}, ToCoSettings._fields, 'model.train_cfg')
        rule = pseudo_labeler or dict(type='CamPseudoLabeler', bkg_scores=(0.25, 0.7))
        super().__init__(backbone, decode_head, rule, train_cfg=train_cfg, **kwargs)
        self.settings = ToCoSettings(**(train_cfg or {}))
        self.test_size = None if test_size is None else tuple(test_size)
        self._averaged_at: Optional[int] = None

    # Training

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Compute the losses of the current phase.

        Args:
            inputs: Normalised images: view 1.
            data_samples: Each with `gt_label` (C,), raw `view2` and `view3` (3, H, W), and `img_box` as meta value.

        Shape:
            inputs (B, 3, H, W).

        Returns:
            `loss_cls`, `loss_aux`, `loss_ptc`, `loss_ctc`, `loss_seg`, `loss_energy`, those that the head has; once
            pseudo-labels are made, the shares of ignored and foreground pixels and of local crops of background.

        Raises:
            KeyError: A sample has no `gt_label` or no view.
            ValueError: `gt_label` has the wrong length, or the crop is too small for scales or local crops.
        """
        gt_label, boxes = self.image_labels(data_samples), self.image_boxes(inputs, data_samples)
        head, iteration = self.decode_head, self.iteration
        self._update_average(iteration)
        maps, token, _ = self.backbone.forward_with_tokens(inputs)
        losses = self._classification_losses(maps, gt_label)
        contrast, segment = iteration > self.settings.no_contrast_until, iteration > self.settings.no_seg_until
        if contrast or segment:
            classes = self.present_classes(gt_label, data_samples)
            output = self.extract_cam(inputs, (head.cam_logits(maps), None), classes)
        if contrast:
            cam = output.cam if output.aux_cam is None else output.aux_cam
            losses.update(self._patch_loss(maps[-1], cam, classes.gt_label, boxes))
            losses.update(self._class_loss(token, cam, classes.gt_label, data_samples))
        else:
            losses.update(head.zero_losses('loss_ptc', 'loss_ctc'))
        if segment:
            source = self._label_cam(output, iteration)
            (label,) = self.apply_rule(self.pseudo_labeler.label, inputs, source, classes, boxes)
            losses.update(self.segmentation_losses(inputs, maps, label, boxes))
        else:
            losses.update(head.zero_losses('loss_seg', 'loss_energy'))
        return losses

    def _update_average(self, iteration: int) -> None:
        """Move the averaged projector, once for all batches of an iteration."""
        if self.decode_head.loss_ctc is not None and iteration != self._averaged_at:
            self.decode_head.update_average()
        self._averaged_at = iteration

    def _classification_losses(self, maps: tuple[Tensor, ...], gt_label: Tensor) -> dict[str, Tensor]:
        head = self.decode_head
        losses = dict(loss_cls=head.loss_cls(head.image_logits(maps), gt_label))
        if head.loss_aux is not None:
            losses['loss_aux'] = head.loss_aux(head.aux_image_logits(maps), gt_label)
        return losses

    def _patch_loss(self, features: Tensor, cam: Tensor, gt_label: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        if self.decode_head.loss_ptc is None:
            return {}
        height, width = features.shape[-2:]
        label = self.patch_label(cam, gt_label, boxes, (height, width))
        return dict(loss_ptc=self.decode_head.loss_ptc(features, label, self.pseudo_labeler.ignore_index))

    @torch.no_grad()
    def patch_label(self, cam: Tensor, gt_label: Tensor, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Label the patch tokens that contrast compares.

        Shape:
            cam (B, C, H, W); gt_label (B, C); boxes (B, 4) in pixels; grid (h, w); output (B, h, w).
        """
        if self.settings.scale_boxes:
            ratio = torch.tensor([grid[0] / cam.shape[-2]] * 2 + [grid[1] / cam.shape[-1]] * 2)
            boxes = (boxes * ratio).round().long()
        low, high = self.pseudo_labeler.bkg_scores
        return cam_to_label(resize(cam, grid), gt_label, low, high, boxes, self.pseudo_labeler.ignore_index)

    def _class_loss(self, token: Tensor, cam: Tensor, gt_label: Tensor, samples: SampleList) -> dict[str, Tensor]:
        head, batch = self.decode_head, len(token)
        if head.loss_ctc is None:
            return {}
        regions = uncertain_regions(cam, gt_label, *self.pseudo_labeler.bkg_scores)
        corners = self.draw_corners(regions)
        flags = local_crop_flags(regions, corners, self.settings.local_size)
        whole, local = (self._normalized_views(samples, name) for name in VIEWS)
        local = cut_crops(local, corners, self.settings.local_size).transpose(0, 1).flatten(0, 1)  # view by view
        tokens = [token, *(self.backbone.forward_with_tokens(x).class_token for x in (whole, local))]
        with torch.no_grad():
            teacher = head.averaged_projector(torch.cat(tokens[:2]))
        flags = torch.cat([flags.new_ones(batch, 2), flags], dim=1)
        loss = head.loss_ctc(head.projector(torch.cat(tokens)), teacher, flags)
        return dict(loss_ctc=loss, background_crops=1 - flags[:, 2:].float().mean())

    def draw_corners(self, regions: Tensor) -> Tensor:
        """Draw the top left corners of local crops; (B, H, W) -> (B, num_crops, 2)."""
        return sample_local_crops(regions, self.settings.num_crops, self.settings.local_size)

    def _normalized_views(self, samples: SampleList, name: str) -> Tensor:
        """Stack one view of each sample, normalised as the inputs are."""
        for sample in samples:
            if name not in sample:
                raise KeyError(
                    f"sample {sample.get('img_path', '')} has no '{name}': the training pipeline needs AddView(key="
                    f"'{name}', ...) and PackViews, as in configs/_base_/datasets/three_views.py"
                )
        return self.data_preprocessor(dict(inputs=[getattr(sample, name) for sample in samples]), False)['inputs']

    # CAMs and prediction

    def classify(self, inputs: Tensor) -> Classification:
        """Compute scores, CAM logits of both classifiers and attention; see `ImageLevelSegmentor.classify`."""
        maps, _, attentions = self.backbone.forward_with_tokens(inputs)
        return Classification(
            self.decode_head.image_logits(maps), self.decode_head.cam_logits(maps), None, tuple(attentions)
        )

    def cam_logits(self, inputs: Tensor, num_affinities: int = 0) -> tuple[Tensor, None]:
        """Compute CAM logits of both classifiers; see `ImageLevelSegmentor.cam_logits`."""
        return self.decode_head.cam_logits(self.backbone(inputs)), None

    def label_cam(self, output: CamOutput) -> CamOutput:
        """Choose the CAMs that segmentation learns from at the end of training; see `ImageLevelSegmentor`."""
        return self._label_cam(output, math.inf)

    def _label_cam(self, output: CamOutput, iteration: float) -> CamOutput:
        """Put the CAMs of the auxiliary classifier in place of the last layer's while segmentation learns from them."""
        until = self.settings.aux_label_until
        if output.aux_cam is None or (until is not None and iteration > until):
            return output
        return output._replace(cam=output.aux_cam)

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Segment images, resized to `test_size`; output (B, C + 1, H, W)."""
        return super().inference(self._to_test_size(inputs), batch_img_metas)

    def explain(self, inputs: Tensor, data_samples: SampleList) -> list[Explanation]:
        """Return the steps between images, resized to `test_size`, and their pseudo-labels."""
        return super().explain(self._to_test_size(inputs), data_samples)

    def _to_test_size(self, inputs: Tensor) -> Tensor:
        return inputs if self.test_size is None else resize(inputs, self.test_size)
