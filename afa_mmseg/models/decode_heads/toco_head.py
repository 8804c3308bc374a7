"""Head of ToCo: LargeFOV segmentation, two classifiers and projected class tokens."""

import copy
from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

#: Dilation of LargeFOV's convolutions (Chen et al., ICLR 2015, as ToCo has it).
DILATION = 5


class ClassTokenProjector(nn.Module):
    """Three linear layers, and a last one between vectors of length 1 (Caron et al., ICCV 2021).

    Args:
        in_channels: Width of the class token.
        hidden: Width of the hidden layers.
        bottleneck: Width of the vector that is brought to length 1.
        out_channels: Width of the result.

    Shape:
        Input (..., in_channels); output (..., out_channels) in [-1, 1].
    """

    def __init__(self, in_channels: int, hidden: int = 2048, bottleneck: int = 256, out_channels: int = 1024) -> None:
        super().__init__()
        layers = [nn.Linear(*widths) for widths in ((in_channels, hidden), (hidden, hidden), (hidden, bottleneck))]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.mlp = nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])
        self.last_layer = nn.Linear(bottleneck, out_channels, bias=False)

    def forward(self, token: Tensor) -> Tensor:
        """Project class tokens."""
        return F.linear(F.normalize(self.mlp(token), dim=-1), F.normalize(self.last_layer.weight, dim=1))


@MODELS.register_module()
class ToCoHead(BaseDecodeHead):
    """Segmentation, classification on two layers and projected class tokens (Ru et al., CVPR 2023).

    Args:
        in_channels: Channels of the feature maps: of an intermediate layer, and of the last one.
        channels: Width of LargeFOV.
        num_classes: Classes with background, as in mmseg.
        projector: Settings of `ClassTokenProjector` (`hidden`, `bottleneck`, `out_channels`).
        momentum: How much of the averaged projector stays in each update.
        loss_cls: Loss on image logits (B, C) and labels (B, C).
        loss_aux: The same for the intermediate layer; None trains no such classifier.
        loss_ptc: Loss on the last feature map (B, D, h, w) and labels of its cells (B, h, w), or None.
        loss_ctc: Loss on projected tokens of student and teacher and flags of views, or None.
        loss_decode: Loss on segmentation logits (B, C + 1, H, W) and labels (B, H, W).
        loss_energy: Regularised loss on segmentation logits, image, labels and boxes (`DenseEnergyLoss`), or None.
        kwargs: Passed to mmseg's `BaseDecodeHead`.

    Raises:
        ValueError: `momentum` is not in [0, 1].
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 512,
        *,
        num_classes: int,
        projector: Optional[dict] = None,
        momentum: float = 0.9,
        loss_cls: Optional[dict] = None,
        loss_aux: Optional[dict] = None,
        loss_ptc: Optional[dict] = None,
        loss_ctc: Optional[dict] = None,
        loss_decode: Optional[dict] = None,
        loss_energy: Optional[dict] = None,
        in_index: Sequence[int] = (0, 1),
        init_cfg: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum={momentum} of ToCoHead must be between 0 and 1, such as 0.9')
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            out_channels=num_classes,
            in_index=in_index,
            input_transform='multiple_select',
            dropout_ratio=0,
            loss_decode=loss_decode or dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
            init_cfg=init_cfg,
            **kwargs,
        )
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))
        losses = dict(loss_aux=loss_aux, loss_ptc=loss_ptc, loss_ctc=loss_ctc, loss_energy=loss_energy)
        for name, config in losses.items():
            setattr(self, name, MODELS.build(config) if config is not None else None)
        aux, last = self.in_channels
        self._build_layers(aux, last, dict(projector or {}))
        self.momentum = momentum

    def _build_layers(self, aux: int, last: int, projector: dict) -> None:
        dilated: dict[str, Any] = dict(kernel_size=3, padding=DILATION, dilation=DILATION, bias=False)
        self.conv6 = nn.Conv2d(last, self.channels, **dilated)
        self.conv7 = nn.Conv2d(self.channels, self.channels, **dilated)
        self.conv_seg = nn.Conv2d(self.channels, self.num_classes, kernel_size=1, bias=False)
        self.classifier = nn.Conv2d(last, self.num_foreground, kernel_size=1, bias=False)
        if self.loss_aux is not None:
            self.aux_classifier = nn.Conv2d(aux, self.num_foreground, kernel_size=1, bias=False)
        if self.loss_ctc is not None:
            self.projector = ClassTokenProjector(last, **projector)
            self.averaged_projector = copy.deepcopy(self.projector).requires_grad_(False)

    @property
    def num_foreground(self) -> int:
        """Number of classes without background."""
        return self.num_classes - 1

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return segmentation logits on the grid of the last feature map: LargeFOV.

        Shape:
            inputs two maps (B, D, h, w); output (B, num_classes, h, w).
        """
        x = self._transform_inputs(inputs)[-1]
        return self.cls_seg(self.conv7(self.conv6(x).relu()).relu())

    def image_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify the images by the last feature map; output (B, C), float32."""
        return _image_logits(self.classifier, inputs[self.in_index[-1]])

    def aux_image_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify the images by the intermediate feature map; output (B, C), float32."""
        return _image_logits(self.aux_classifier, inputs[self.in_index[0]])

    def cam_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Apply the classifiers to every cell, in float32 and without gradient.

        Shape:
            inputs two maps (B, D, h, w); output (B, n C, h, w), of the last layer's classifier first.
        """
        pairs = [(self.classifier, inputs[self.in_index[-1]])]
        if self.loss_aux is not None:
            pairs.append((self.aux_classifier, inputs[self.in_index[0]]))
        with torch.no_grad(), torch.autocast(inputs[0].device.type, enabled=False):
            return torch.cat([F.conv2d(x.float(), layer.weight.float()) for layer, x in pairs], dim=1)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged projector towards the projector."""
        for averaged, own in zip(self.averaged_projector.parameters(), self.projector.parameters()):
            averaged.lerp_(own, 1 - self.momentum)

    def zero_losses(self, *names: str) -> dict[str, Tensor]:
        """Return losses of 0 that reach every parameter that the losses of these names train; none for a loss left out.

        A zero gradient is not none: weight decay acts and AdamW's bias correction advances, as in the published
        run's first phase, and distributed training finds every parameter used.

        Args:
            names: Of `loss_ptc`, `loss_ctc`, `loss_seg`, `loss_energy`.
        """
        layers: dict[str, list[nn.Module]] = {}
        layers['loss_seg'] = layers['loss_energy'] = [self.conv6, self.conv7, self.conv_seg]
        layers['loss_ctc'] = [self.projector] if self.loss_ctc is not None else []
        layers['loss_ptc'] = []
        present = [name for name in names if name == 'loss_seg' or getattr(self, name) is not None]
        return {
            name: sum((0 * p.sum() for m in layers[name] for p in m.parameters()), self.classifier.weight.new_zeros(()))
            for name in present
        }


def _image_logits(classifier: nn.Conv2d, features: Tensor) -> Tensor:
    """Classify by the maxima of a feature map (B, D, h, w); output (B, C), in float32 also in mixed precision."""
    features = F.adaptive_max_pool2d(features, 1)
    with torch.autocast(features.device.type, enabled=False):
        return classifier(features.to(classifier.weight.dtype)).flatten(1)
