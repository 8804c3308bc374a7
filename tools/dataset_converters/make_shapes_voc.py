"""Generate ShapesVOC, the embedded data set, as a PASCAL VOC folder."""

import argparse

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=f'{__doc__} A folder made with the same settings is left as it is; '
        'the same seed gives the same files on any machine.'
    )
    parser.add_argument('out_dir', help='folder to write, such as data/ShapesVOC')
    parser.add_argument('--num-train', type=int, default=500, help='training images (default: %(default)s)')
    parser.add_argument('--num-val', type=int, default=100, help='validation images (default: %(default)s)')
    parser.add_argument('--size', type=int, default=128, help='side in pixels (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    made = make_shapes_voc(**vars(args))
    print(f'ShapesVOC {"written to" if made else "exists already in"} {args.out_dir}')


if __name__ == '__main__':
    run_command(main)
