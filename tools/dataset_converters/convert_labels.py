"""Convert the label file of another project to JSON, {"id": ["cat", "dog"], ...}.

    python tools/dataset_converters/convert_labels.py cls_labels_onehot.npy labels.json --classes voc

Reads a dict of one-hot vectors that numpy or pickle wrote (.npy, .pkl; only arrays are unpickled), an array
with one row an image (.npy, with --ids), text (id 0 1 0 ..., id cat dog), CSV and JSON. Prints the number of images
of each class, and with --check-against how the labels differ from those of a second file.
"""

import argparse
from pathlib import Path

from afa_mmseg.datasets import read_label_file
from afa_mmseg.datasets.label_files import label_text
from afa_mmseg.datasets.preparation.foreign_labels import compare_labels, find_classes, read_foreign_labels
from afa_mmseg.utils import run_command, write_text


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='.npy, .pkl, .txt, .csv or .json')
    parser.add_argument('out', nargs='?', help='.json file to write; optional with --check-against')
    parser.add_argument(
        '--classes',
        help='classes without background, in the order of the vectors: voc, coco, or a text file with one a line; '
        'not needed for a .csv whose header names them',
    )
    parser.add_argument('--ids', metavar='FILE', help='ids of the rows of a plain array, one a line')
    parser.add_argument(
        '--index-base',
        type=int,
        choices=[0, 1],
        help='the numbers are class indices, of which the first class has this one (default: they are one-hot)',
    )
    parser.add_argument(
        '--id-format',
        metavar='FORMAT',
        help="names of images whose ids are whole numbers, such as 'COCO_train2014_{:012d}'",
    )
    parser.add_argument('--base-names', action='store_true', help='remove folders from ids: VOC/a.jpg is a')
    parser.add_argument(
        '--check-against',
        metavar='FILE',
        help='second label file, .json or .csv; list the ids whose labels differ, and exit with 1 if there are any',
    )
    args = parser.parse_args()
    if args.out is None and args.check_against is None:
        parser.error('name the file to write, or a file to --check-against')
    if args.out is not None and Path(args.out).suffix.lower() != '.json':
        parser.error(f'the file to write is JSON and must end in .json, got {args.out}')
    return args


def main() -> int:
    """Run the command."""
    args = parse_args()
    classes = find_classes(args.classes, args.source)
    labels = read_foreign_labels(
        args.source,
        classes,
        ids=args.ids,
        index_base=args.index_base,
        id_format=args.id_format,
        base_names=args.base_names,
    )
    for name in classes:
        print(f'{sum(name in names for names in labels.values()):7} {name}')
    print(f'{len(labels):7} images, {sum(not names for names in labels.values())} of them without any label')
    if args.out is not None:
        written = write_text(args.out, label_text(labels))
        print(f'{"written to" if written else "already in"} {args.out}')
    if args.check_against is None:
        return 0
    differences = compare_labels(labels, read_label_file(args.check_against, classes), args.source, args.check_against)
    print('\n'.join(differences) or f'the same labels as in {args.check_against}')
    return 1 if differences else 0


if __name__ == '__main__':
    run_command(main)
