"""The optimizers of a distillation: Muon for the weight matrices of the backbone, AdamW for all else."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: Of AdamW: averages of gradients, and its rate relative to Muon's.
BETAS, RATE = (0.9, 0.98), 1 / 3


class Optimizers:
    """Muon and AdamW under one learning rate.

    Muon's updates are scaled to the size of AdamW's. One comparison with AdamW alone: docs/results/distillation.md.

    Args:
        student: Module whose `backbone` has the matrices.
        weight_decay: Of weights; norms and biases have none.
    """

    def __init__(self, student: nn.Module, weight_decay: float) -> None:
        assert isinstance(student.backbone, nn.Module)
        self.matrices = [p for p in student.backbone.parameters() if p.requires_grad and is_matrix(p)]
        # Muon takes two dimensions alone, and the linear layers of a Mix Transformer's MLPs are 1x1 convolutions:
        # these are views of the same memory.
        self.views = [nn.Parameter(p.detach().view(len(p), -1)) for p in self.matrices]
        others = {id(p) for p in self.matrices}
        rest = [p for p in student.parameters() if p.requires_grad and id(p) not in others]
        self.muon = torch.optim.Muon(self.views, weight_decay=weight_decay, adjust_lr_fn='match_rms_adamw')
        self.adamw = torch.optim.AdamW(_groups(rest, weight_decay), betas=BETAS)

    def step(self, lr: float) -> None:
        """Update the parameters from their gradients, and delete these."""
        for view, parameter in zip(self.views, self.matrices):
            assert parameter.grad is not None
            view.grad, parameter.grad = parameter.grad.reshape(view.shape), None
        for optimizer, rate in ((self.muon, lr), (self.adamw, RATE * lr)):
            for group in optimizer.param_groups:
                group['lr'] = rate
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, dict]:
        """Return the states of both, as `load_state_dict` takes them."""
        return dict(muon=self.muon.state_dict(), adamw=self.adamw.state_dict())

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Load the states of both."""
        self.muon.load_state_dict(state['muon'])
        self.adamw.load_state_dict(state['adamw'])


def require_muon() -> None:
    """Raise a `ModuleNotFoundError` for PyTorch before 2.9, which brought Muon."""
    if not hasattr(torch.optim, 'Muon'):
        raise ModuleNotFoundError(
            f'distillation needs torch.optim.Muon, which PyTorch {torch.__version__} lacks: install 2.9 or newer'
        )


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter maps several inputs to several outputs: no depthwise convolution, no embedding."""
    return parameter.ndim > 1 and min(parameter.shape[:2]) > 1


def _groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    parameters = list(parameters)
    return [
        dict(params=[p for p in parameters if p.ndim > 1], weight_decay=weight_decay),
        dict(params=[p for p in parameters if p.ndim <= 1], weight_decay=0.0),
    ]
