"""Pixel-adaptive refinement (PAR) beside its plain formulation, which gathers all neighbours."""

import torch
import torch.nn.functional as F
from _bench import Bench, make_parser, parse_args
from _inputs import make_scene, smooth_noise
from torch import Tensor

from afa_mmseg.functional import par
from afa_mmseg.functional.neighbours import WINDOW
from afa_mmseg.functional.par import DILATIONS, EPS, distance_weights


def gather_neighbours(x: Tensor) -> Tensor:
    """Copy each pixel's neighbours; (B, C, H, W) -> (B, C, K, H, W)."""
    height, width = x.shape[-2:]
    shifted = []
    for d in DILATIONS:
        padded = F.pad(x, (d, d, d, d), mode='replicate')
        for dy, dx in WINDOW:
            top, left = d + d * dy, d + d * dx
            shifted.append(padded[..., top : top + height, left : left + width])
    return torch.stack(shifted, dim=2)


def plain_par(image: Tensor, cam: Tensor, num_iters: int) -> Tensor:
    """Refine as the formula reads: weights times neighbours, summed; image and CAM of one size."""
    near = gather_neighbours(image)
    deviation = near.std(dim=2, keepdim=True)
    distance = (near - image[:, :, None]).abs() / (deviation + EPS) / 0.3
    colour = (-(distance**2)).mean(dim=1).softmax(dim=1)
    weights = (colour + 0.01 * distance_weights(DILATIONS, 0.3).to(colour))[:, None]  # (B, 1, K, H, W)
    for _ in range(num_iters):
        cam = (gather_neighbours(cam) * weights).sum(dim=2)
    return cam


def main() -> None:
    """Compare the two for each number of channels."""
    parser = make_parser(__doc__)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--channels', type=int, nargs='+', default=[2, 3, 6])
    parser.add_argument('--iters', type=int, default=10)
    args = parse_args(parser)
    size = tuple(args.size)
    bench = Bench(f'PAR {args.batch}x3x{size[0]}x{size[1]}, {args.iters} iterations', args)
    image = make_scene(args.batch, size)[0].to(args.device) / 255
    generator = torch.Generator().manual_seed(0)
    for channels in args.channels:
        cam = smooth_noise(args.batch, channels, size, 32, generator).sigmoid().to(args.device)
        calls = {
            'par': lambda cam=cam: par(image, cam, num_iters=args.iters),
            'plain': lambda cam=cam: plain_par(image, cam, args.iters),
        }
        group = f'{channels} channels'
        bench.compare(group, calls, baseline='plain')
        if not bench.is_child:
            bench.fact(f'largest difference, {group}', float((calls['par']() - calls['plain']()).abs().max()))
    bench.finish()


if __name__ == '__main__':
    main()
