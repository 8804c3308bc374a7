"""Segment your own pictures, and see how the network came to it.

python tools/infer.py CONFIG CHECKPOINT photos/ --out results/
python tools/infer.py CONFIG CHECKPOINT 'photos/**/*.jpg' --out results/ --classes cat,dog --what cam,pseudo

Writes to DIR: panel/NAME.jpg, everything side by side with a legend; overlay/WHAT/NAME.jpg, each painted over the
picture; mask/WHAT/NAME.png, class indices with a palette. Folders are searched with their subfolders, whose names stay.
Pictures that cannot be read are left out and listed at the end; the exit status is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.picture_results import FOLDERS, Outcome, Request, infer_pictures
from afa_mmseg.apis.pictures import find_pictures
from afa_mmseg.apis.views import CAPTIONS
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that config')
    parser.add_argument('pictures', metavar='PICTURES', nargs='+', help='files, folders, or patterns in quotes')
    parser.add_argument('--out', metavar='DIR', type=Path, required=True, help='folder to write to')
    parser.add_argument(
        '--classes', type=names, help='what all the pictures hold: cat,dog (default: the classifier decides for each)'
    )
    parser.add_argument(
        '--what', type=names, default=list(CAPTIONS), help=f'some of {",".join(CAPTIONS)} (default: all of them)'
    )
    parser.add_argument('--npz', action='store_true', help='also write scores/NAME.npz')
    parser.add_argument(
        '--side', type=int, default=1024, help='longer side at which pictures enter the network (default: %(default)s)'
    )
    parser.add_argument('--tta', action='store_true', help="segment at several scales: the config's tta_model")
    parser.add_argument('--crf', action='store_true', help='sharpen the segmentation with a CRF')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU, if there is one)')
    return parser.parse_args()


def names(text: str) -> list[str]:
    """Split a list at its commas."""
    return [name.strip() for name in text.split(',') if name.strip()]


def main() -> int:
    """Run the command."""
    args = parse_args()
    pictures = find_pictures(args.pictures, without=[args.out / name for name in FOLDERS])
    inferencer = WeakSegInferencer(
        args.config, args.checkpoint, device=args.device, show_progress=False, tta=args.tta, crf=args.crf
    )
    request = Request(args.what, args.classes, args.side, args.npz)
    outcomes = infer_pictures(inferencer, pictures, args.out, request)
    return report(outcomes, args.out)


def report(outcomes: Sequence[Outcome], out: Path) -> int:
    """Say what was done; 1 if a picture is left out."""
    failed = [outcome for outcome in outcomes if outcome.error]
    print(f'{len(outcomes) - len(failed)} of {len(outcomes)} pictures are done: {out}')
    empty = [outcome.picture.name for outcome in outcomes if outcome.num_classes == 0]
    if empty:
        print(f'The classifier sees none of its classes in {len(empty)}, such as {empty[0]}: name them by --classes.')
    if failed:
        print(f'{len(failed)} left out:', file=sys.stderr)
        for outcome in failed:
            print(f'  {outcome.picture.path}: {outcome.error.splitlines()[0]}', file=sys.stderr)
    return int(bool(failed))


if __name__ == '__main__':
    run_command(main, if_interrupted='what is written stays, the same command begins anew')
