"""Export a trained segmentor to ONNX, and compare the file with the network.

python tools/export_onnx.py CONFIG CHECKPOINT OUT.onnx
"""

import argparse

import torch
from mmseg.models.segmentors import EncoderDecoder

from afa_mmseg.apis import export_onnx, init_model, run_onnx
from afa_mmseg.apis.onnx import Exportable
from afa_mmseg.utils import refuse_same, run_command

#: Image sizes of the comparison, other than that of the trace.
SIZES = ((96, 160), (203, 131))
#: Largest difference of logits, and largest share of pixels with another label: rounding decides ties.
TOLERANCE, TIES = 1e-4, 1e-3


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Export backbone and head of a trained segmentor to ONNX: RGB images in 0..255 (B, 3, H, W) to '
        'logits (B, classes, H, W), of any size, with the class names in its metadata. The file is compared with the '
        'network before the command ends.'
    )
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--argmax', action='store_true', help='write labels (B, H, W), uint8, instead of logits')
    return parser.parse_args()


def main() -> int:
    """Export, compare, report."""
    args = parse_args()
    if not args.out.endswith('.onnx'):
        raise ValueError(f'file to write: {args.out} does not end in .onnx')
    refuse_same(args.out, args.checkpoint, args.config)
    model = init_model(args.config, args.checkpoint)
    export_onnx(model, args.out, argmax=args.argmax)
    difference = max(compare(model, args.out, size, args.argmax) for size in SIZES)
    if args.argmax:
        print(f'{args.out} written; {difference:.2%} of the labels differ (allowed: {TIES:.1%})')
        return int(difference > TIES)
    print(f'{args.out} written; logits differ by at most {difference:.1e} (allowed: {TOLERANCE:.0e})')
    return int(difference > TOLERANCE)


@torch.no_grad()
def compare(model: EncoderDecoder, path: str, size: tuple[int, int], argmax: bool) -> float:
    """Return the largest difference between logits of file and network, or the share of labels that differ."""
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    found, expected = torch.from_numpy(run_onnx(path, image.numpy())), Exportable(model, argmax).eval()(image)
    return float((found != expected).float().mean() if argmax else (found - expected).abs().max())


if __name__ == '__main__':
    run_command(main)
