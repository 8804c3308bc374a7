"""Prepare COCO 2014 for image-level training: masks, image-level labels and lists from the official folders.

python tools/dataset_converters/prepare_coco.py data/coco2014

COCO_ROOT holds train2014/, val2014/ and annotations/instances_{train,val}2014.json. Written beside them:
SegmentationClass/{train,val}2014/*.png, labels_{train,val}2014.json and ImageSets/{train,val}2014.txt.
What is there already is kept, so the same command resumes after an interruption.
"""

import argparse

from afa_mmseg.datasets.preparation.coco import CROWD_RULES, SPLITS, UNANNOTATED_RULES, prepare_coco
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', metavar='COCO_ROOT', help='such as data/coco2014')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS, help='default: both')
    parser.add_argument(
        '--crowd',
        choices=CROWD_RULES,
        default='class',
        help='regions that outline a group: pixels and label of their class; ignored pixels (255) and label of their '
        'class; or left out (default: %(default)s)',
    )
    parser.add_argument(
        '--unannotated',
        choices=UNANNOTATED_RULES,
        default='drop',
        help='leave images without annotation out of the lists, as the published ones do, or keep them '
        '(default: %(default)s)',
    )
    parser.add_argument('--num-workers', type=int, help='processes; 0: only this one (default: one for each CPU)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    written = prepare_coco(**vars(args))
    print(f'{args.root}: {"ready" if written else "complete, nothing to do"}')


if __name__ == '__main__':
    run_command(main)
