"""Distil an ImageNet classifier into a Transformer of ours, from images without labels, or with tags for some.

python tools/model_converters/distill_backbone.py IMAGES ... OUT --teacher timm/tf_efficientnet_lite2 \\
    --teacher-weights pretrained/efficientnet_lite2.pth --exclude data/voc_animals/val.txt

Folders are drawn from equally often, whatever their sizes. OUT/backbone.pth is what init_cfg=dict(type='Pretrained')
reads; its meta data record the recipe. The same command resumes.
"""

import argparse
import functools
from pathlib import Path

from mmengine.registry import init_default_scope

from afa_mmseg.apis.distillation import (
    Recipe,
    build_backbone,
    build_teacher,
    distill,
    list_images,
    read_tags,
)
from afa_mmseg.apis.loading import check_device
from afa_mmseg.datasets.images import read_ids
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Recipe()
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGES', help='folders of images; subfolders count')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the state and the result')
    parser.add_argument('--arch', default='b0', help='preset: b0 to b5, deit-s, deit-b, vit-b (default: %(default)s)')
    parser.add_argument(
        '--teacher',
        default='timm/tf_efficientnet_lite2',
        help='timm/NAME, torchvision/NAME or mmpretrain/NAME (default: %(default)s)',
    )
    parser.add_argument('--teacher-weights', help='checkpoint of the teacher (default: the library downloads it)')
    parser.add_argument(
        '--exclude', type=Path, nargs='*', default=[], help='lists of ids of images that must not be used'
    )
    parser.add_argument('--tags', type=Path, help='label file of some of the images; they are learnt, too')
    parser.add_argument('--weights', help='backbone.pth of another run to start from (default: random weights)')
    parser.add_argument('--steps', type=int, default=default.steps, help='training steps (default: %(default)s)')
    parser.add_argument(
        '--batch-size', type=int, default=default.batch_size, help='crops a step (default: %(default)s)'
    )
    parser.add_argument(
        '--crop-size',
        type=int,
        default=default.crop_size,
        help="side of the student's crops in pixels; above 224 they are enlarged (default: %(default)s)",
    )
    parser.add_argument('--lr', type=float, default=default.lr, help='highest learning rate (default: %(default)s)')
    parser.add_argument('--amp', action='store_true', help='the student computes in bfloat16')
    parser.add_argument('--seed', type=int, default=default.seed, help='random seed (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--num-workers', type=int, default=1, help='processes that load images (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    check_device(args.device)
    init_default_scope('mmseg')
    log = functools.partial(print, flush=True)
    folders = list_images(args.images, [img_id for path in args.exclude for img_id in read_ids(path)])
    images = [path for folder in folders for path in folder]
    log(f'{len(images)} images, {sum(map(len, list_images(args.images))) - len(images)} others excluded')
    tags = read_tags(args.tags, images) if args.tags else None
    recipe = Recipe(
        steps=args.steps,
        batch_size=args.batch_size,
        crop_size=args.crop_size,
        final_crop_size=max(args.crop_size, Recipe.final_crop_size),
        lr=args.lr,
        amp=args.amp,
        seed=args.seed,
        weights=args.weights,
    )
    build_backbone(args.arch, args.weights)  # wrong settings are found before the teacher is built
    teacher = build_teacher(args.teacher, args.teacher_weights).to(args.device)
    log(f'teacher: {teacher.name}')
    meta = dict(excluded=[path.name for path in args.exclude])
    result = distill(
        args.arch, folders, teacher, args.out, recipe, tags=tags, num_workers=args.num_workers, meta=meta, log=log
    )
    log(f"written: {result}; use it: backbone=dict(arch={args.arch!r}, init_cfg=dict(checkpoint='{result}'))")


if __name__ == '__main__':
    run_command(main, if_interrupted='the same command resumes')
