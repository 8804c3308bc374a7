"""Evaluate a checkpoint, on GPUs or on the CPU.

python tools/test.py CONFIG CHECKPOINT [options]                  one process
bash tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCS [options]     several
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout works without being installed

from mmengine.config import Config  # noqa: E402
from torch.distributed.elastic.multiprocessing.errors import record  # noqa: E402

from afa_mmseg.engine import (  # noqa: E402
    add_common_options,
    apply_common_options,
    build_runner,
    draw_predictions,
    enable_tta,
    evaluate_classifier,
    load_config,
    naming_config,
    prepare_runtime,
    refuse_inputs,
    require_file,
    run_test,
    save_predictions,
    shut_down,
)
from afa_mmseg.engine.data_hooks import unwrap  # noqa: E402
from afa_mmseg.models.checkpoints import load_state  # noqa: E402
from afa_mmseg.utils.checkpoints import named, read_state, use_strict_loading  # noqa: E402
from afa_mmseg.utils.command import USER_ERRORS, program, set_verbosity  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint, on GPUs or on the CPU')
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('checkpoint', help='path or URL of the checkpoint')
    parser.add_argument('--out', metavar='DIR', help='write the predicted label maps there, as PNG')
    parser.add_argument('--show-dir', metavar='DIR', help='draw predictions over the images, there (one process)')
    parser.add_argument('--show', action='store_true', help='show them in a window instead')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds per image with --show')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: tta_pipeline of the config')
    add_common_options(parser)
    return parser.parse_args()


def build_config(args: argparse.Namespace) -> Config:
    cfg = load_config(args.config)
    require_file(args.checkpoint, 'checkpoint')
    cfg.load_from = args.checkpoint
    apply_common_options(cfg, args)
    if args.tta:
        enable_tta(cfg)
    if args.out is not None:
        save_predictions(cfg, args.out)
    if args.show or args.show_dir is not None:
        draw_predictions(cfg, args.show_dir, args.show, args.wait_time)
    if evaluate_classifier(cfg):
        print(
            'no masks to compare with: only the classifier is evaluated; --out DIR writes the predicted label maps, '
            '--show-dir DIR draws them over the images'
        )
    return cfg


@record  # has torchrun name the rank that failed
def main() -> int:
    set_verbosity()
    args = parse_args()
    use_strict_loading()
    try:
        with naming_config(args.config):
            cfg = build_config(args)
            prepare_runtime(cfg, args.launcher)
            runner = build_runner(cfg)
            if args.out is not None:
                refuse_inputs(runner.test_loop.dataloader.dataset, args.out)
            with named(args.checkpoint):  # mmengine loads what fits of other weights
                load_state(unwrap(runner.model), read_state(args.checkpoint))
    except USER_ERRORS as error:
        sys.exit(f'{program()}: error: {error}')
    if args.show_dir is not None and runner.world_size > 1:
        runner.logger.warning('--show-dir: only the images of the main process are drawn, as mmseg does')
    code = run_test(runner)
    if code == 0:
        shut_down()
    return code


if __name__ == '__main__':
    sys.exit(main())
