"""Publish a training checkpoint: weights, classes and config, without what only training needs.

python tools/publish_model.py work_dirs/afa_mit-b1_voc/iter_18000.pth published/     # afa_mit-b1_voc_DATE-1a2b3c4d.pth
python tools/publish_model.py work_dirs/afa_mit-b1_voc/iter_18000.pth afa_b1.pth     # afa_b1-1a2b3c4d.pth
"""

import argparse

from afa_mmseg.models.checkpoints import publish
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='The config in the file is its text, with the paths that were trained with.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='.pth of a training run')
    parser.add_argument(
        'out',
        metavar='OUT',
        help='folder, where the file is named after the experiment, or a name that ends in .pth; '
        'eight digits of the SHA-256 of the file are added',
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    published = publish(args.checkpoint, args.out)
    print(
        'weights: the moving average of training (EMA), which validation used'
        if published.is_averaged
        else 'weights: state_dict, which validation used'
    )
    print(f'left out: {", ".join(published.left_out) or "nothing"}')
    print(f'{args.checkpoint}: {published.bytes_before / 1e6:.1f} MB')
    print(f'{published.path}: {published.bytes_after / 1e6:.1f} MB{"" if published.is_new else ", was there already"}')


if __name__ == '__main__':
    run_command(main)
