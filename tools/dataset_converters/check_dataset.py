"""Check a whole data set before a long run: images, masks, labels and split lists.

python tools/dataset_converters/check_dataset.py CONFIG                                    training and validation
python tools/dataset_converters/check_dataset.py --img-dir DIR --labels FILE               without a config
python tools/dataset_converters/check_dataset.py --img-dir DIR --labels FILE --split 0.1   write train.txt, val.txt
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

import afa_mmseg  # noqa: F401  (registers the modules)
from afa_mmseg.datasets.inspection import (
    Inspection,
    format_findings,
    format_tables,
    inspect_sources,
    sources_of_config,
    sources_of_folder,
    write_report,
    write_split_lists,
)
from afa_mmseg.engine import load_config
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Exits 1 if there are errors: what stops training, or makes what it learns or reports wrong. '
        'Warnings\nneed a look.',
    )
    parser.add_argument('config', nargs='?', help='config whose training and validation data are read')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values: a.b=1'
    )
    folder = parser.add_argument_group('without a config')
    folder.add_argument('--img-dir', metavar='DIR', help='folder of the images')
    folder.add_argument('--labels', metavar='FILE', help='labels, CSV, TSV or JSON')
    folder.add_argument('--masks', metavar='DIR', help='folder of masks, if there are any')
    folder.add_argument(
        '--list', metavar='FILE', nargs='+', default=[], help='split lists, training first (default: all images)'
    )
    folder.add_argument(
        '--split',
        metavar='SHARE',
        type=float,
        help='if there are no errors, write train.txt and val.txt beside the labels, with this share in val.txt',
    )
    folder.add_argument('--seed', type=int, default=0, help='random seed of --split (default: %(default)s)')
    parser.add_argument('--report', metavar='DIR', help='write report.txt, report.json and classes.png there')
    parser.add_argument('--num-workers', type=int, metavar='N', help='processes (default: one for each CPU; 0: none)')
    args = parser.parse_args()
    if args.config is None and (args.img_dir is None or args.labels is None):
        parser.error('name a config, or --img-dir and --labels')
    if args.config is not None and (args.img_dir or args.labels or args.masks or args.list or args.split is not None):
        parser.error('with a config, its own fields name the files: omit --img-dir and what belongs to it')
    if args.split is not None and args.list:
        parser.error('--split writes lists, --list reads them: choose one')
    return args


def inspect(args: argparse.Namespace) -> Inspection:
    """Inspect the files that the arguments name."""
    if args.config is None:
        sources = sources_of_folder(args.img_dir, args.labels, args.masks, args.list)
    else:
        cfg = load_config(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        sources = sources_of_config(cfg)
    return inspect_sources(sources, args.num_workers)


def main() -> int:
    """Run the command."""
    args = parse_args()
    inspection = inspect(args)
    print(f'{format_tables(inspection)}\n{format_findings(inspection)}')
    if args.report is not None:
        changed = write_report(inspection, args.report)
        print(f'report {"written to" if changed else "is unchanged in"} {args.report}')
    if args.split is not None:
        folder = Path(args.labels).parent
        train, val, written = write_split_lists(inspection, folder, args.split, args.seed)
        done = 'written to' if written else 'are already in'
        print(f'train.txt ({len(train)}) and val.txt ({len(val)}) {done} {folder}')
    return int(inspection.num_errors > 0)


if __name__ == '__main__':
    run_command(main)
