"""Profile the errors of a segmentor: confused classes, errors near outlines, mIoU of CAMs and training labels.

python tools/analysis_tools/error_profile.py CONFIG CHECKPOINT
python tools/analysis_tools/error_profile.py CONFIG CHECKPOINT --cfg-options test_dataloader.dataset.ann_file=tune.txt

Images, image-level labels and masks are those of test_dataloader. The classes of each image are known to CAMs and
labels, as in training; to the segmentation they are not. CAMs are propagated along the affinity of the largest
scale, as in training. A CRF of the config is left out.
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
from mmengine.device import get_device
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS
from prettytable import PrettyTable
from torch import Tensor

from afa_mmseg.apis import init_model
from afa_mmseg.engine import load_config, merge_options
from afa_mmseg.evaluation.confusion import Confusion
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checks import check_class_count

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
    parser.add_argument('--device', default=get_device(), help='such as cpu or cuda:1 (default: %(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


def check_sample(sample: Any) -> None:
    """Raise a `ValueError` unless a sample has a mask and an image-level label."""
    missing = [name for name in ('gt_sem_seg', 'gt_label') if name not in sample]
    if missing:
        raise ValueError(
            f'test_dataloader.dataset: samples have no {" and no ".join(missing)}: use an ImageLevelDataset with masks '
            "(data_prefix['seg_map_path']), and LoadMask and PackImageLevelInputs in its pipeline"
        )


def near_outlines(mask: np.ndarray, distance: int) -> np.ndarray:
    """Find the pixels within a distance of where the class changes, rings of ignored pixels included; (H, W) bool."""
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, 5) < distance


@torch.no_grad()
def profile(model: Any, dataset: Any, args: argparse.Namespace) -> dict[str, Confusion]:
    """Count the pixels of every map of the images."""
    counts: dict[str, Confusion] = defaultdict(partial(Confusion, model.decode_head.num_classes))
    for index in track_iter_progress(range(0, len(dataset), args.every)):
        data = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        check_sample(data['data_samples'][0])
        (sample,) = model.predict(data['inputs'], data['data_samples'])
        mask = sample.gt_sem_seg.data[0].cpu().numpy()
        label, logits, num_classes = sample.pred_sem_seg.data[0], sample.seg_logits.data, int(sample.gt_label.sum())
        counts[SEGMENTATION].add(label, mask)
        counts[BAND].add(label, mask, near_outlines(mask, args.band))
        if num_classes:
            counts[ONE if num_classes == 1 else SEVERAL].add(label, mask)
        absent = F.pad(sample.gt_label == 0, (1, 0))[:, None, None]
        counts[KNOWN].add(logits.masked_fill(absent, -torch.inf).argmax(dim=0), mask)
        (steps,) = model.explain(data['inputs'], [sample])
        for name, found in label_maps(steps, args.scores):
            counts[name].add(found, mask)
    print()
    return dict(counts)


def label_maps(steps: Any, scores: list[float]) -> Iterator[tuple[str, Tensor]]:
    """Make label maps of one image, at its size, from its CAMs at each background score, and those for training."""
    cams = {'CAM': steps.cam()}
    if steps.output.aux_cam is not None:
        cams['auxiliary CAM'] = steps.output.aux_cam[0] * steps.gt_label[:, None, None]
    for score in scores:
        for name, cam in cams.items():
            scored = F.pad(steps.to_original(cam), (0, 0, 0, 0, 1, 0), value=score)
            yield f'{name} {score:g}', scored.argmax(dim=0)
        if steps.has_affinity:
            yield f'propagated CAM {score:g}', steps.to_original(steps.propagated(score)).argmax(dim=0)
    if steps.has_affinity:  # otherwise the two are one
        yield CAM_LABEL, steps.to_original(steps.cam_label())
    yield LABEL, steps.to_original(steps.pseudo_label())


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
    for name in [name for name in (CAM_LABEL, LABEL) if name in counts]:
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
    if args.every < 1:
        raise ValueError(f'--every {args.every}: must be at least 1')
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    cfg.model.setdefault('test_cfg', {}).update(crf=None, with_cam=False, with_pseudo_label=False)
    model = init_model(cfg, args.checkpoint, args.device, requires_cams=True)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    check_class_count(model.decode_head.num_classes, dataset.metainfo['classes'], 'test_dataloader.dataset')
    counts = profile(model, dataset, args)
    print(report(counts, list(model.dataset_meta['classes']), args))


if __name__ == '__main__':
    run_command(main)
