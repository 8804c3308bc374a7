"""Publish a training checkpoint: safetensors, the config as JSON and a model card.

python tools/publish_model.py work_dirs/afa_mit-b1_voc/iter_18000.pth published/afa_b1 --license apache-2.0
python tools/publish_model.py CHECKPOINT OUT --license other --push user/afa_b1      # also to Hugging Face's hub
"""

import argparse
import json
from pathlib import Path

from afa_mmseg.apis import publish
from afa_mmseg.apis.publishing import upload
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='config.json holds the resolved config, with the paths that were trained with.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='.pth of a training run')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder')
    parser.add_argument(
        '--license', required=True, metavar='ID', help="of the weights, as Hugging Face's hub has it: apache-2.0, other"
    )
    parser.add_argument(
        '--figures', type=Path, metavar='JSON', help='metrics for the model card: the .json that tools/test.py wrote'
    )
    parser.add_argument('--push', metavar='REPO', help="also upload to Hugging Face's hub: user/name")
    parser.add_argument('--private', action='store_true', help='make the repository a private one')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    figures = json.loads(args.figures.read_text(encoding='utf-8')) if args.figures else None
    left_out = publish(args.checkpoint, args.out, license=args.license, figures=figures, name=args.push)
    print(f'left out: {", ".join(left_out) or "nothing"}')
    for path in sorted(args.out.iterdir()):
        print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')
    if args.push:
        print(upload(args.out, args.push, private=args.private))


if __name__ == '__main__':
    run_command(main)
