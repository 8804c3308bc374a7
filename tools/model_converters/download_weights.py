"""Download ImageNet weights of a backbone, and convert them to what the configs read.

python tools/model_converters/download_weights.py                # list names, licences and addresses
python tools/model_converters/download_weights.py mit-b1         # pretrained/mit_b1.pth

Weights have licences of their own: docs/weights.md. HF_ENDPOINT names a mirror of Hugging Face's hub.
"""

import argparse
from pathlib import Path

from afa_mmseg.models.checkpoints.downloads import SOURCES, download_weights
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', metavar='NAME', nargs='?', choices=[*SOURCES], help=', '.join(SOURCES))
    parser.add_argument('--out', metavar='FILE', help='file to write (default: the one that the configs name)')
    parser.add_argument('--force', action='store_true', help='replace FILE if it exists')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    if args.name is None:
        for name, source in SOURCES.items():
            print(f'{name:<20}{source.licence}\n{"":<20}{source.place}')
        return
    source = SOURCES[args.name]
    out = Path(args.out or source.file)
    if out.exists() and not args.force:
        raise FileExistsError(f'{out} exists: name another file by --out, or replace it with --force')
    print(f'{source.place}\nlicence: {source.licence}', flush=True)
    download_weights(args.name, out)
    print(
        f'written: {out} ({out.stat().st_size / 1e6:.1f} MB), which the config {source.config} reads as {source.file}'
    )


if __name__ == '__main__':
    run_command(main)
