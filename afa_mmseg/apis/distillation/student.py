"""The student of a distillation: a backbone, its losses, and how it is initialised."""

import re
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmseg.models.backbones.mit import MixFFN
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.checkpoints import read_state
from .components import Components
from .recipe import Recipe

#: Normalisation of our configs for Mix Transformers (RGB, pixel values).
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Student(nn.Module):
    """A backbone with a linear projection of its last map, and of its class token, to the teacher's components.

    Args:
        backbone: The backbone.
        channels: Of its last map.
        components: Of the teacher.
        num_classes: Number of tags that a linear layer on the mean of the map predicts.
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, backbone: nn.Module, channels: int, components: Components, num_classes: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Conv2d(channels, len(components.spread), kernel_size=1)
        self.classifier = nn.Linear(channels, num_classes) if num_classes else None
        self.register_buffer('mean', torch.tensor(MEAN).view(3, 1, 1) / 255)
        self.register_buffer('std', torch.tensor(STD).view(3, 1, 1) / 255)
        self.register_buffer('component_weight', components.spread / components.spread.mean())
        self.register_buffer('weight', components.weight)
        self.register_buffer('bias', components.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the last map of images in 0..1, and the class token where there is one.

        Shape:
            image (B, 3, H, W); output (B, C, h, w) and (B, C, 1, 1).
        """
        x = (image - self.mean) / self.std
        forward_with_tokens: Any = getattr(self.backbone, 'forward_with_tokens', None)
        if forward_with_tokens is None:
            return [self.backbone(x)[-1]]
        tokens = forward_with_tokens(x)
        return [tokens.maps[-1], tokens.class_token[..., None, None]]

    def losses(self, images: Tensor, targets: Tensor, tags: Tensor, recipe: Recipe) -> dict[str, Tensor]:
        """Compare with the teacher: weighted squared error of the maps, divergence of the logits of their means.

        `contrast` is the standard deviation of the student's mean outputs over the crops, relative to the teacher's:
        0 is one output for all.

        Shape:
            images (B, 3, H, W) in 0..1; targets (B, K, h, w), the teacher's components; tags (B, classes).
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.amp):
            features = [x.float() for x in self(images)]
        predicted = [self.projection(x) for x in features]
        targets = F.interpolate(targets, size=predicted[0].shape[2:], mode='bilinear')

        error = (predicted[0] - targets).square().mean(dim=(0, 2, 3))
        teacher, *students = (
            F.log_softmax(F.linear(x.mean(dim=(2, 3)), self.weight, self.bias), dim=1) for x in (targets, *predicted)
        )
        divergences = [F.kl_div(x, teacher, reduction='batchmean', log_target=True) for x in students]
        losses = dict(features=(error * self.component_weight).mean(), divergence=torch.stack(divergences).mean())
        loss = losses['features'] + recipe.logit_weight * losses['divergence']
        if self.classifier is not None:
            losses['tags'] = tag_loss(self.classifier(features[0].mean(dim=(2, 3))), tags)
            loss = loss + recipe.tag_weight * losses['tags']
        agreement = (students[-1].argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        answers, wanted = (x.detach().mean(dim=(2, 3)).var(dim=0).sum() for x in (predicted[0], targets))
        return dict(loss=loss, **losses, agreement=agreement, contrast=(answers / wanted).sqrt())


def tag_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Return the binary cross-entropy of the images that have tags, 0 if none has; the others' are nan.

    Example:
        >>> tag_loss(torch.zeros(2, 1), torch.tensor([[1.0], [torch.nan]]))
        tensor(0.6931)
    """
    known = ~tags.isnan()
    loss = F.binary_cross_entropy_with_logits(logits, tags.nan_to_num(), reduction='none')
    return (loss * known).sum() / known.sum().clamp(min=1)


def build_backbone(arch: Any, weights: Optional[str] = None) -> nn.Module:
    """Build a backbone, initialised or with given weights; its last output is the map that is distilled.

    Args:
        arch: 'b0' to 'b5', or a dict with a number of layers for each stage: an `AttnMixVisionTransformer`. Another
            preset, or a dict with one number of layers: an `AttnVisionTransformer`.
        weights: `backbone.pth` of a distillation, or another file with all weights of the backbone; None: random ones.

    Raises:
        ValueError: The weights are of another backbone.
    """
    mixed = re.fullmatch(r'b\d+', arch) if isinstance(arch, str) else not isinstance(arch['num_layers'], int)
    plain = dict(type='AttnVisionTransformer', out_indices=(-1,), freeze_pos_embed=False)
    settings = dict(type='AttnMixVisionTransformer', drop_path_rate=0.0) if mixed else plain
    backbone = MODELS.build(dict(settings, arch=arch))
    backbone.init_weights()
    if weights is not None:
        try:
            backbone.load_state_dict(read_state(weights))
        except RuntimeError as error:
            raise ValueError(f'{weights} does not fit the backbone {arch!r}: {str(error)[:500]}') from error
    return backbone


def build_student(arch: Any, components: Components, recipe: Recipe, num_tags: int = 0) -> Student:
    """Build the backbone that `build_backbone` describes, initialised by the recipe's seed, as a student."""
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(arch, recipe.weights)
    if recipe.weights is None:
        _narrow_mlps(backbone)
    with torch.no_grad():
        channels = backbone.eval()(torch.zeros(1, 3, 64, 64))[-1].shape[1]
    return Student(backbone, channels, components, num_tags).train()


def _narrow_mlps(backbone: nn.Module) -> None:
    """Draw the linear layers of a Mix Transformer's MLPs as all its others are drawn; mmseg's draw is for convolutions.

    With mmseg's the gradients are twice as large, and 400 steps learnt a little less (docs/results/distillation.md).
    """
    for block in (module for module in backbone.modules() if isinstance(module, MixFFN)):
        for layer in block.layers:
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.trunc_normal_(layer.weight, std=0.02)
