"""The regularised loss beside a training step without it: MiT-B1 in its last phase, random weights, no optimiser."""

from typing import Any

import torch
from _bench import Bench, Case, make_parser, parse_args
from _inputs import build_segmentor, make_batch, make_prob, make_scene
from torch import Tensor, nn

from afa_mmseg.functional.dense_energy import dense_energy_loss


def make_loss_inputs(batch: int, crop: int, num_classes: int, device: torch.device) -> dict[str, Tensor]:
    """Make what the loss gets in training: logits, images, and labels with a fifth undecided."""
    image, scores = make_scene(batch, (crop, crop), num_classes)
    prob = make_prob(scores)
    certainty, label = prob.max(dim=1)
    label[certainty < certainty.flatten().kthvalue(max(certainty.numel() // 5, 1)).values] = 255
    inputs = dict(logits=prob.log().requires_grad_(), image=image, label=label)
    return {name: x.detach().to(device).requires_grad_(x.requires_grad) for name, x in inputs.items()}


def training_step(model: nn.Module, batch: dict[str, Any]) -> None:
    """Run the network, make the pseudo-labels, compute the losses and go back through the network."""
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()


def main() -> None:
    """Time the loss, forward and backward, and the step that it is added to."""
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument('--config', default='configs/afa/afa_mit-b1_voc.py', help='of the segmentor')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--crop', type=int, default=512)
    args = parse_args(parser)
    model = build_segmentor(args.config, args.device)
    batch = make_batch(model, args.batch, args.crop)
    inputs = make_loss_inputs(args.batch, args.crop, model.decode_head.num_classes, args.device)

    def forward() -> Tensor:
        return dense_energy_loss(**inputs)

    def backward(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, inputs['logits'])[0]

    group = f'crop {args.crop}, batch {args.batch}'
    bench = Bench('Dense energy loss beside a training step', args)
    bench.compare(
        group,
        {
            'training step': Case(lambda _: training_step(model, batch), prepare=model.zero_grad),
            'energy loss': lambda: backward(forward()),
            'energy loss, forward': forward,
            'energy loss, backward': Case(backward, prepare=forward),
        },
        baseline='training step',
    )
    if not bench.is_child:
        bench.fact('share of the step without it', f'{100 * bench.ratio(group, "energy loss"):.1f} %')
    bench.finish()


if __name__ == '__main__':
    main()
