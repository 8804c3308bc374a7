"""Train a segmentor on GPUs or on the CPU.

python tools/train.py CONFIG [options]                  one process
bash tools/dist_train.sh CONFIG NUM_PROCS [options]     several
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout works without being installed

from afa_mmseg.engine import (  # noqa: E402
    InterruptHook,
    add_common_options,
    apply_common_options,
    build_runner,
    load_config,
    prepare_runtime,
    shut_down,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a segmentor on GPUs or on the CPU')
    parser.add_argument('config', help='path of the config file')
    parser.add_argument(
        '--resume', action='store_true', help='go on from the newest checkpoint in the work directory, if any'
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on GPUs, bfloat16 on CPU')
    add_common_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        cfg = load_config(args.config)
        apply_common_options(cfg, args)
        prepare_runtime(cfg, args.launcher)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'train.py: error: {error}')

    runner = build_runner(cfg)
    if args.resume and not cfg.resume:
        runner.logger.warning(f'--resume: no checkpoint in {cfg.work_dir}, training starts from the beginning')
    interrupt = InterruptHook()
    runner.register_hook(interrupt)
    try:
        runner.train()
    except (KeyboardInterrupt, RuntimeError) as error:
        # An interrupted process leaves the others with a broken connection.
        if isinstance(error, RuntimeError) and not interrupt.requested:
            raise
        sys.exit(f'train.py: interrupted; --resume goes on from the last checkpoint in {cfg.work_dir}')
    shut_down()


if __name__ == '__main__':
    main()
