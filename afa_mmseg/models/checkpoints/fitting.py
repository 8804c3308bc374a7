"""Strict loading of weights into a network; mmengine only warns of those that are missing or have another shape."""

from collections.abc import Mapping

from torch import Tensor, nn

from ...utils.checks import first_few
from .layouts import WRAPPER

#: Layer of mmseg's heads with an output for each class.
CLASS_LAYER = 'decode_head.conv_seg.weight'


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a network; all of them must be there and fit.

    Parts that the network lacks, such as an auxiliary head, are ignored; so is a missing
    `num_batches_tracked`, which old checkpoints lack.

    Args:
        model: Without wrappers of distributed training or of test-time augmentation.
        state: With or without the prefix of distributed training.

    Raises:
        ValueError: They are those of another network, or of another number of classes.
    """
    state = {str(key).removeprefix(WRAPPER): value for key, value in state.items()}
    own = model.state_dict()
    if CLASS_LAYER in own and CLASS_LAYER in state and own[CLASS_LAYER].shape[:1] != state[CLASS_LAYER].shape[:1]:
        theirs, ours = (weights[CLASS_LAYER].shape[:1].numel() for weights in (state, own))
        raise ValueError(
            f'the checkpoint has {theirs} classes, the config {ours} (model.decode_head.num_classes): '
            'use the config that it was trained with'
        )
    faults = _load(model, state)
    faults['lacks'] = [key for key in faults['lacks'] if not key.endswith('num_batches_tracked')]
    parts = {name for name, _ in model.named_children()}
    if faults['lacks'] or faults['reshapes'] or any(key.split('.')[0] in parts for key in faults['adds']):
        listed = '; '.join(f'it {what} {first_few(keys)}' for what, keys in faults.items() if keys)
        raise ValueError(f'the checkpoint is not one of this config: {listed}; use the config that it was trained with')


def _load(model: nn.Module, state: dict[str, Tensor]) -> dict[str, list[str]]:
    """Load what fits, and list what does not: modules may know older names and sizes of their weights."""
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
        return dict(lacks=missing, adds=unexpected, reshapes=[])
    except RuntimeError as error:  # of shapes; it does not name missing keys
        own = model.state_dict()
        faults = dict(
            lacks=[key for key in own if key not in state],
            adds=[key for key in state if key not in own],
            reshapes=[key for key in own if key in state and own[key].shape != state[key].shape],
        )
        if not any(faults.values()):
            raise ValueError(f'the checkpoint cannot be loaded: {" ".join(str(error).split())}') from error
        return faults
