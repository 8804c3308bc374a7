"""Evaluate the two runs of the quickstart: a panel for each validation image and a table of all metrics.

python tools/quickstart_report.py --afa work_dirs/afa_mit-tiny_shapes \
    --supervised work_dirs/segformer_mit-tiny_shapes --out work_dirs/quickstart
"""

import argparse
import os.path as osp
import sys
from glob import glob

import cv2
from mmengine.config import Config
from mmengine.runner import Runner, find_latest_checkpoint
from mmengine.utils import mkdir_or_exist

import afa_mmseg  # noqa: F401  (registers the modules)
from afa_mmseg.engine import prepare_runtime
from afa_mmseg.visualization import draw_summary, stack_panels, take_samples

#: Metrics of the AFA run, and their names in the table.
METRICS = {
    'cam/mIoU': 'CAM',
    'propagated_cam/mIoU': 'propagated CAM',
    'refined_cam/mIoU': 'refined pseudo-label',
    'mIoU': 'segmentation',
}
WITH_CRF = 'segmentation with CRF'
SUPERVISED = 'segmentation, trained on full masks'
OVERVIEW_ROWS = 8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--afa', required=True, help='work directory of the run on image-level labels')
    parser.add_argument('--supervised', help='work directory of the run on full masks')
    parser.add_argument('--out', required=True, help='folder for panels and table')
    return parser.parse_args()


def find_run(work_dir: str) -> tuple[str, str]:
    """Find the config and the last checkpoint of a run."""
    configs = sorted(glob(osp.join(work_dir, '2*', 'vis_data', 'config.py')))
    checkpoint = find_latest_checkpoint(work_dir)
    if not configs or checkpoint is None:
        sys.exit(f'quickstart_report.py: error: no trained run in {work_dir}: train it with tools/train.py first')
    return configs[-1], checkpoint


def validate(work_dir: str, out: str, *, panels: bool = False, crf: bool = False) -> dict:
    """Validate the last checkpoint of a run, with a CRF or with panels; return its metrics."""
    config, checkpoint = find_run(work_dir)
    cfg = Config.fromfile(config)
    for name in ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler'):
        cfg[name] = None
    cfg.work_dir, cfg.load_from, cfg.resume, cfg.launcher = osp.join(out, 'logs'), checkpoint, False, 'none'
    cfg.model_wrapper_cfg = None
    cfg.default_hooks.checkpoint = None  # it would search for the best checkpoint of a run
    if crf:
        cfg.model.test_cfg.crf = dict()
        cfg.val_cfg, cfg.val_evaluator = dict(type='ValLoop'), cfg.test_evaluator
    cfg.custom_hooks = []
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    prepare_runtime(cfg, 'none')
    runner = Runner.from_cfg(cfg)
    metrics = runner.val()
    if panels:
        write_panels(runner, osp.join(out, 'panels'))
    return metrics


def write_panels(runner: Runner, folder: str) -> None:
    """Draw a panel of each validation image, as `{id}.png`."""
    mkdir_or_exist(folder)
    dataset = runner.val_dataloader.dataset
    for sample in take_samples(dataset, range(len(dataset)), seed=0, crops=False):
        panel = draw_summary(runner.model, sample, dataset.metainfo)
        cv2.imwrite(osp.join(folder, f'{sample.name}.png'), panel[..., ::-1])


def write_overview(out: str) -> None:
    """Stack the first panels in one image."""
    files = sorted(glob(osp.join(out, 'panels', '*.png')))[:OVERVIEW_ROWS]
    cv2.imwrite(osp.join(out, 'overview.png'), stack_panels([cv2.imread(file) for file in files]))


def main() -> None:
    args = parse_args()
    mkdir_or_exist(args.out)
    metrics = validate(args.afa, args.out, panels=True)
    rows = [(title, metrics[key]) for key, title in METRICS.items()]
    rows.append((WITH_CRF, validate(args.afa, args.out, crf=True)['mIoU']))
    if args.supervised:
        rows.append((SUPERVISED, validate(args.supervised, args.out)['mIoU']))
    write_overview(args.out)
    table = '\n'.join(['| on validation images | mIoU |', '|---|---|', *(f'| {t} | {v:.1f} |' for t, v in rows)])
    note = f'F1 of the classifier: {metrics["cls/f1"]:.1f}'
    with open(osp.join(args.out, 'summary.md'), 'w', encoding='utf-8') as file:
        file.write(f'{table}\n\n{note}\n')
    print(f'\n{table}\n{note}\n\nPanels of the validation images: {osp.abspath(osp.join(args.out, "panels"))}')
    print(f'Overview: {osp.abspath(osp.join(args.out, "overview.png"))}')


if __name__ == '__main__':
    main()
