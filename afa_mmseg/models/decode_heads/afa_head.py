"""SegFormer's MLP head with a classifier and an affinity projection beside it."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional.near_walk import AffinityFactors
from ..backbones import Attention

POOLS: dict[str, Callable[..., Tensor]] = {'max': F.adaptive_max_pool2d, 'avg': F.adaptive_avg_pool2d}


@MODELS.register_module()
class AFAHead(BaseDecodeHead):
    """Segmentation, classification, CAM and affinity from one set of features (Ru et al., CVPR 2022).

    The segmentation part is the MLP head of SegFormer's own network: plain linear projections, fused
    with the last stage first. It differs from mmseg's `SegformerHead`, which cannot load its weights.

    Args:
        in_channels: Channels of the backbone's four stages.
        channels: Width of the MLP head.
        num_classes: Classes with background, as in mmseg.
        num_attention_heads: Attention maps that the affinity is made from: heads times blocks.
        pool: Global pooling in front of the classifier, 'max' or 'avg'.
        loss_cls: Loss on image logits (B, C) and labels (B, C).
        loss_affinity: Loss on affinities and pair targets, both (B, hw, hw).
        loss_decode: Loss on segmentation logits (B, C + 1, H, W) and labels (B, H, W).
        loss_energy: Regularised loss on segmentation logits, image, labels and boxes (`DenseEnergyLoss`), or None.
        kwargs: Passed to mmseg's `BaseDecodeHead` (`norm_cfg`, `dropout_ratio`, `align_corners`, ...).

    Raises:
        ValueError: `pool` is unknown.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        num_classes: int,
        num_attention_heads: int = 16,
        pool: str = 'max',
        loss_cls: Optional[dict] = None,
        loss_affinity: Optional[dict] = None,
        loss_decode: Optional[dict] = None,
        loss_energy: Optional[dict] = None,
        in_index: Sequence[int] = (0, 1, 2, 3),
        init_cfg: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        if pool not in POOLS:
            raise ValueError(f"pool='{pool}' of AFAHead is unknown: choose from {', '.join(POOLS)}")
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            out_channels=num_classes,
            in_index=in_index,
            input_transform='multiple_select',
            loss_decode=loss_decode or dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
            init_cfg=init_cfg,
            **kwargs,
        )
        self.pool = pool
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))
        self.loss_affinity = MODELS.build(loss_affinity or dict(type='AffinityLoss', loss_weight=0.1))
        self.loss_energy = MODELS.build(loss_energy) if loss_energy is not None else None
        self._build_layers(num_attention_heads)

    def _build_layers(self, num_attention_heads: int) -> None:
        self.projections = nn.ModuleList(nn.Conv2d(width, self.channels, kernel_size=1) for width in self.in_channels)
        self.fusion_conv = ConvModule(
            self.channels * len(self.in_channels),
            self.channels,
            kernel_size=1,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            bias=False,
        )
        self.classifier = nn.Conv2d(self.in_channels[-1], self.num_foreground, kernel_size=1, bias=False)
        self.affinity_proj = nn.Conv2d(num_attention_heads, 1, kernel_size=1)

    @property
    def num_foreground(self) -> int:
        """Number of classes without background."""
        return self.num_classes - 1

    def init_weights(self) -> None:
        """Initialise the affinity projection's weight by kaiming normal; all else keeps PyTorch's own scheme."""
        super().init_weights()
        nn.init.kaiming_normal_(self.affinity_proj.weight, a=5**0.5, mode='fan_out')

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return segmentation logits on the grid of the first stage.

        Shape:
            inputs four maps (B, C_i, H_i, W_i); output (B, num_classes, H_1, W_1).
        """
        inputs = self._transform_inputs(inputs)
        size = inputs[0].shape[2:]
        maps = [
            resize(project(x), size=size, mode='bilinear', align_corners=self.align_corners)
            for project, x in zip(self.projections, inputs)
        ]
        return self.cls_seg(self.fusion_conv(torch.cat(maps[::-1], dim=1)))

    def image_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify the images; output (B, C), in float32 also in mixed precision, where large scores are infinite."""
        features = POOLS[self.pool](inputs[self.in_index[-1]], 1)
        with torch.autocast(features.device.type, enabled=False):
            return self.classifier(features.to(self.classifier.weight.dtype)).flatten(1)

    def cam_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Apply the classifier to every cell of the last stage; output (B, C, h, w), float32, without gradient.

        Mixed precision stops here: pseudo-labels are made in float32.
        """
        features = inputs[self.in_index[-1]].detach()
        with torch.autocast(features.device.type, enabled=False):
            return F.conv2d(features.float(), self.classifier.weight.detach().float())

    def affinity(self, attentions: Sequence[Attention]) -> Tensor:
        """Compute the affinity of all pairs of cells from attention; see `affinity_factors`.

        Shape:
            attentions with query, key (B, heads, N, d); output (B, N, N) in [0, 1], symmetric.
        """
        return self.affinity_factors(attentions).dense()

    def affinity_factors(self, attentions: Sequence[Attention]) -> AffinityFactors:
        """Return the affinity as factors.

        It is a 1x1 convolution over X + X^T of all heads' logits X, with a sigmoid. The projection being
        linear, it is put into the queries, and one product of all heads returns the single map that is
        needed: memory and time of one head instead of sixteen.

        Shape:
            attentions with query, key (B, heads, N, d); output with query, key (B, N, heads d).

        Raises:
            ValueError: There is no attention, or the number of heads is not `num_attention_heads`.
        """
        if not attentions:
            raise ValueError('the backbone returns no attention: num_blocks of AttentionBackbone must be at least 1')
        query = torch.cat([attention.query for attention in attentions], dim=1)  # (B, heads, N, d)
        key = torch.cat([attention.key for attention in attentions], dim=1)
        if query.shape[1] != self.affinity_proj.in_channels:
            raise ValueError(
                f'AFAHead was built for num_attention_heads={self.affinity_proj.in_channels}, the backbone returns '
                f'{query.shape[1]}: set num_attention_heads to heads of the last stage x num_attentions'
            )
        weight, bias = self.affinity_proj.weight.view(-1, 1, 1), self.affinity_proj.bias
        assert bias is not None
        query, key = query * weight, key.to(weight.dtype)  # mixed precision ends here
        return AffinityFactors(query.transpose(1, 2).flatten(2), key.transpose(1, 2).flatten(2), bias)

    def zero_losses(self) -> dict[str, Tensor]:
        """Return losses of 0 that reach every parameter of segmentation and affinity.

        A zero gradient is not none: weight decay acts and AdamW's bias correction advances, as in the
        published run's first phase, and distributed training finds every parameter used.
        """
        segmentation = [*self.projections.parameters(), *self.fusion_conv.parameters(), *self.conv_seg.parameters()]
        groups = dict(loss_affinity=[*self.affinity_proj.parameters()], loss_seg=segmentation)
        if self.loss_energy is not None:
            groups['loss_energy'] = segmentation
        return {name: sum(0 * parameter.sum() for parameter in group) for name, group in groups.items()}
