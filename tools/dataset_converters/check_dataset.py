"""Check a whole data set before a long run: images, masks, labels and split lists; and write a config for it.

python tools/dataset_converters/check_dataset.py IMAGES --labels LABELS                       without a config
python tools/dataset_converters/check_dataset.py IMAGES --labels LABELS --config my_config.py   ... and write one
python tools/dataset_converters/check_dataset.py CONFIG                                       training and validation
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

import afa_mmseg  # noqa: F401  (registers the modules)
from afa_mmseg.datasets.inspection import (
    DataFiles,
    Inspection,
    format_findings,
    format_tables,
    inspect_sources,
    sources_of_config,
    sources_of_folder,
    write_config,
    write_report,
    write_split_lists,
)
from afa_mmseg.engine import load_config, merge_options, naming_config
from afa_mmseg.utils import positive, run_command
from afa_mmseg.utils.package_files import shipped_configs, suggestion

CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')
#: Share of the images for validation where none is set.
VAL_SHARE = 0.1


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Exits 1 if there are errors: what stops training, or makes what it learns or reports wrong. '
        'Warnings\nneed a look.',
    )
    parser.add_argument('source', metavar='IMAGES|CONFIG', help='folder of images, or config whose data are read')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values: a.b=1'
    )
    add_folder_options(parser.add_argument_group('with a folder of images'))
    parser.add_argument('--report', metavar='DIR', help='write report.txt there, with all findings')
    parser.add_argument('--num-workers', type=int, metavar='N', help='processes (default: one for each CPU; 0: none)')
    args = parser.parse_args()
    named = [args.labels, args.masks, args.config, args.split, args.base, args.iterations, args.side, *args.list]
    if is_config(args.source):
        if named != [None] * len(named):
            parser.error('with a config, its own fields name the files: omit --labels and what belongs to it')
    elif args.labels is None:
        if not Path(args.source).exists():
            parser.error(f'{args.source} is no folder of images, nor the name of a config{suggestion(args.source)}')
        parser.error(f'{args.source}: name --labels; that is the folder itself if it has a subfolder for each class')
    if args.split is not None and args.list:
        parser.error('--split writes lists, --list reads them: choose one')
    if args.config is not None and len(args.list) not in (0, 2):
        parser.error('--config requires two lists: --list TRAIN VAL')
    return args


def is_config(source: str) -> bool:
    """Return whether this is a config, a file or the name of a shipped one, and not a folder of images."""
    is_shipped = source in shipped_configs() and not Path(source).is_dir()
    return is_shipped or Path(source).suffix.lower() in CONFIG_SUFFIXES


def add_folder_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that go with a folder of images."""
    group.add_argument(
        '--labels', metavar='LABELS', help='CSV, TSV, JSON (also of COCO or Label Studio), or a folder for each class'
    )
    group.add_argument('--masks', metavar='DIR', help='folder of masks, if there are any')
    group.add_argument(
        '--list', metavar='FILE', nargs='+', default=[], help='split lists, training first (default: all images)'
    )
    group.add_argument(
        '--split',
        metavar='SHARE',
        type=float,
        help='if there are no errors, write train.txt and val.txt beside the labels, with this share in val.txt '
        f'(with --config: {VAL_SHARE} by default)',
    )
    group.add_argument('--seed', type=int, default=0, help='random seed of --split (default: %(default)s)')
    group.add_argument('--config', metavar='FILE', help='write a config to train with there, if there are no errors')
    group.add_argument(
        '--base',
        metavar='NAME',
        help='with --config: config to inherit from (default: afa_mit-b1_voc; '
        'afa_efficientnet-lite2_voc-animals suits a CPU)',
    )
    group.add_argument(
        '--iterations', type=positive, metavar='N', help='with --config (default: as published for as many images)'
    )
    group.add_argument(
        '--side', type=positive, metavar='PIXELS', help='with --config: of images and crops (default: 512)'
    )


def inspect(args: argparse.Namespace) -> Inspection:
    """Inspect the files that the arguments name."""
    if args.labels is not None:
        sources = sources_of_folder(args.source, args.labels, args.masks, args.list)
    else:
        with naming_config(args.source):
            cfg = load_config(args.source)
            merge_options(cfg, args.cfg_options or {})
            sources = sources_of_config(cfg)
    return inspect_sources(sources, args.num_workers)


def main() -> int:
    """Run the command."""
    args = parse_args()
    inspection = inspect(args)
    print(f'{format_tables(inspection)}\n{format_findings(inspection)}')
    if args.report is not None:
        write_report(inspection, args.report)
        print(f'report written to {args.report}')
    if inspection.num_errors:
        return 1
    lists = args.list
    if args.split is not None or (args.config is not None and not lists):
        folder, share = Path(args.labels).parent, VAL_SHARE if args.split is None else args.split
        train, val = write_split_lists(inspection, folder, share, args.seed)
        lists = [str(folder / 'train.txt'), str(folder / 'val.txt')]
        print(f'train.txt ({len(train)}) and val.txt ({len(val)}) are in {folder}')
    if args.config is not None:
        files = DataFiles(args.source, args.labels, *lists, args.masks or '')
        max_iters = write_config(args.config, inspection, files, args.base, args.iterations, args.side)
        print(f'{args.config}: {max_iters} iterations; train: afa train {args.config}')
    return 0


if __name__ == '__main__':
    run_command(main)
