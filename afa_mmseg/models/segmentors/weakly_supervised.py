"""Segmentor that learns from image-level labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...functional import multi_scale_cam
from ...functional.cam import resize
from ...functional.losses import count_pairs
from ...functional.near_walk import AffinityFactors
from ...functional.pseudo_label import ClassPacking, denormalize, grey_values, likeliest
from ..refiners import DenseCRF
from .explanation import CamOutput, Explanation, to_original
from .pseudo_labeler import PseudoLabeler
from .settings import check_settings

SampleList = list[SegDataSample]

#: Whose affinity `pred_propagated_cam` is spread along.
AFFINITY_SCALES = ('image', 'largest')


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
class WeaklySupervisedSegmentor(EncoderDecoder):
    """End-to-end segmentation from image-level labels, as AFA does it (Ru et al., CVPR 2022).

    Each training step makes multi-scale CAMs, turns them into pseudo-labels (refined; later on spread
    along the learned affinity first), and learns classification, affinity and segmentation at once.
    Prediction is that of any mmseg segmentor.

    Args:
        backbone: An attention-exposing backbone such as `AttnMixVisionTransformer`.
        decode_head: `AFAHead`.
        refiner: `PAR`, `PAMR`, any registered module that maps (image, cam) to cam, or None.
        pseudo_label: Settings of `PseudoLabeler` (`cam_scales`, `radius`, `bkg_scores`).
        train_cfg: Settings of `Phases`.
        test_cfg: mmseg's, and: `crf=dict(...)` post-processes predictions with a `DenseCRF` of these settings;
            `with_cam=True` adds `pred_cam`, `pred_propagated_cam` and `pred_score` to
            each prediction, `with_pseudo_label=True` also `pred_refined_cam` and `pred_pseudo_label`;
            `bkg_score` is the background score of propagated CAMs; `affinity_scale='largest'` spreads
            `pred_propagated_cam` along the affinity that training uses, 'image' (as the published validation
            does) along that of the image as it is.
        kwargs: Passed to mmseg's `EncoderDecoder`.

    Raises:
        ValueError: settings that cannot be, here or in `PseudoLabeler`.

    Note:
        Two deliberate differences from the reference: the plain image's scale-1 CAM comes from the training
        pass instead of a pass of its own, and batch-norm statistics move with the training pass only.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        refiner: Optional[dict] = None,
        pseudo_label: Optional[dict] = None,
        train_cfg: Optional[dict] = None,
        test_cfg: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        check_settings(pseudo_label, train_cfg, test_cfg, Phases)
        super().__init__(
            backbone=backbone,
            decode_head=decode_head,
            train_cfg=train_cfg,
            **kwargs,
        )
        self.test_cfg: ConfigDict = ConfigDict(test_cfg or dict(mode='whole'))
        self.pseudo_labeler = PseudoLabeler(refiner=refiner, **(pseudo_label or {}))
        self.phases = Phases(**(train_cfg or {}))
        crf = self.test_cfg.get('crf')
        self.crf = DenseCRF(**crf) if crf is not None else None
        affinity_scale = self.test_cfg.get('affinity_scale', 'image')
        if affinity_scale not in AFFINITY_SCALES:
            raise ValueError(
                f"test_cfg.affinity_scale='{affinity_scale}' is unknown: choose from {', '.join(AFFINITY_SCALES)}"
            )

    # Training

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Compute the losses of the current phase.

        Args:
            inputs: Normalised images.
            data_samples: Each with `gt_label` (C,) and, in its meta information, `img_box`.

        Shape:
            inputs (B, 3, H, W).

        Returns:
            `loss_cls`, `loss_affinity`, `loss_seg`, and, once pseudo-labels are made, the counts of positive
            and negative pairs and the share of ignored pixels.

        Raises:
            KeyError: a sample has no `gt_label`.
            ValueError: `gt_label` has the wrong length, or the crop is too small for the smallest CAM scale.
        """
        gt_label = torch.stack([self._gt_label(sample) for sample in data_samples])
        boxes = torch.tensor([sample.metainfo.get('img_box', _whole(inputs)) for sample in data_samples])
        head = self.decode_head
        features, attentions = self.backbone.forward_with_attention(inputs)
        losses = dict(loss_cls=head.loss_cls(head.image_logits(features), gt_label))
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        if iteration <= self.phases.cls_only_until:
            with torch.no_grad():
                head(features)  # batch-norm statistics move from the first iteration on
            return {**losses, **head.zero_losses()}

        affinity = head.affinity(attentions)
        base = (head.cam_logits(features), affinity.detach().float())
        classes = ClassPacking(gt_label, _most_labels(data_samples))
        seg_label, affinity_label = self.pseudo_labels(inputs, classes, boxes, iteration, base)
        target = self.pseudo_labeler.affinity_target(affinity_label, features[-1].shape[-2:])
        seg_logits = resize(head(features), seg_label.shape[-2:])
        positive, negative = count_pairs(target)
        ignore_index = self.pseudo_labeler.ignore_index
        if head.loss_energy is not None:
            image = grey_values(inputs, *self._normalization())
            losses['loss_energy'] = head.loss_energy(seg_logits, image, seg_label, boxes, ignore_index)
        return dict(
            **losses,
            loss_affinity=head.loss_affinity(affinity, target, ignore_index),
            loss_seg=head.loss_decode(seg_logits, seg_label, ignore_index=ignore_index),
            positive_pairs=positive.float(),
            negative_pairs=negative.float(),
            ignored_share=(seg_label == ignore_index).float().mean(),
        )

    @torch.no_grad()
    def pseudo_labels(
        self,
        inputs: Tensor,
        classes: ClassPacking,
        boxes: Tensor,
        iteration: int,
        base: Optional[tuple[Tensor, Tensor]] = None,
    ) -> tuple[Tensor, Tensor]:
        """Make the labels that segmentation and affinity learn from at an iteration.

        Args:
            inputs: Normalised images.
            classes: Those that the images hold.
            boxes: The part of each crop that shows real image (see `functional.fuse_labels`).
            iteration: Index of the training step; tells the phase.
            base: CAM logits and affinity of `inputs`, if at hand.

        Shape:
            inputs (B, 3, H, W); boxes (B, 4); outputs two label maps (B, H, W).
        """
        output = self.extract_cam(inputs, base, classes)
        image = self.to_rgb(inputs)
        labeler, gt_label = self.pseudo_labeler, classes.gt_label
        with torch.autocast(inputs.device.type, enabled=False):
            if iteration <= self.phases.cam_label_until:
                labels = [labeler.from_cam(image, output.cam, gt_label, boxes)]
            elif self.phases.affinity_from_propagated:
                labels = [labeler.from_propagated_cam(image, *output, gt_label, boxes)]
            else:
                labels = [*labeler.from_both(image, *output, gt_label, boxes)]
            named = [classes.unpack(label, labeler.ignore_index) for label in labels]
            return named[0], named[-1]

    # CAMs

    @torch.no_grad()
    def extract_cam(
        self,
        inputs: Tensor,
        base: Optional[tuple[Tensor, Tensor]] = None,
        classes: Optional[ClassPacking] = None,
    ) -> CamOutput:
        """Make multi-scale CAMs and the affinity of the largest scale, without the segmentation head.

        Args:
            inputs: Normalised images.
            base: CAM logits and affinity of `inputs`, if at hand.
            classes: Which classes CAMs are wanted of; None for all.

        Shape:
            inputs (B, 3, H, W).

        Raises:
            ValueError: the image is too small for the smallest of `cam_scales`.
        """
        height, width = inputs.shape[-2:]
        scales = self.pseudo_labeler.cam_scales
        if int(min(height, width) * min(scales)) < self.backbone.min_size:
            raise ValueError(
                f'image or crop_size {height} x {width} is too small: at cam_scales={scales} its smaller side must be '
                f'at least {-(-self.backbone.min_size // min(scales)):.0f} pixels. Use a larger crop or larger scales'
            )

        def pick(logits: Tensor) -> Tensor:
            return logits if classes is None else classes.pack(logits)

        def extract(x: Tensor, num_affinities: int) -> tuple[Tensor, Optional[AffinityFactors]]:
            features, attentions = self.backbone.forward_with_attention(x)
            cam = pick(self.decode_head.cam_logits(features))
            if num_affinities == 0:
                return cam, None
            return cam, self.decode_head.affinity_factors([a.first(num_affinities) for a in attentions])

        if base is not None:
            base = (pick(base[0]), base[1])
        cam, affinity = multi_scale_cam(extract, inputs, scales, base)
        return CamOutput(cam, affinity, self.backbone.grid_size(int(height * max(scales)), int(width * max(scales))))

    def to_rgb(self, inputs: Tensor) -> Tensor:
        """Give normalised images (B, 3, H, W) their grey values back, in 0..1."""
        return denormalize(inputs, *self._normalization())

    def _normalization(self) -> tuple[Tensor, Tensor]:
        """Look up what the images were normalised by: mean and standard deviation, (3, 1, 1) each."""
        mean, std = (getattr(self.data_preprocessor, name, None) for name in ('mean', 'std'))
        if mean is None or std is None:
            raise ValueError(
                'data_preprocessor needs mean and std: refinement works on the images before normalisation'
            )
        return mean, std

    # Prediction

    def predict(self, inputs: Tensor, data_samples: Optional[SampleList] = None) -> SampleList:
        """Segment images as any mmseg segmentor, with CAMs and scores of the classes where `test_cfg` asks.

        Classes are those of `gt_label` where the sample carries it, else the classifier's own decision.

        Shape:
            inputs (B, 3, H, W), normalised. Added to each sample, at its original size (H', W'):
            `pred_score` (C,) in [0, 1]; `pred_cam` (C, H', W') in [0, 1]; `pred_propagated_cam`
            (C + 1, H', W'); `pred_refined_cam` (C + 1, H', W'); `pred_pseudo_label` (1, H', W').
        """
        results = super().predict(inputs, data_samples)
        self.post_process(inputs, results)
        if self.test_cfg.get('with_cam', False) or self.test_cfg.get('with_pseudo_label', False):
            self.add_cams(inputs, results)
        return results

    def add_cams(self, inputs: Tensor, results: SampleList) -> None:
        """Add CAMs and what follows from them to predictions, wherever these come from; see `predict`."""
        for result, maps in zip(results, self._predict_cams(inputs, results)):
            result.set_data(maps)

    def post_process(self, inputs: Tensor, results: SampleList) -> None:
        """Replace `pred_sem_seg` by that of the CRF on the logits `seg_logits`, where `test_cfg` asks for it.

        Shape:
            inputs (B, 3, H, W), normalised; `seg_logits` (C + 1, H', W') at the image's original size.
        """
        if self.crf is None:
            return
        image = grey_values(inputs, *self._normalization()) / 255
        for x, sample in zip(image, results):
            prob = self.crf(to_original(x, sample.metainfo)[None], sample.seg_logits.data[None].float().softmax(dim=1))
            sample.pred_sem_seg = PixelData(data=likeliest(prob))

    @contextmanager
    def predicting_cams(self, *, pseudo_label: bool = False) -> Iterator[None]:
        """Have `predict` give CAMs, and pseudo-labels on request, inside a `with` block."""
        before = self.test_cfg
        self.test_cfg = ConfigDict(before, with_cam=True, with_pseudo_label=pseudo_label)
        try:
            yield
        finally:
            self.test_cfg = before

    @torch.no_grad()
    def explain(self, inputs: Tensor, data_samples: SampleList) -> list[Explanation]:
        """Show the steps between images and their pseudo-labels, as training takes them.

        Classes are those of `gt_label` where the sample carries it, else the classifier's own decision.

        Shape:
            inputs (B, 3, H, W), normalised.
        """
        head = self.decode_head
        features, attentions = self.backbone.forward_with_attention(inputs)
        scores = head.image_logits(features).float().sigmoid()
        affinity = head.affinity(attentions).float()
        output = self.extract_cam(inputs, base=(head.cam_logits(features), affinity))
        plain = CamOutput(output.cam, affinity, features[-1].shape[-2:])
        image = self.to_rgb(inputs)
        return [
            Explanation(
                self.pseudo_labeler,
                image[i : i + 1],
                self._gt_label(sample) if 'gt_label' in sample else (scores[i] > 0.5).float(),
                scores[i],
                output.select(i),
                plain.select(i),
                [attention.at(i) for attention in attentions],
                sample.metainfo,
            )
            for i, sample in enumerate(data_samples)
        ]

    def _predict_cams(self, inputs: Tensor, results: SampleList) -> list[dict]:
        """Make the extra fields of each prediction, at the images' original sizes."""
        bkg_score = self.test_cfg.get('bkg_score', 0.35)
        fields = []
        for steps in self.explain(inputs, results):
            cam = steps.to_original(steps.cam())
            source = steps.output if self.test_cfg.get('affinity_scale', 'image') == 'largest' else steps.plain
            spread = self.pseudo_labeler.propagate(
                cam[None], source.affinity, source.grid, steps.gt_label[None], [bkg_score]
            )
            maps = dict(pred_cam=cam, pred_propagated_cam=spread[0][0])
            if self.test_cfg.get('with_pseudo_label', False):
                maps['pred_refined_cam'] = steps.to_original(steps.refined(bkg_score))
                maps['pred_pseudo_label'] = steps.to_original(steps.pseudo_label())[None]
            fields.append(dict(pred_score=steps.score, **{name: PixelData(data=x) for name, x in maps.items()}))
        return fields

    def _gt_label(self, sample: SegDataSample) -> Tensor:
        """Take the multi-hot image-level label (C,) of a sample, checked."""
        if 'gt_label' not in sample:
            raise KeyError(
                f'sample {sample.get("img_path", "")} has no image-level label `gt_label`: use ImageLevelDataset or a '
                'subclass, and PackImageLevelInputs at the end of the training pipeline'
            )
        if sample.gt_label.shape != (self.decode_head.num_foreground,):
            raise ValueError(
                f'gt_label of {sample.get("img_path", "a sample")} has shape {tuple(sample.gt_label.shape)}, the head '
                f'has {self.decode_head.num_foreground} foreground classes: make decode_head.num_classes the number of '
                'classes of the data set, background included'
            )
        return sample.gt_label.float()


def _most_labels(samples: SampleList) -> Optional[int]:
    """Tell how many classes one sample holds at most, if all samples' meta information says so."""
    counts = [sample.metainfo.get('num_labels') for sample in samples]
    return None if None in counts else max(counts)


def _whole(inputs: Tensor) -> tuple[int, int, int, int]:
    """Give the box that is the whole image: top, bottom, left, right."""
    return 0, inputs.shape[-2], 0, inputs.shape[-1]
