"""Convert labels of another project or tool to JSON, {"id": ["cat", "dog"], ...}.

    python tools/dataset_converters/convert_labels.py cls_labels_onehot.npy labels.json --classes voc
    python tools/dataset_converters/convert_labels.py instances.json labels.json

Reads a dict of one-hot vectors that numpy or pickle wrote (.npy, .pkl; only arrays are unpickled), an array of one row
an image (.npy, with --ids), text (id 0 1 0 ..., id cat dog), CSV, JSON, annotations in the form of COCO, a Label Studio
project exported as JSON, a folder of images for each class. Prints the number of images of each class.
"""

import argparse
from pathlib import Path

from afa_mmseg.datasets.label_files import label_text
from afa_mmseg.datasets.preparation.foreign_labels import find_classes, read_foreign_labels
from afa_mmseg.utils import refuse_same, run_command, write_text


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'source', help='.npy, .pkl, .txt, .csv or .json, or a folder with a subfolder of images for each class'
    )
    parser.add_argument('out', help='.json file to write')
    parser.add_argument(
        '--classes',
        help='classes without background, in the order of the vectors: voc, coco, or a text file with one a line; '
        'not needed where the source names them',
    )
    parser.add_argument('--ids', metavar='FILE', help='ids of the rows of a plain array, one a line')
    parser.add_argument(
        '--id-format',
        metavar='FORMAT',
        help="names of images whose ids are whole numbers, such as 'COCO_train2014_{:012d}'",
    )
    parser.add_argument('--base-names', action='store_true', help='remove folders from ids: VOC/a.jpg is a')
    args = parser.parse_args()
    if Path(args.out).suffix.lower() != '.json':
        parser.error(f'the file to write is JSON and must end in .json, got {args.out}')
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    refuse_same(args.out, args.source)
    classes = find_classes(args.classes, args.source)
    labels = read_foreign_labels(
        args.source,
        classes,
        ids=args.ids,
        id_format=args.id_format,
        base_names=args.base_names,
    )
    for name in classes:
        print(f'{sum(name in names for names in labels.values()):7} {name}')
    print(f'{len(labels):7} images, {sum(not names for names in labels.values())} of them without any label')
    written = write_text(args.out, label_text(labels))
    print(f'{"written to" if written else "already in"} {args.out}')


if __name__ == '__main__':
    run_command(main)
