"""Train a segmentor on GPUs or on the CPU.

python tools/train.py CONFIG [options]                  one process
bash tools/dist_train.sh CONFIG NUM_PROCS [options]     several
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout works without being installed

from torch.distributed.elastic.multiprocessing.errors import record  # noqa: E402

from afa_mmseg.engine import (  # noqa: E402
    add_common_options,
    apply_common_options,
    build_runner,
    load_config,
    naming_config,
    prepare_runtime,
    refuse_published,
    run_training,
    shut_down,
)
from afa_mmseg.utils.checkpoints import use_strict_loading  # noqa: E402
from afa_mmseg.utils.command import USER_ERRORS, program, set_verbosity  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a segmentor on GPUs or on the CPU')
    parser.add_argument('config', help='path of the config file')
    parser.add_argument(
        '--resume', action='store_true', help='resume from the newest checkpoint in the work directory, if any'
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on GPUs (bfloat16 with --cfg-options optim_wrapper.dtype=bfloat16), '
        'bfloat16 on CPUs',
    )
    parser.add_argument('--seed', type=int, help="of weights, images and dropout (default: the config's, or random)")
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='the same weights, bit for bit, with the same seed; an error where PyTorch has no such algorithm, '
        'as for some on GPUs',
    )
    add_common_options(parser)
    return parser.parse_args()


@record  # has torchrun name the rank that failed
def main() -> int:
    set_verbosity()
    args = parse_args()
    use_strict_loading()
    try:
        with naming_config(args.config):
            cfg = load_config(args.config)
            refuse_published(cfg)
            apply_common_options(cfg, args)
            prepare_runtime(cfg, args.launcher)
            runner = build_runner(cfg)
    except USER_ERRORS as error:
        sys.exit(f'{program()}: error: {error}')

    if args.resume and not cfg.resume:
        runner.logger.warning(f'--resume: no checkpoint in {cfg.work_dir}, training starts from the beginning')
    elif not args.resume and list(Path(cfg.work_dir).glob('iter_*.pth')):
        runner.logger.warning(
            f'{cfg.work_dir} holds checkpoints of an earlier run, which --resume would continue until this run has '
            'written its own'
        )
    code = run_training(runner)
    if code == 0:
        shut_down()
    return code


if __name__ == '__main__':
    sys.exit(main())
