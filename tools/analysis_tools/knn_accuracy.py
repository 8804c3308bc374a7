"""Measure pretrained features without training: the class of an image's nearest neighbours (5-NN of pooled features).

python tools/analysis_tools/knn_accuracy.py data/voc_animals --weights work_dirs/mit_b0/backbone.pth
python tools/analysis_tools/knn_accuracy.py data/voc_animals --teacher timm/tf_efficientnet_lite2 \\
    --teacher-weights pretrained/efficientnet_lite2.pth

The class of an image is that of most of its mask's pixels: masks are read for this measurement only.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import Tensor

from afa_mmseg.apis.distillation import build_backbone, build_teacher, knn_accuracy, pooled_features
from afa_mmseg.apis.distillation.student import MEAN, STD
from afa_mmseg.datasets.images import read_ids
from afa_mmseg.utils import read_mask, run_command
from afa_mmseg.utils.checks import first_few


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder with images, masks and lists, such as data/voc_animals')
    network = parser.add_mutually_exclusive_group()
    network.add_argument('--weights', help='pretrained backbone; without it and --teacher: random weights')
    parser.add_argument('--arch', default='b0', help='preset of the backbone: b0, deit-s, ... (default: %(default)s)')
    network.add_argument('--teacher', help='a classifier in its place: timm/NAME or torchvision/NAME')
    parser.add_argument('--teacher-weights', help='checkpoint of the classifier')
    parser.add_argument('--reference', default='train.txt', help='list of reference images (default: %(default)s)')
    parser.add_argument('--query', default='val.txt', help='list of images to classify (default: %(default)s)')
    parser.add_argument(
        '--num-reference', type=int, default=600, help='evenly spaced from the list (default: %(default)s)'
    )
    parser.add_argument('--size', type=int, default=224, help='side in pixels (default: %(default)s)')
    parser.add_argument('-k', type=int, default=5, help='neighbours (default: %(default)s)')
    return parser.parse_args()


def build_features(args: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Return what maps images in 0..1 to feature maps."""
    if args.teacher:
        return build_teacher(args.teacher, args.teacher_weights)
    torch.manual_seed(0)
    backbone = build_backbone(args.arch, args.weights).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) / 255 for values in (MEAN, STD))
    return lambda image: backbone((image - mean) / std)[-1]


def read_classes(data: Path, ids: list[str]) -> Tensor:
    """Return the class with most pixels of each mask."""
    counts = [np.bincount(read_mask(data / 'masks' / f'{i}.png').ravel(), minlength=256)[1:255] for i in ids]
    empty = [i for i, count in zip(ids, counts) if not count.any()]
    if empty:
        raise ValueError(f'{first_few(empty)}: masks without a class; leave these images out of the list')
    return torch.tensor([int(count.argmax()) for count in counts])


def main() -> None:
    """Run the command."""
    args = parse_args()
    init_default_scope('mmseg')
    features = build_features(args)
    listed = read_ids(args.data / args.reference)
    picked = np.linspace(0, len(listed) - 1, min(args.num_reference, len(listed))).round().astype(int)
    ids = [[listed[i] for i in picked], read_ids(args.data / args.query)]
    pooled = [pooled_features(features, [args.data / 'images' / f'{i}.jpg' for i in part], args.size) for part in ids]
    classes = [read_classes(args.data, part) for part in ids]
    accuracy = knn_accuracy(pooled[0], classes[0], pooled[1], classes[1], args.k)
    print(f'{args.k}-NN accuracy: {accuracy:.3f} ({len(ids[0])} reference, {len(ids[1])} query images, {args.size} px)')


if __name__ == '__main__':
    run_command(main)
