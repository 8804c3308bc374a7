"""Parts a and b of the GPU suite: the reference's numbers on the device, and no wait for the host in a step."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from _environment import ROOT
from _suite import Options, Report
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from train_step import Step, set_tf32

from afa_mmseg.functional import (
    affinity_label,
    affinity_loss,
    balanced_cross_entropy,
    dense_crf,
    pamr,
    par,
    propagate_cam,
    radius_mask,
)
from afa_mmseg.functional.affinity import label_on_grid
from afa_mmseg.functional.pseudo_label import refine_in_boxes
from tests.reference_network import map_reference_keys, tiny_config

DATA = ROOT / 'tests/data'
ITERATIONS = 12
#: Name of a comparison, what came out, what must come out, and the tests' tolerance.
Comparison = tuple[str, Tensor, Tensor, float]
#: Losses of a trajectory: ours, the reference's, our weight on it.
LOSSES = (('loss_cls', 'cls_loss', 1.0), ('loss_affinity', 'aff_loss', 0.1), ('loss_seg', 'seg_loss', 0.1))


def load(name: str, device: torch.device, folder: Path = DATA) -> dict[str, Tensor]:
    """Load a golden file to a device."""
    with np.load(folder / f'{name}.npz') as file:
        return {key: torch.from_numpy(np.array(value)).to(device) for key, value in file.items()}


def goldens_and_trajectories(options: Options, report: Report) -> None:
    """Compare with the reference in float32, and report how far TF32 and half precision are from it."""
    init_default_scope('mmseg')
    set_tf32(False)
    for compare in (refiner_goldens, function_goldens, network_goldens, crf_goldens):
        for name, out, expected, limit in compare(options.device):
            report.check(name, float((out.float() - expected.float()).abs().max()), limit)
    for name, config, data, weights, limits in trajectories(options):
        for dtype in ('float32', 'tf32', 'bfloat16') if options.on_gpu else ('float32', 'bfloat16'):
            set_tf32(dtype == 'tf32')
            found = trajectory_differences(config, data, weights, options.device, dtype)
            report.row(f'trajectory of {name}: largest difference to the reference', dtype=dtype, **found)
            if dtype == 'float32':
                for loss, limit in limits.items():
                    report.check(f'{name}: {loss}', found[loss], limit)


# Goldens


def refiner_goldens(device: torch.device) -> Iterator[Comparison]:
    """PAR in each implementation that runs on the device, and PAMR."""
    for implementation in ('auto', 'eager', 'triton') if device.type == 'cuda' else ('eager',):
        for name in ('40x56_c3', '40x56_c3_highmask', '64x64_c3_lowmask', '96x96_flat'):
            data = load(f'par_{name}', device)
            out = par(data['imgs'], data['masks'], num_iters=10, implementation=implementation)
            yield f'PAR {name}, {implementation}', out, data['out_it10'], 1e-5
    for name in ('40x56_c3', '64x64_c3_lowmask', '96x96_flat'):
        data = load(f'pamr_{name}', device)
        yield f'PAMR {name}', pamr(data['imgs'], data['masks'], num_iters=10), data['out_it10'], 1e-5


def function_goldens(device: torch.device) -> Iterator[Comparison]:
    """Affinity labels, losses, propagation and refinement in boxes."""
    for name in ('100x120_r4', '160x256_r8'):
        data = load(f'afflabel_{name}', device)
        grid = [side // 16 for side in data['label'].shape[-2:]]
        out = affinity_label(label_on_grid(data['label'], grid), data['mask'])
        yield f'affinity label {name}', out, data['out'], 0
    for name in ('100x120_r4', 'allignore', 'allpos'):
        data = load(f'affloss_{name}', device)
        yield f'affinity loss {name}', affinity_loss(data['inputs'], data['targets']), data['loss'], 1e-5
    data = load('segloss', device)
    yield 'segmentation loss', balanced_cross_entropy(data['pred'], data['label_normal']), data['loss_normal'], 1e-5
    data = load('propagate_10x16', device)
    mask = radius_mask(10, 16, 4).to(device)
    for score in ('35', '55'):
        arguments = (data['cams'], data['aff'][:2], mask, data['cls_labels'], float(f'0.{score}'))
        yield f'propagation, background 0.{score}', propagate_cam(*arguments), data[f'out_bkg{score}'], 1e-5
    data = load('refine_cls_label', device)
    out = refine_in_boxes(par, data['images'], data['cams_keep'], data['img_box'].cpu())
    yield 'refinement in boxes', out, data['out_keep'], 1e-5


def network_goldens(device: torch.device) -> Iterator[Comparison]:
    """Outputs of the tiny network."""
    model = build_tiny(tiny_config(), DATA / 'tiny/wetr_tiny.pth', device).eval()
    head = model.decode_head
    for name in ('64x64', '74x106'):
        data = load(f'tiny/wetr_forward_{name}', device)
        with torch.no_grad():
            features, attentions = model.backbone.forward_with_attention(data['x'])
            yield f'segmentation logits {name}', head(features), data['seg'], 1e-4
            yield f'image logits {name}', head.image_logits(features), data['cls'], 1e-4
            yield f'CAM logits {name}', head.cam_logits(features), data['cam_s4'], 1e-4
            yield f'affinity {name}', head.affinity(attentions), data['attn_pred'], 1e-4


def crf_goldens(device: torch.device) -> Iterator[Comparison]:
    """The dense CRF on a small image."""
    data = load('dcrf_120x160', device)
    image = data['image'][None]
    logits = nn.functional.interpolate(data['logit'].float(), image.shape[-2:], mode='bilinear', align_corners=False)
    yield 'dense CRF 120x160', dense_crf(image, logits.softmax(1))[0, :, ::4, ::4], data['q_stride4'], 1e-3


# Trajectories


def build_tiny(config: dict, weights: Path, device: torch.device) -> nn.Module:
    """Build a golden network with its golden weights."""
    model = MODELS.build(config)
    model.load_state_dict(map_reference_keys(torch.load(weights, weights_only=True)))
    return model.to(device)


def trajectories(options: Options) -> Iterator[tuple[str, dict, dict, Path, dict[str, float]]]:
    """List the golden trajectories at hand: name, config, data, weights, tolerances (SPEC of the goldens)."""
    limits = dict(loss_cls=1e-4, loss_affinity=1e-4, loss_seg=1e-3, pairs=2)
    tiny = load('tiny/trajectory', torch.device('cpu'))
    yield 'the tiny network', tiny_config(), tiny, DATA / 'tiny/wetr_tiny.pth', limits
    if options.goldens is not None and not options.quick:
        config = tiny_config()
        config['backbone'] = dict(type='AttnMixVisionTransformer', arch='b0', drop_path_rate=0.0)
        config['decode_head'].update(in_channels=(32, 64, 160, 256), channels=256)
        data = load('trajectory_mit_b0', torch.device('cpu'), options.goldens)
        # Ill conditioned: rounding of 1e-5 in the weights moves the segmentation loss by 5e-3.
        yield 'MiT-B0', config, data, options.goldens / 'wetr_mit_b0_seed0.pth', {**limits, 'loss_seg': 1e-2}


def trajectory_differences(
    config: dict, data: dict[str, Tensor], weights: Path, device: torch.device, dtype: str
) -> dict[str, float]:
    """Train twelve iterations from the golden weights; the largest difference of each loss, and of the pair counts."""
    model = build_tiny(config, weights, device).train()
    schedule = Config.fromfile(ROOT / 'configs/_base_/schedules/schedule_20k.py')
    optimizer = build_optim_wrapper(model, schedule.optim_wrapper)
    schedulers = [
        PARAM_SCHEDULERS.build(
            {**one, 'max_iters': ITERATIONS, 'warmup_iters': 3}, default_args=dict(optimizer=optimizer)
        )
        for one in schedule.param_scheduler
    ]
    largest: dict[str, float] = {}
    for i in range(ITERATIONS):
        log = golden_step(model, optimizer, data, i, autocast(device, dtype))
        for scheduler in schedulers:
            scheduler.step()
        found = {name: abs(log[name] / weight - float(data[key][i])) for name, key, weight in LOSSES}
        if i <= 2:  # classification only: the reference logs losses that it does not use
            found = dict(loss_cls=found['loss_cls'])
        else:  # its counts begin at 1
            pairs = (('positive_pairs', 'pos_count'), ('negative_pairs', 'neg_count'))
            found['pairs'] = max(abs(log[name] + 1 - float(data[key][i])) for name, key in pairs)
        largest = {**largest, **{name: max(value, largest.get(name, 0.0)) for name, value in found.items()}}
    return largest


def golden_step(
    model: nn.Module, optimizer: Any, data: dict[str, Tensor], i: int, context: AbstractContextManager
) -> dict[str, float]:
    """Train on a golden batch, whose images are normalised already."""
    device = next(model.parameters()).device
    MessageHub.get_current_instance().update_info('iter', i)
    samples = []
    for label, box in zip(data['Y'][i], data['B'][i].tolist()):
        sample = SegDataSample(metainfo=dict(img_box=tuple(box), num_labels=int((label != 0).sum())))
        sample.gt_label = label.to(device)
        samples.append(sample)
    with context:
        losses = model(data['X'][i].to(device), samples, mode='loss')
    loss, log = model.parse_losses(losses)
    optimizer.update_params(loss)
    return {name: float(value) for name, value in log.items()}


def autocast(device: torch.device, dtype: str) -> AbstractContextManager:
    """Compute in half precision where the type is one."""
    half: Optional[torch.dtype] = dict(bfloat16=torch.bfloat16, float16=torch.float16).get(dtype)
    return nullcontext() if half is None else torch.autocast(device.type, half)


# Synchronisation


def synchronisation(options: Options, report: Report) -> None:
    """Take steps in which CUDA raises an error wherever the host waits, and count the waits of what is around them."""
    if options.quick:
        step = Step('configs/afa/afa_mit-tiny_shapes.py', options.device, 2, 64)
    else:
        step = Step('configs/afa/afa_mit-b1_voc.py', options.device, 2, 512)
    for _ in range(2):  # tables that are copied to the device once
        step.run()
        step.run_in_warmup()
    for name, run in (('last phase', step.run), ('first phase', step.run_in_warmup)):
        with sync_debug(options, 'error'):
            run()
        report.fact(f'step, {name}', 'no wait' if options.on_gpu else 'ran; a CPU has nothing to wait for')
    report.fact('waits of preparing a batch', waits(options, lambda: prepare(step)))


def prepare(step: Step) -> None:
    """Move a batch to the device and normalise it, as the data preprocessor does."""
    crop = step.batch['inputs'].shape[-1]
    step.model.data_preprocessor.size = (crop, crop)
    images = torch.zeros(len(step.batch['inputs']), 3, crop, crop, dtype=torch.uint8)
    if step.device.type == 'cuda':
        images = images.pin_memory()
    samples = [sample.cpu() for sample in step.batch['data_samples']]
    step.model.data_preprocessor(dict(inputs=[*images], data_samples=samples), training=True)


@contextmanager
def sync_debug(options: Options, mode: str) -> Iterator[None]:
    """Have CUDA warn or raise an error inside a `with` block wherever the host waits for the device."""
    if not options.on_gpu:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def waits(options: Options, run: Any) -> int:
    """Count where the host waits for the device during a call."""
    with warnings.catch_warnings(record=True) as caught, sync_debug(options, 'warn'):
        warnings.simplefilter('always')
        run()
    return sum('synchronizing CUDA operation' in str(warning.message) for warning in caught)
