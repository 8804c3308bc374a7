"""Convert weights of a Vision Transformer or of ToCo to ours, or our ToCo to its own layout.

python tools/model_converters/convert_vit.py deit_base_patch16_224-b5f2ef4d.pth pretrained/deit_b.pth  # DeiT, timm
python tools/model_converters/convert_vit.py vit-base/model.safetensors pretrained/vit_b.pth           # Hugging Face
python tools/model_converters/convert_vit.py toco_voc.pth ours.pth                                     # a segmentor
python tools/model_converters/convert_vit.py ours.pth toco_voc.pth --to toco                           # and back

ToCo's own network has an `encoder.head` that nothing uses: load what `--to toco` writes with strict=False.
"""

import argparse

from afa_mmseg.models.checkpoints import write_weights
from afa_mmseg.models.checkpoints.vit import convert_vit, find_vit_layout, to_toco
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checkpoints import read_state


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='SOURCE', help='.pth, .pt, .bin or .safetensors')
    parser.add_argument('out', metavar='OUT', help='file to write, such as pretrained/deit_b.pth')
    parser.add_argument('--to', choices=['ours', 'toco'], default='ours', help='layout of OUT')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    state = read_state(args.source)
    if args.to == 'toco':
        title, content = 'our segmentor ToCo', to_toco(state)
        converted = content
    else:
        title, converted = find_vit_layout(state)[0].title, convert_vit(state)
        content = dict(state_dict=converted, meta=dict(converted_from=title))
    write_weights(args.out, content, args.force)
    print(f'recognised: {title}; {len(state)} tensors read, {len(converted)} written: {args.out}')


if __name__ == '__main__':
    run_command(main)
