"""Segment images, and show CAMs and pseudo-labels.

python tools/infer.py CONFIG CHECKPOINT photos/ --out results/
python tools/infer.py CONFIG CHECKPOINT 'photos/**/*.jpg' --out results/ --classes cat,dog --what cam,pseudo

Writes to DIR: panel/NAME.jpg, all results side by side with a legend; overlay/WHAT/NAME.jpg, each over the image;
mask/WHAT/NAME.png, class indices with a palette. Folders are searched with their subfolders, whose names are kept.
Images that cannot be read are skipped and listed at the end; the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.image_results import FOLDERS, Outcome, Request, infer_images
from afa_mmseg.apis.images import find_images
from afa_mmseg.apis.views import CAPTIONS
from afa_mmseg.utils import comma_separated, run_command


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that config')
    parser.add_argument('images', metavar='IMAGES', nargs='+', help='files, folders, or patterns in quotes')
    parser.add_argument('--out', metavar='DIR', type=Path, required=True, help='folder for the results')
    parser.add_argument(
        '--classes',
        type=comma_separated,
        help='classes in all images: cat,dog (default: decided by the classifier for each)',
    )
    parser.add_argument(
        '--what', type=comma_separated, default=list(CAPTIONS), help=f'some of {",".join(CAPTIONS)} (default: all)'
    )
    parser.add_argument('--npz', action='store_true', help='also write scores/NAME.npz')
    parser.add_argument(
        '--side', type=int, default=1024, help='longer side at which images enter the network (default: %(default)s)'
    )
    parser.add_argument('--tta', action='store_true', help="segment at several scales: the config's tta_model")
    parser.add_argument('--crf', action='store_true', help='refine the segmentation with a dense CRF')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU, if available)')
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    images = find_images(args.images, without=[args.out / name for name in FOLDERS])
    inferencer = WeakSegInferencer(
        args.config,
        args.checkpoint,
        device=args.device,
        show_progress=False,
        tta=args.tta,
        crf=args.crf,
        requires_cams=set(args.what) != {'pred'},
    )
    outcomes = infer_images(inferencer, images, args.out, Request(args.what, args.classes, args.side, args.npz))
    return report(outcomes, args.out)


def report(outcomes: Sequence[Outcome], out: Path) -> int:
    """Print a summary; return 1 if an image failed."""
    failed = [outcome for outcome in outcomes if outcome.error]
    print(f'{len(outcomes) - len(failed)} of {len(outcomes)} images written to {out}')
    empty = [outcome.image.name for outcome in outcomes if outcome.num_classes == 0]
    if empty:
        print(f'no class found by the classifier in {len(empty)}, such as {empty[0]}: set them with --classes')
    for outcome in failed:
        print(f'FAILED {outcome.image.path}: {outcome.error.splitlines()[0]}', file=sys.stderr)
    return int(bool(failed))


if __name__ == '__main__':
    run_command(main, if_interrupted='results so far are kept; the same command starts again')
