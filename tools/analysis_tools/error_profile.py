"""Find where a segmentor loses points: which pixels are wrong, and how good CAMs and labels for training are.

python tools/analysis_tools/error_profile.py CONFIG CHECKPOINT
python tools/analysis_tools/error_profile.py CONFIG CHECKPOINT --cfg-options test_dataloader.dataset.ann_file=tune.txt

Images, image-level labels and masks are those of test_dataloader. The classes of each image are known to CAMs and
labels, as in training; to the segmentation they are not.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import DictAction
from mmengine.dataset import pseudo_collate
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS
from prettytable import PrettyTable
from torch import Tensor

from afa_mmseg.apis import init_model
from afa_mmseg.engine import load_config, merge_options
from afa_mmseg.evaluation.confusion import Confusion
from afa_mmseg.utils import run_command

#: Names of the counts beside those at background scores.
SEGMENTATION, KNOWN, BAND = 'segmentation', 'if the classes were known', 'near outlines'
ONE, SEVERAL = 'images of one class', 'images of several classes'
CAM_LABEL, LABEL = 'from plain CAMs', "the rule's"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--scores', nargs='+', type=float, default=[0.35, 0.45, 0.55, 0.65], help='background scores for CAMs'
    )
    parser.add_argument(
        '--band', type=int, default=8, help='pixels on either side of an outline (default: %(default)s)'
    )
    parser.add_argument('--every', type=int, default=1, help='only every n-th image (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


def near_outlines(mask: np.ndarray, distance: int) -> np.ndarray:
    """Find the pixels within a distance of where the class changes; (H, W) bool."""
    classes = np.where(mask == 255, 0, mask).astype(np.uint8)
    outline = cv2.morphologyEx(classes, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, 5) < distance


@torch.no_grad()
def profile(model: Any, dataset: Any, args: argparse.Namespace) -> dict[str, Confusion]:
    """Count the pixels of every map of the images."""
    counts: dict[str, Confusion] = defaultdict(partial(Confusion, model.decode_head.num_classes))
    for index in track_iter_progress(range(0, len(dataset), args.every)):
        data = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        (sample,) = model.predict(data['inputs'], data['data_samples'])
        mask = sample.gt_sem_seg.data[0].cpu().numpy()
        label, logits = sample.pred_sem_seg.data[0].cpu(), sample.seg_logits.data
        counts[SEGMENTATION].add(label, mask)
        counts[BAND].add(label, mask, near_outlines(mask, args.band))
        counts[ONE if sample.gt_label.sum() == 1 else SEVERAL].add(label, mask)
        absent = F.pad(sample.gt_label == 0, (1, 0))[:, None, None]
        counts[KNOWN].add(logits.masked_fill(absent, -torch.inf).argmax(dim=0).cpu(), mask)
        (steps,) = model.explain(data['inputs'], [sample])
        for name, found in label_maps(steps, args.scores):
            counts[name].add(steps.to_original(found).cpu(), mask)
    print()
    return dict(counts)


def label_maps(steps: Any, scores: list[float]) -> Iterator[tuple[str, Tensor]]:
    """Make label maps of one image from its CAMs at each background score, and those for training."""
    cams = {'CAM': steps.cam()}
    if steps.output.aux_cam is not None:
        cams['auxiliary CAM'] = steps.output.aux_cam[0] * steps.gt_label[:, None, None]
    for score in scores:
        for name, cam in cams.items():
            yield f'{name} {score:g}', F.pad(cam, (0, 0, 0, 0, 1, 0), value=score).argmax(dim=0)
        if steps.has_affinity:
            yield f'propagated CAM {score:g}', steps.propagated(score).argmax(dim=0)
    yield CAM_LABEL, steps.cam_label()
    yield LABEL, steps.pseudo_label()


def report(counts: dict[str, Confusion], classes: list[str], args: argparse.Namespace) -> str:
    """Lay out the counts as tables."""
    seg, band = counts[SEGMENTATION], counts[BAND]
    rows = [['mIoU', _number(seg.mean_iou)]]
    rows += [[f'IoU of {name}', _number(value)] for name, value in zip(classes, seg.iou)]
    rows += [[f'pixels: {name}', f'{share:.1%}'] for name, share in seg.errors.items()]
    pixels, wrong = (a / max(b, 1) for a, b in zip(_pixels_and_errors(band), _pixels_and_errors(seg)))
    rows += [[f'within {args.band} pixels of an outline', f'{pixels:.1%} of the pixels, {wrong:.1%} of the errors']]
    rows += [[f'mIoU, {name}', _number(counts[name].mean_iou)] for name in (KNOWN, ONE, SEVERAL) if name in counts]
    tables = [_table(['segmentation', ''], rows)]
    kinds = [name for name in ('CAM', 'auxiliary CAM', 'propagated CAM') if f'{name} {args.scores[0]:g}' in counts]
    rows = [[kind, *(_number(counts[f'{kind} {score:g}'].mean_iou) for score in args.scores)] for kind in kinds]
    tables.append(_table(['mIoU at background score', *(f'{score:g}' for score in args.scores)], rows))
    rows = []
    for name in (CAM_LABEL, LABEL):
        precision, recall = counts[name].foreground
        rows.append(
            [name, _number(counts[name].mean_iou), f'{counts[name].ignored:.1%}', f'{precision:.2f}', f'{recall:.2f}']
        )
    tables.append(_table(['label for training', 'mIoU where decided', 'ignored', 'precision', 'recall'], rows))
    return '\n\n'.join(tables)


def _pixels_and_errors(counts: Confusion) -> tuple[int, int]:
    return int(counts.counts.sum()), int(counts.decided.sum() - np.trace(counts.decided))


def _number(value: float) -> str:
    return '-' if np.isnan(value) else f'{value:.1f}'


def _table(titles: list[str], rows: list[list[str]]) -> str:
    table = PrettyTable(titles, align='r')
    table.align[titles[0]] = 'l'
    table.add_rows(rows)
    return table.get_string()


def main() -> None:
    """Run the command."""
    args = parse_args()
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    model = init_model(cfg, args.checkpoint, args.device, requires_cams=True)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    counts = profile(model, dataset, args)
    print(report(counts, list(model.dataset_meta['classes']), args))


if __name__ == '__main__':
    run_command(main)
