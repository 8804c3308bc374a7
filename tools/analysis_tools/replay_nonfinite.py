"""Replay the step at which a run stopped because something was not finite, and name the first such module.

The message of the run names both files:

python tools/analysis_tools/replay_nonfinite.py work_dirs/afa/afa.py work_dirs/afa/not_finite_iter_812_rank_0.pth
"""

import argparse

import torch
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

from afa_mmseg.engine import load_config, read_dump, replay
from afa_mmseg.utils import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='the one that the run wrote to its work directory')
    parser.add_argument('dump', metavar='DUMP', help='not_finite_iter_*.pth of the work directory; it may be untrusted')
    parser.add_argument('--device', default=get_device(), help='where to compute (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    dump = read_dump(args.dump)
    cfg = load_config(args.config)
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    cfg.model.pop('init_cfg', None)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(torch.device(args.device))
    print(f'iteration {dump["iteration"] + 1}, computed in {dump["dtype"]}')
    print('\n'.join(replay(dump, model)))


if __name__ == '__main__':
    run_command(main)
