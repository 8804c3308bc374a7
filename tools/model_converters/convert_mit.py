"""Convert weights of a Mix Transformer to ours, or our segmentor to AFA's own layout.

python tools/model_converters/convert_mit.py mit_b1.pth pretrained/mit_b1.pth              # NVlabs' SegFormer
python tools/model_converters/convert_mit.py mit-b1/model.safetensors pretrained/mit_b1.pth  # Hugging Face
python tools/model_converters/convert_mit.py wetr_voc.pth afa_voc.pth                      # AFA: a whole segmentor
python tools/model_converters/convert_mit.py afa_voc.pth wetr_voc.pth --to afa             # and back
"""

import argparse
from pathlib import Path

from afa_mmseg.models.checkpoints import LAYOUTS, Weights, convert_file, convert_file_to_afa
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checks import first_few


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    known = '\n'.join(f'  {layout.title}' for layout in LAYOUTS)
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'The layout of SOURCE is recognised; known are:\n{known}\nWhat is none of these weights is refused.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'source', metavar='SOURCE', help=".pth, .pt, .bin or .safetensors, or a folder of Hugging Face's hub"
    )
    parser.add_argument('out', metavar='OUT', help='file to write, such as pretrained/mit_b1.pth')
    parser.add_argument('--to', choices=['ours', 'afa'], default='ours', help="layout of OUT; afa: AFA's wetr_*.pth")
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    convert = convert_file_to_afa if args.to == 'afa' else convert_file
    weights = convert(args.source, args.out, force=args.force)
    print(f'recognised: {weights.layout.title if args.to == "ours" else "our segmentor"}, {weights.architecture}')
    for what in sorted(set(weights.left_out.values())):
        names = [name for name, kind in weights.left_out.items() if kind == what]
        print(f'left out, {what}: {first_few(names)}')
    size = Path(args.out).stat().st_size / 1e6
    print(f'written: {args.out} ({len(weights.state)} tensors, {size:.1f} MB)')
    if args.to == 'ours':
        print(f'use it: {usage(weights, args.out)}')


def usage(weights: Weights, out: str) -> str:
    """The line that uses the result."""
    if weights.layout.is_segmentor:
        return f'python tools/test.py CONFIG {out}'
    pretrained = f"init_cfg=dict(type='Pretrained', checkpoint={out!r})"
    head = f'decode_head=dict(in_channels={list(weights.architecture.widths)})'
    return f'model = dict(backbone=dict(arch={weights.architecture.setting}, {pretrained}), {head})'


if __name__ == '__main__':
    run_command(main)
