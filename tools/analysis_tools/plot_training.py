"""Plot one run or several: losses, learning rate, validation.

python tools/analysis_tools/plot_training.py work_dirs/afa_mit-b1_voc                     # training.png, training.svg
python tools/analysis_tools/plot_training.py work_dirs/afa_* --out docs/comparison.png
"""

import argparse
from pathlib import Path

from afa_mmseg.utils import run_command
from afa_mmseg.visualization.curves import SUFFIXES, draw_curves, save_curves
from afa_mmseg.visualization.training_log import read_runs


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'logs',
        nargs='+',
        metavar='LOG_OR_WORK_DIR',
        help='work directory, in which the parts of a resumed run are joined; or a log file scalars.json of mmengine',
    )
    parser.add_argument(
        '--out',
        default='training',
        help='file to write: .png or .svg; without a suffix, both (default: training.png and training.svg)',
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    out = Path(args.out)
    files = [out] if out.suffix.lower() in SUFFIXES else [out.with_name(out.name + suffix) for suffix in SUFFIXES]
    save_curves(draw_curves(read_runs(args.logs)), files)
    print(*files, 'written')


if __name__ == '__main__':
    run_command(main)
