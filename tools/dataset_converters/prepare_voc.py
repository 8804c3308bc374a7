"""Complete a PASCAL VOC 2012 folder for training from image-level labels.

python tools/dataset_converters/prepare_voc.py data/VOCdevkit --sbd data/benchmark_RELEASE
python tools/dataset_converters/prepare_voc.py data/VOCdevkit --aug-zip SegmentationClassAug.zip
python tools/dataset_converters/prepare_voc.py data/VOCdevkit      where SegmentationClassAug exists

Checks the folder and lists what is missing; writes SegmentationClassAug, train_aug.txt, cls_labels.json, and a report
on where XML and masks differ. Existing files are kept: after an interruption the same command resumes.
"""

import argparse

from afa_mmseg.datasets.preparation.voc import LABEL_SOURCES, prepare_voc
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='VOCdevkit, or VOCdevkit/VOC2012')
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument('--sbd', help="SBD's folder benchmark_RELEASE: masks are made from its .mat files")
    masks.add_argument('--aug-zip', help='zip of SegmentationClassAug: masks are taken from it')
    parser.add_argument(
        '--labels-from',
        choices=LABEL_SOURCES,
        default='xml',
        help='source of cls_labels.json; both are compared in any case (default: %(default)s)',
    )
    parser.add_argument('--num-workers', type=int, help='processes; 0: only this one (default: one for each CPU)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    written = prepare_voc(**vars(args))
    print(f'{args.folder}: {"ready" if written else "complete, nothing to do"}')


if __name__ == '__main__':
    run_command(main)
