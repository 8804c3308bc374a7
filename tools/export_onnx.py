"""Export a trained segmentor to ONNX, and compare the file with the network.

python tools/export_onnx.py CONFIG CHECKPOINT OUT.onnx
"""

import argparse

import torch
from mmseg.apis import init_model

from afa_mmseg.apis import export_onnx, run_onnx
from afa_mmseg.apis.onnx import Exportable
from afa_mmseg.engine.config_check import check_config
from afa_mmseg.engine.options import load_config, require_file
from afa_mmseg.models.checkpoints import load_state
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checkpoints import named, read_state, use_strict_loading

#: Image sizes of the comparison, other than that of the trace.
SIZES = ((96, 160), (203, 131))
TOLERANCE = 1e-4


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Export backbone and head of a trained segmentor to ONNX: RGB images in 0..255 (B, 3, H, W) to '
        'logits (B, classes, H, W), of any size. The file is compared with the network before the command ends.'
    )
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('out', help='file to write')
    return parser.parse_args()


def main() -> int:
    """Export, compare, report."""
    args = parse_args()
    cfg = load_config(args.config)
    require_file(args.checkpoint, 'checkpoint')
    check_config(cfg)
    use_strict_loading()
    state = read_state(args.checkpoint)
    cfg.model.backbone.init_cfg = None
    model = init_model(cfg, device='cpu')
    with named(args.checkpoint):
        load_state(model, state)
    export_onnx(model, args.out)
    difference = max(compare(model, args.out, size) for size in SIZES)
    print(f'{args.out} written; logits differ by at most {difference:.1e} (allowed: {TOLERANCE:.0e})')
    return int(difference > TOLERANCE)


@torch.no_grad()
def compare(model: torch.nn.Module, path: str, size: tuple[int, int]) -> float:
    """Return the largest difference between the logits of the file and of the network."""
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    return float((Exportable(model).eval()(image) - torch.from_numpy(run_onnx(path, image.numpy()))).abs().max())


if __name__ == '__main__':
    run_command(main)
