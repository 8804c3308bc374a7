"""The random walk along the affinity of the largest CAM scale: over all pairs of cells, and by bands of near ones."""

import torch
from _bench import Bench, make_parser, parse_args

from afa_mmseg.functional.affinity import radius_mask, random_walk, transition_matrix
from afa_mmseg.functional.near_walk import AffinityFactors, bands_pay, walk_by_bands

#: Image pixels that a cell stands for, and the largest of the CAM scales.
STRIDE, SCALE = 16, 1.5


def main() -> None:
    """Compare the two for each crop."""
    parser = make_parser(__doc__)
    parser.add_argument('--crops', type=int, nargs='+', default=[224, 320, 512])
    parser.add_argument('--radius', type=int, default=8, help='in cells (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--channels', type=int, default=6, help='two background scores with two classes each have 6')
    parser.add_argument('--depth', type=int, default=1024, help='heads x blocks x channels of a head')
    args = parse_args(parser)
    bench = Bench('Random walk along an affinity given by its factors', args)
    for crop in args.crops:
        side = int(crop * SCALE) // STRIDE
        generator = torch.Generator().manual_seed(0)
        query, key = 0.1 * torch.randn(2, args.batch, side * side, args.depth, generator=generator).to(args.device)
        affinity = AffinityFactors(query, key, torch.zeros(1, device=args.device))
        scores = torch.rand(args.batch, args.channels, side, side, generator=generator).to(args.device)
        mask = radius_mask(side, side, args.radius).to(args.device)
        calls = {
            'by bands': lambda s=scores, a=affinity: walk_by_bands(s, a, args.radius),
            'all pairs': lambda s=scores, a=affinity, m=mask: random_walk(s, transition_matrix(a.dense(), m)),
        }
        group = f'crop {crop}, grid {side} x {side}'
        bench.compare(group, calls, baseline='all pairs')
        if not bench.is_child:
            bench.fact(f'largest difference, {group}', float((calls['by bands']() - calls['all pairs']()).abs().max()))
            chosen = 'by bands' if bands_pay((side, side), args.radius, args.device) else 'all pairs'
            bench.fact(f'what training takes, {group}', chosen)
            bench.fact(f'pairs within the radius, {group}', f'{100 * float(mask.float().mean()):.0f} %')
    bench.finish()


if __name__ == '__main__':
    main()
