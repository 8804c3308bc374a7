"""Teachers: image classifiers of torchvision, timm or mmpretrain, with the map of features that they average."""

import hashlib
from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor, nn

from ...utils.checkpoints import read_state
from ...utils.checks import import_extra

IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Teacher(nn.Module):
    """Return the features of a classifier before its global average.

    The classifier must end in a global average and one linear layer, as ResNet, EfficientNet, MobileNet, RegNet and
    DenseNet do; a trial image checks it.

    Args:
        classifier: Module that maps images to logits.
        mean: Mean of its normalised RGB images in 0..1.
        std: Their standard deviation.
        name: For messages and for the recipe of what was distilled from it.

    Raises:
        ValueError: The classifier ends differently.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: nn.Module, mean: Sequence[float], std: Sequence[float], name: str = '') -> None:
        super().__init__()
        # Convolutions of a mobile network are 1.4 times as fast on a CPU with channels last.
        self.classifier: Any = classifier.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.name = name
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1))
        self.linear: Optional[nn.Linear] = None
        self._last_map: Optional[Tensor] = None
        for module in classifier.modules():
            if isinstance(module, nn.Linear):
                self.linear = module
            module.register_forward_hook(self._keep_map)
        if not self._averages_its_map():
            raise ValueError(
                f'teacher {name} does not end in a global average and one linear layer: choose a convolutional '
                'classifier such as timm/tf_efficientnet_lite2 or torchvision/resnet50'
            )

    @property
    def num_channels(self) -> int:
        """Channels of the map."""
        assert self.linear is not None
        return self.linear.in_features

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Return the map of features, on a GPU computed in float16.

        Shape:
            image (B, 3, H, W), RGB in 0..1; output (B, C, h, w), float32.
        """
        with torch.autocast('cuda', torch.float16, enabled=image.is_cuda):
            self.classifier(((image - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        features, self._last_map = self._last_map, None
        assert features is not None
        return features.float()

    @property
    def identity(self) -> dict[str, str]:
        """What distinguishes a teacher: its name and a digest of its last layer, which differs where weights do."""
        assert self.linear is not None
        weight = self.linear.weight.detach().cpu().numpy()
        return dict(teacher=self.name, digest=hashlib.sha256(weight.tobytes()).hexdigest()[:16])

    def _keep_map(self, module: nn.Module, args: tuple, output: object) -> None:
        """Keep the last map that has the channels of the linear layer and more than one cell."""
        if self.linear is None or not isinstance(output, Tensor) or output.ndim != 4:
            return
        if output.shape[1] == self.linear.in_features and output.shape[2:].numel() > 1:
            self._last_map = output

    @torch.no_grad()
    def _averages_its_map(self) -> bool:
        image = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        logits = self.classifier(image)
        if self.linear is None or self._last_map is None:
            return False
        expected = self.linear(self._last_map.mean(dim=(2, 3)))
        return expected.shape == logits.shape and torch.allclose(expected, logits, rtol=1e-3, atol=1e-3)


def build_teacher(name: str, weights: Optional[str] = None) -> Teacher:
    """Build a classifier by its name.

    Args:
        name: 'timm/NAME', 'torchvision/NAME' or 'mmpretrain/NAME'.
        weights: Checkpoint of the classifier; by default what the library downloads.

    Raises:
        ValueError: The name has another form, the weights do not fit, or see `Teacher`.
        ModuleNotFoundError: The library is not installed, or one that it needs.
    """
    library, _, model = name.partition('/')
    if library == 'timm':
        classifier, norm = _timm(model, pretrained=weights is None)
    elif library == 'torchvision':
        from torchvision.models import get_model

        classifier, norm = get_model(model, weights='DEFAULT' if weights is None else None), IMAGENET
    elif library == 'mmpretrain':
        classifier, norm = _mmpretrain(model, pretrained=weights is None)
    else:
        raise ValueError(f'teacher {name!r} must be timm/NAME, torchvision/NAME or mmpretrain/NAME')
    if weights is not None:
        try:
            classifier.load_state_dict(read_state(weights))
        except RuntimeError as error:
            raise ValueError(f'{weights} does not fit the teacher {name}: {str(error)[:500]}') from error
    return Teacher(classifier, norm['mean'], norm['std'], name)


def _timm(model: str, *, pretrained: bool) -> tuple[nn.Module, dict]:
    try:
        classifier = import_extra('timm', 'timm').create_model(model, pretrained=pretrained)
    except RuntimeError as error:  # an unknown name, or no network
        raise ValueError(f'teacher timm/{model}: {error}') from error
    config: Any = classifier.pretrained_cfg
    return classifier, {key: config[key] for key in ('mean', 'std')}


def _mmpretrain(model: str, *, pretrained: bool) -> tuple[nn.Module, dict]:
    try:
        from mmpretrain import get_model
        from mmpretrain.registry import MODELS

        MODELS.import_from_location()
    except (ImportError, TypeError) as error:  # TypeError: it defines subclasses of what it could not import
        raise ModuleNotFoundError(
            f'teacher mmpretrain/{model}: mmpretrain cannot be imported ({error}): pip install mmpretrain '
            "(or onedl-mmpretrain) 'transformers<5'"
        ) from error
    classifier = get_model(model, pretrained=pretrained)
    norm = classifier.data_preprocessor  # of pixel values
    return classifier, dict(mean=(norm.mean / 255).flatten().tolist(), std=(norm.std / 255).flatten().tolist())
