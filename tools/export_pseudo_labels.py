"""Export the pseudo-labels of a training set for a second stage, and evaluate them where there are masks.

python tools/export_pseudo_labels.py CONFIG CHECKPOINT --out data/VOCdevkit/VOC2012/PseudoLabels
"""

import argparse
import json
from pathlib import Path

from mmengine.config import Config, DictAction

from afa_mmseg.apis import export_pseudo_labels
from afa_mmseg.engine import load_config, merge_options
from afa_mmseg.evaluation.label_quality import format_report, judge_labels
from afa_mmseg.utils import run_command, write_text

REPORT_FILE = 'report.json'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Write the pseudo-label of each training image, for the classes of its image-level label, as '
        'palette PNG with 255 for ignored pixels. The same command resumes an interrupted export.'
    )
    parser.add_argument('config', help='path of the config file, with the images in train_dataloader')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for {id}.png, settings.json, report.json')
    parser.add_argument('--split', metavar='FILE', help='another list of images, relative to the data root')
    parser.add_argument(
        '--crf', action='store_true', help='refine with a dense CRF instead of the refiner of the config'
    )
    parser.add_argument(
        '--device', help="'cpu', 'cuda' (all GPUs, in turn), 'cuda:1', ... (default: GPUs, if available)"
    )
    parser.add_argument(
        '--procs',
        type=int,
        metavar='N',
        help='processes (default: one for each GPU or CPU); 0: this one only',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


def build_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the options."""
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    if args.split is not None:
        cfg.merge_from_dict({'train_dataloader.dataset.ann_file': args.split})
    if args.crf:
        cfg.model.refiner = dict(type='DenseCRF')
    return cfg


def main() -> int:
    """Export, compare, report."""
    args = parse_args()
    exported = export_pseudo_labels(
        build_config(args), args.checkpoint, args.out, device=args.device, num_workers=args.procs
    )
    existing = [job for job in exported.jobs if job.file.is_file()]
    report = judge_labels([job.file for job in existing], [job.info for job in existing], exported.classes)
    report['failed'] = exported.faults
    write_text(Path(args.out) / REPORT_FILE, json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    print(format_report(report))
    print(f'{args.out}: {exported.num_written} written, {len(existing) - exported.num_written} existed before')
    for img_id, reason in exported.faults.items():
        print(f'FAILED {img_id}: {reason}')
    return int(bool(exported.faults))


if __name__ == '__main__':
    run_command(main)
