"""Convert masks to labels of other tools: COCO JSON, or pre-annotations of Label Studio to correct by brush.

python tools/export_labels.py results/mask/pred --images photos --format coco --out labels.json
python tools/export_labels.py data/PseudoLabels --images data/images --format label-studio --out tasks.json

Masks are those of infer.py, of export_pseudo_labels.py, or any PNGs of class indices named as the images are.
"""

import argparse
import json
from pathlib import Path

from afa_mmseg.apis.label_files import find_masks, labelling_config, read_class_names, to_coco, to_label_studio
from afa_mmseg.utils import comma_separated, run_command, write_text


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('masks', metavar='MASKS', type=Path, help='folder of masks: NAME.png, 255 is ignored')
    parser.add_argument('--images', metavar='DIR', type=Path, required=True, help='folder of their images')
    parser.add_argument('--format', choices=('coco', 'label-studio'), required=True)
    parser.add_argument('--out', metavar='FILE', type=Path, required=True, help='.json; Label Studio also gets an .xml')
    parser.add_argument(
        '--classes',
        type=comma_separated,
        help='names of classes 1, 2, ...: cat,dog (default: those that were written beside the masks)',
    )
    parser.add_argument(
        '--prefix',
        help='address of the images in Label Studio (default: /data/local-files/?d=DIR/, its local storage)',
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    if args.out.suffix.lower() != '.json':
        raise ValueError(f'--out {args.out} must end in .json')
    classes = args.classes or read_class_names(args.masks)
    images = find_masks(args.masks, args.images)
    labels: object
    if args.format == 'coco':
        labels = to_coco(images, classes)
    else:
        prefix = f'/data/local-files/?d={args.images.name}/' if args.prefix is None else args.prefix
        labels = to_label_studio(images, classes, prefix)
        write_text(args.out.with_suffix('.xml'), labelling_config(classes))
        print(f'{args.out.with_suffix(".xml")}: the labelling configuration of the project')
    write_text(args.out, json.dumps(labels, ensure_ascii=False) + '\n')
    print(f'{args.out}: {len(images)} images, {len(classes)} classes')


if __name__ == '__main__':
    run_command(main)
