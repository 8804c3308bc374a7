"""Pixel-adaptive refinement (PAR) beside its plain formulation, which gathers all neighbours."""

from argparse import Namespace
from typing import Callable

import torch
from _bench import Bench, add_compile, make_parser, parse_args
from _inputs import make_scene, smooth_noise
from _plain import plain_par
from torch import Tensor

from afa_mmseg.functional import par
from afa_mmseg.functional.par import DILATIONS

#: Calls that are timed.
PAR, PLAIN, COMPILED, TRITON = 'par', 'plain', 'par, compiled', 'par, Triton'


def make_calls(image: Tensor, cam: Tensor, args: Namespace) -> dict[str, Callable[[], Tensor]]:
    """Make the calls to compare."""
    settings = (image, cam, tuple(args.dilations), args.iters)
    calls = {PAR: lambda: par(*settings, implementation='eager'), PLAIN: lambda: plain_par(*settings)}
    if args.device.type == 'cuda':
        calls[TRITON] = lambda: par(*settings, implementation='triton')
    if args.compile:
        compiled = torch.compile(par, dynamic=False, backend=args.compile)
        calls[COMPILED] = lambda: compiled(*settings)
    return calls


def parse() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--channels', type=int, nargs='+', default=[2, 3, 6])
    parser.add_argument('--dilations', type=int, nargs='+', default=DILATIONS)
    parser.add_argument('--iters', type=int, default=10)
    add_compile(parser, 'also run it')
    return parse_args(parser)


def main() -> None:
    """Compare them for each number of channels."""
    args = parse()
    size = tuple(args.size)
    bench = Bench(f'PAR {args.batch}x3x{size[0]}x{size[1]}, {args.iters} iterations', args)
    image = make_scene(args.batch, size)[0].to(args.device) / 255
    generator = torch.Generator().manual_seed(0)
    for channels in args.channels:
        cam = smooth_noise(args.batch, channels, size, 32, generator).sigmoid().to(args.device)
        calls, group = make_calls(image, cam, args), f'{channels} channels'
        if args.compile:
            bench.time_compilation(group, calls[COMPILED])
        bench.compare(group, calls, baseline=PLAIN)
        if not bench.is_child:
            plain = calls.pop(PLAIN)()
            difference = max(float((call() - plain).abs().max()) for call in calls.values())
            bench.fact(f'largest difference, {group}', difference)
    bench.finish()


if __name__ == '__main__':
    main()
