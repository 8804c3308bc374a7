"""Make VOC-Animals from a PASCAL VOC 2012 folder: six classes, 2 651 + 280 images, long side 352.

python tools/dataset_converters/prepare_voc.py data/VOCdevkit --sbd data/benchmark_RELEASE
python tools/dataset_converters/make_voc_animals.py data/VOCdevkit/VOC2012 data/voc_animals
"""

import argparse
from pathlib import Path

from afa_mmseg.datasets.preparation.voc_animals import make_voc_animals
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('voc', type=Path, help='folder VOC2012, with SegmentationClassAug')
    parser.add_argument('out', type=Path, help='folder to write, such as data/voc_animals')
    parser.add_argument('--num-workers', type=int, help='processes; 0: only this one (default: one per CPU)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    print(make_voc_animals(**vars(parse_args())))


if __name__ == '__main__':
    run_command(main)
