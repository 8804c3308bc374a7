"""Dense CRF of one image."""

from _bench import Bench, make_parser, parse_args
from _inputs import make_prob, make_scene

from afa_mmseg.functional import crf


def main() -> None:
    """Time it."""
    parser = make_parser(__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(375, 500), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--classes', type=int, default=21)
    parser.add_argument('--iters', type=int, default=10)
    args = parse_args(parser)
    group = f'{args.size[0]}x{args.size[1]}x{args.classes}, {args.iters} iterations'
    bench = Bench('Dense CRF', args)
    image, scores = (x.to(args.device) for x in make_scene(1, tuple(args.size), args.classes))
    prob = make_prob(scores)
    bench.compare(group, {'dense_crf': lambda: crf.dense_crf(image, prob, args.iters)})
    bench.finish()


if __name__ == '__main__':
    main()
