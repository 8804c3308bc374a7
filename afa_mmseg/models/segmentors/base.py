"""What all segmentors that learn from image-level labels share: labels of samples, CAMs, CRF, explanations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional, Union

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # what all kinds of batch norm inherit; torch has no public name

from ...functional import multi_scale_cam
from ...functional.cam import resize
from ...functional.pseudo_label import ClassPacking, denormalize, likeliest, pixel_values
from ..backbones import Attention
from ..pseudo_labelers import Affinity, CamOutput
from ..refiners import DenseCRF
from .explanation import Explanation, to_original
from .testing import BKG_SCORE, check_test_cfg

SampleList = list[SegDataSample]


class Classification(NamedTuple):
    """Outputs of a method's network beside the segmentation.

    Args:
        image_logits: Of each foreground class; their sigmoid is `pred_score`.
        cam_logits: CAMs before normalisation.
        affinity: Between all cells of the grid of `cam_logits`, in [0, 1], or None.
        attentions: Of some blocks on that grid; empty where the backbone exposes none.

    Shape:
        image_logits (B, C); cam_logits (B, C, h, w), or (B, 2 C, h, w) with those of a second classifier behind;
        affinity (B, hw, hw).
    """

    image_logits: Tensor
    cam_logits: Tensor
    affinity: Optional[Tensor] = None
    attentions: tuple[Attention, ...] = ()


class ImageLevelSegmentor(EncoderDecoder):
    """Base class of segmentors that learn from image-level labels.

    A method implements `loss` and `classify`, and `cam_logits` where a CAM pass needs less than `classify` computes.
    Prediction, CAMs in predictions, the CRF and `explain` follow from these.

    Args:
        backbone: Config of the backbone.
        decode_head: Config of the head; its `num_classes` counts the background.
        pseudo_labeler: Config of a registered rule, such as `CamPseudoLabeler`.
        refiner: Config of the rule's refiner, such as `PAR`; None leaves refinement out.
        train_cfg: Settings of the method.
        test_cfg: mmseg's, and: `crf=dict(...)` post-processes predictions with a `DenseCRF` of these settings;
            `with_cam=True` adds CAMs and scores to each prediction, `with_pseudo_label=True` also refined CAMs and
            pseudo-labels (see `predict`); `bkg_score` is the background score of propagated and refined CAMs;
            `affinity_scale='largest'` propagates along the affinity that training uses, 'image' (as the published
            validation does) along that of the image as it is.
        kwargs: Passed to mmseg's `EncoderDecoder`; `neck` and `auxiliary_head` are not supported.

    Raises:
        ValueError: an unexpected key or an invalid value of `test_cfg`, or a neck or an auxiliary head.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        pseudo_labeler: dict,
        refiner: Optional[dict] = None,
        train_cfg: Optional[dict] = None,
        test_cfg: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        check_test_cfg(test_cfg or {})
        for part in ('neck', 'auxiliary_head'):
            if kwargs.get(part) is not None:
                raise ValueError(f'model.{part} is not supported by {type(self).__name__}: training would leave it out')
        super().__init__(backbone=backbone, decode_head=decode_head, train_cfg=train_cfg, **kwargs)
        self.test_cfg: ConfigDict = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        self.pseudo_labeler = MODELS.build({'refiner': refiner, **pseudo_labeler})
        crf = self.test_cfg.get('crf')
        self.crf = DenseCRF(**crf) if crf is not None else None

    @property
    def num_foreground(self) -> int:
        """Number of classes without background."""
        return self.num_classes - 1

    @property
    def iteration(self) -> int:
        """Index of the current training step, from 0."""
        return MessageHub.get_current_instance().get_info('iter', 0)

    # What a method implements

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Compute the losses of a training step.

        Shape:
            inputs (B, 3, H, W), normalised.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement loss(inputs, data_samples)')

    def classify(self, inputs: Tensor) -> Classification:
        """Compute scores, CAM logits and, if the method has them, affinity and attention of normalised images."""
        raise NotImplementedError(f'{type(self).__name__} must implement classify(inputs)')

    def cam_logits(self, inputs: Tensor, num_affinities: int = 0) -> tuple[Tensor, Optional[Affinity]]:
        """Compute CAM logits of normalised images of any size, and the affinity of the first `num_affinities`.

        Shape:
            inputs (B, 3, H, W); outputs (B, C, h, w), or (B, 2 C, h, w) where the method has a second classifier, and
            (num_affinities, hw, hw), its factors, or None.
        """
        found = self.classify(inputs)
        return found.cam_logits, None if found.affinity is None else found.affinity[:num_affinities]

    def label_cam(self, output: CamOutput) -> CamOutput:
        """Choose the CAMs that pseudo-labels are made from at the end of training: those of the classifier."""
        return output

    # Samples

    def image_labels(self, data_samples: SampleList) -> Tensor:
        """Stack the multi-hot labels of samples, checked; (B, C).

        Raises:
            KeyError: a sample has no `gt_label`.
            ValueError: `gt_label` has the wrong length.
        """
        return torch.stack([self._gt_label(sample) for sample in data_samples])

    def image_boxes(self, inputs: Tensor, data_samples: SampleList) -> Tensor:
        """Stack the parts of crops that show real image, (B, 4) on the CPU: top, bottom, left, right."""
        whole = 0, inputs.shape[-2], 0, inputs.shape[-1]
        return torch.tensor([sample.metainfo.get('img_box', whole) for sample in data_samples])

    def present_classes(self, gt_label: Tensor, data_samples: SampleList) -> ClassPacking:
        """Pack the classes of labels (B, C); without a wait for the GPU where samples state their `num_labels`."""
        counts = [sample.metainfo.get('num_labels') for sample in data_samples]
        return ClassPacking(gt_label, None if None in counts else max(counts))

    def to_rgb(self, inputs: Tensor) -> Tensor:
        """Undo the normalisation of images (B, 3, H, W); RGB in 0..1."""
        return denormalize(inputs, *self._normalization())

    def to_pixel_values(self, inputs: Tensor) -> Tensor:
        """Undo the normalisation of images (B, 3, H, W); RGB in 0..255, without truncation to whole numbers."""
        return pixel_values(inputs, *self._normalization())

    # CAMs

    @torch.no_grad()
    def extract_cam(
        self,
        inputs: Tensor,
        base: Optional[tuple[Tensor, Optional[Tensor]]] = None,
        classes: Optional[ClassPacking] = None,
    ) -> CamOutput:
        """Compute multi-scale CAMs and the affinity of the largest scale, without the segmentation head.

        Statistics of batch norm stay as they are.

        Args:
            inputs: Normalised images.
            base: CAM logits and affinity of `inputs`, if computed already: saves that pass.
            classes: Classes to compute CAMs of; None for all.

        Shape:
            inputs (B, 3, H, W).

        Raises:
            ValueError: the image is too small for the smallest of `cam_scales`.
        """
        scales = self.pseudo_labeler.cam_scales
        self._check_size(inputs, scales)
        grid = None

        def extract(x: Tensor, num_affinities: int) -> tuple[Tensor, Optional[Affinity]]:
            nonlocal grid
            logits, affinity = self.cam_logits(x, num_affinities)
            if num_affinities > 0:
                grid = _grid_of(logits)
            return self._pick(logits, classes), affinity

        if base is not None:
            grid = _grid_of(base[0])  # until a larger scale has another
            base = (self._pick(base[0], classes), base[1])
        with fixed_statistics(self):
            cam, affinity = multi_scale_cam(extract, inputs, scales, base)
        assert grid is not None
        count = self.num_foreground if classes is None else classes.gt_label.shape[1]
        return CamOutput(cam[:, :count], affinity, grid, cam[:, count:] if cam.shape[1] > count else None)

    def _pick(self, logits: Tensor, classes: Optional[ClassPacking]) -> Tensor:
        """Keep the logits of present classes, in each stack of all foreground classes."""
        if classes is None:
            return logits
        return torch.cat([classes.pack(x) for x in logits.split(self.num_foreground, dim=1)], dim=1)

    @torch.no_grad()
    def apply_rule(
        self,
        rule: Callable[..., Union[Tensor, tuple[Tensor, ...]]],
        inputs: Tensor,
        output: CamOutput,
        classes: ClassPacking,
        boxes: Tensor,
    ) -> tuple[Tensor, ...]:
        """Compute pseudo-labels of training images, in float32 also in mixed precision.

        Args:
            rule: A method of the pseudo-labeler (`label`, `cam_label`, `label_and_cam_label`), or any function of RGB
                images in 0..1, CAMs, labels (B, K) of the K packed classes, and boxes.
            inputs: Normalised images.
            output: Their CAMs of `classes`, see `extract_cam`.
            classes: Those that the images hold.
            boxes: See `image_boxes`.

        Shape:
            inputs (B, 3, H, W); boxes (B, 4); each output (B, H, W).
        """
        with torch.autocast(inputs.device.type, enabled=False):
            labels = rule(self.to_rgb(inputs), output, classes.gt_label, boxes)
            labels = labels if isinstance(labels, tuple) else (labels,)
            return tuple(classes.unpack(label, self.pseudo_labeler.ignore_index) for label in labels)

    def segmentation_losses(
        self, inputs: Tensor, features: Sequence[Tensor], label: Tensor, boxes: Tensor
    ) -> dict[str, Tensor]:
        """Compute the losses of segmentation against pseudo-labels, and `label_shares`.

        Args:
            inputs: Normalised images.
            features: Their feature maps, input of the head.
            label: Pseudo-labels.
            boxes: See `image_boxes`.

        Shape:
            inputs (B, 3, H, W); label (B, H, W); boxes (B, 4).

        Returns:
            `loss_seg`, and `loss_energy` where the head has one; the shares of ignored and foreground pixels.
        """
        head, ignore_index = self.decode_head, self.pseudo_labeler.ignore_index
        logits = resize(head(features), label.shape[-2:])
        losses = dict(loss_seg=head.loss_decode(logits, label, ignore_index=ignore_index))
        if getattr(head, 'loss_energy', None) is not None:
            losses['loss_energy'] = head.loss_energy(logits, self.to_pixel_values(inputs), label, boxes, ignore_index)
        return {**losses, **self.label_shares(label)}

    def label_shares(self, label: Tensor) -> dict[str, Tensor]:
        """Compute the shares of pixels whose pseudo-label (B, H, W) is ignored, and is an object: values to log."""
        ignored = label == self.pseudo_labeler.ignore_index
        foreground = (label > 0) & ~ignored
        return dict(ignored_share=ignored.float().mean(), foreground_share=foreground.float().mean())

    def _check_size(self, inputs: Tensor, scales: tuple[float, ...]) -> None:
        height, width = inputs.shape[-2:]
        smallest = getattr(self.backbone, 'min_size', 1)
        if int(min(height, width) * min(scales)) < smallest:
            raise ValueError(
                f'image or crop_size {height} x {width} is too small: at cam_scales={scales} its smaller side must be '
                f'at least {-(-smallest // min(scales)):.0f} pixels. Use a larger crop or larger scales'
            )

    # Prediction

    def predict(self, inputs: Tensor, data_samples: Optional[SampleList] = None) -> SampleList:
        """Segment images as any mmseg segmentor, with CAMs and scores of the classes where `test_cfg` asks.

        Classes are those of `gt_label` where the sample carries it, else the classifier's own decision. Where the
        method has no affinity, `pred_propagated_cam` is left out.

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
        """Add CAMs, scores and pseudo-labels to predictions of any origin; see `predict`."""
        for result, steps in zip(results, self.explain(inputs, results)):
            maps = {name: PixelData(data=x) for name, x in self.prediction_maps(steps).items()}
            result.set_data(dict(pred_score=steps.score, **maps))

    def prediction_maps(self, steps: Explanation) -> dict[str, Tensor]:
        """Compute the maps that a prediction carries beside the segmentation, at the image's original size."""
        bkg_score = self.test_cfg.get('bkg_score', BKG_SCORE)
        cam = steps.to_original(steps.cam())
        maps = dict(pred_cam=cam)
        if steps.output.aux_cam is not None:
            maps['pred_aux_cam'] = steps.to_original(steps.output.aux_cam[0] * steps.gt_label[:, None, None])
        if steps.has_affinity:
            source = steps.output if self.test_cfg.get('affinity_scale', 'image') == 'largest' else steps.plain
            output = source._replace(cam=cam[None])
            maps['pred_propagated_cam'] = self.pseudo_labeler.propagate(output, steps.gt_label[None], [bkg_score])[0]
        if self.test_cfg.get('with_pseudo_label', False):
            maps['pred_refined_cam'] = steps.to_original(steps.refined(bkg_score))
            maps['pred_pseudo_label'] = steps.to_original(steps.pseudo_label())[None]
        return maps

    def post_process(self, inputs: Tensor, results: SampleList) -> None:
        """Replace `pred_sem_seg` by that of the CRF on the logits `seg_logits`, where `test_cfg` asks for it.

        Shape:
            inputs (B, 3, H, W), normalised; `seg_logits` (C + 1, H', W') at the image's original size.
        """
        if self.crf is None:
            return
        for x, sample in zip(self.to_pixel_values(inputs) / 255, results):
            prob = self.crf(to_original(x, sample.metainfo)[None], sample.seg_logits.data[None].float().softmax(dim=1))
            sample.pred_sem_seg = PixelData(data=likeliest(prob))

    @contextmanager
    def predicting_cams(self, *, pseudo_label: bool = False) -> Iterator[None]:
        """Add CAMs, and pseudo-labels on request, to the results of `predict` inside a `with` block."""
        before = self.test_cfg
        self.test_cfg = ConfigDict(before, with_cam=True, with_pseudo_label=pseudo_label)
        try:
            yield
        finally:
            self.test_cfg = before

    @torch.no_grad()
    def explain(self, inputs: Tensor, data_samples: SampleList) -> list[Explanation]:
        """Return the steps between images and their pseudo-labels, as training takes them.

        Classes are those of `gt_label` where the sample carries it, else the classifier's own decision.

        Shape:
            inputs (B, 3, H, W), normalised.
        """
        found = self.classify(inputs)
        scores = found.image_logits.float().sigmoid()
        affinity = None if found.affinity is None else found.affinity.float()
        output = self.extract_cam(inputs, base=(found.cam_logits, affinity))
        source = self.label_cam(output)
        plain = CamOutput(output.cam, affinity, _grid_of(found.cam_logits))
        image = self.to_rgb(inputs)
        return [
            Explanation(
                self.pseudo_labeler,
                image[i : i + 1],
                self._gt_label(sample) if 'gt_label' in sample else (scores[i] > 0.5).float(),
                scores[i],
                output.select(i),
                source.select(i),
                plain.select(i),
                [attention.at(i) for attention in found.attentions],
                sample.metainfo,
            )
            for i, sample in enumerate(data_samples)
        ]

    def _gt_label(self, sample: SegDataSample) -> Tensor:
        """Look up the multi-hot image-level label (C,) of a sample, checked."""
        if 'gt_label' not in sample:
            raise KeyError(
                f'sample {sample.get("img_path", "")} has no image-level label `gt_label`: use ImageLevelDataset or a '
                'subclass, and PackImageLevelInputs at the end of the training pipeline'
            )
        if sample.gt_label.shape != (self.num_foreground,):
            raise ValueError(
                f'gt_label of {sample.get("img_path", "a sample")} has shape {tuple(sample.gt_label.shape)}, the head '
                f'has {self.num_foreground} foreground classes: set decode_head.num_classes to the number of classes '
                'of the data set, background included'
            )
        return sample.gt_label.float()

    def _normalization(self) -> tuple[Tensor, Tensor]:
        """Look up what the images were normalised by: mean and standard deviation, (3, 1, 1) each."""
        mean, std = (getattr(self.data_preprocessor, name, None) for name in ('mean', 'std'))
        if mean is None or std is None:
            raise ValueError('data_preprocessor needs mean and std: refinement works on the images without them')
        return mean, std


@contextmanager
def fixed_statistics(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norm inside a `with` block, whatever mode the model is in."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, values in zip(norms, before):
            norm.momentum, norm.num_batches_tracked = values


def _grid_of(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
