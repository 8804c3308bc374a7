"""A whole training step, where its time goes, and the floor: the network's own passes, as plain as can be."""

import argparse
import logging
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional

import torch
import torch.nn.functional as F
from _bench import Bench, add_compile, make_parser, parse_args
from _images import build_loader, write_images
from _inputs import ROOT, build_segmentor, make_batch
from _plain import PlainStep
from _split import Split
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from afa_mmseg.engine.options import enable_amp
from afa_mmseg.models.segmentors import base as segmentor_base

#: What products are computed in. TensorFloat-32 exists on GPUs only.
DTYPES = ('float32', 'tf32', 'bfloat16', 'float16')
CONFIG = 'configs/afa/afa_mit-b1_voc.py'


def set_tf32(on: bool) -> None:
    """Have GPUs round the factors of float32 products and convolutions to TensorFloat-32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


class Step:
    """A segmentor, its optimiser and a batch of images with two classes each.

    Args:
        config: Path of the config.
        device: Where it runs.
        batch: Number of images.
        crop: Side of the images in pixels.
        dtype: One of `DTYPES`; TensorFloat-32 and `cudnn_benchmark` are set for the whole process.
        compile: Backend of `torch.compile` for the backbone's passes, or None.
        settings: Changes of the config, for `Config.merge_from_dict`.
    """

    #: Method of the backbone that all passes go through.
    NETWORK = 'forward_with_attention'

    def __init__(
        self,
        config: str,
        device: torch.device,
        batch: int,
        crop: int,
        dtype: str = 'float32',
        compile: Optional[str] = None,  # noqa: A002
        settings: Optional[dict] = None,
    ) -> None:
        cfg = Config.fromfile(ROOT / config)
        cfg.merge_from_dict(settings or {})
        set_tf32(dtype == 'tf32')
        torch.backends.cudnn.benchmark = cfg.env_cfg.cudnn_benchmark
        if dtype in ('bfloat16', 'float16'):
            cfg.optim_wrapper.dtype = dtype
            enable_amp(cfg)
        self.model = build_segmentor(cfg, device)
        if compile:
            torch.compiler.reset()  # each crop is a network of its own, and torch gives up after eight graphs
            backbone, name = self.model.backbone, self.NETWORK
            setattr(backbone, name, torch.compile(getattr(backbone, name), dynamic=False, backend=compile))
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.batch = make_batch(self.model, batch, crop)
        self.device = device
        self.loader_config = _with_crop(cfg, crop)

    def run(self) -> dict:
        """Run one step of the phase that the model is in, as the Runner does; return its losses."""
        with self.optimizer.optim_context(self.model):
            losses = self.model(**self.batch, mode='loss')
        loss, log = self.model.parse_losses(losses)
        self.optimizer.update_params(loss)
        return log

    def run_floor(self) -> None:
        """Run the network's passes of a step in the last phase: training pass, update, CAM passes, nothing else."""
        self._train_plainly()
        self._pass_for_cams(self.batch['inputs'])

    def run_warmup_floor(self) -> None:
        """Run a plain training pass for classification and segmentation, and the update."""
        self._train_plainly(affinity=False)

    def run_plain(self) -> None:
        """Run one step of the last phase in the published arithmetic, written plainly."""
        PlainStep(self.model, self.optimizer, self.batch).run()

    def _train_plainly(self, affinity: bool = True) -> None:
        backbone, head = self.model.backbone, self.model.decode_head
        with self.optimizer.optim_context(self.model):
            features, attentions = backbone.forward_with_attention(self.batch['inputs'])
            loss = head.image_logits(features).mean() + head(features).mean()
            loss = loss + (head.affinity(attentions).mean() if affinity else 0 * head.affinity_proj.weight.sum())
        self.optimizer.update_params(loss)

    @torch.no_grad()
    def _pass_for_cams(self, inputs: Tensor) -> None:
        with self.optimizer.optim_context(self.model):
            for scale in self.model.pseudo_labeler.cam_scales:
                x = inputs if scale == 1 else F.interpolate(inputs, scale_factor=scale, mode='bilinear')
                # The training pass has seen the plain images.
                x = x.flip(-1) if scale == 1 else torch.cat([x, x.flip(-1)])
                self.model.decode_head.cam_logits(self.model.backbone(x))

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Be in the first phase, where only the classifier learns."""
        hub = MessageHub.get_current_instance()
        last = hub.get_info('iter')
        hub.update_info('iter', 0)
        try:
            yield
        finally:
            hub.update_info('iter', last)

    def run_in_warmup(self) -> None:
        """Run one step of the first phase."""
        with self.warming_up():
            self.run()

    def split(self) -> Split:
        """Name the parts that a step consists of."""
        split, model, head = self._split_network(), self.model, self.model.decode_head
        for method in ('affinity', 'cam_logits'):
            split.watch(head, method, _forward_name)
        split.watch(model, 'pseudo_labels', 'label work')
        split.watch(model.pseudo_labeler, 'propagate', 'propagation')
        for loss in (head.loss_affinity, head.loss_decode):
            split.watch(loss, 'forward', 'losses')
        split.watch(segmentor_base, 'resize', 'losses')  # logits to the size of the labels
        split.watch(model.pseudo_labeler, 'affinity_target', 'losses')
        return split

    def _split_network(self) -> Split:
        """Name the parts that steps of all methods have."""
        split, model, head = Split(self.device), self.model, self.model.decode_head
        split.watch(model.backbone, self.NETWORK, _forward_name)
        for method in ('forward', 'image_logits'):
            split.watch(head, method, _forward_name)
        split.watch(model.pseudo_labeler.refiner, 'forward', 'refinement')
        split.watch(head.loss_cls, 'forward', 'losses')
        split.watch(self.optimizer, 'backward', 'backward')
        split.watch(self.optimizer, 'step', 'optimiser')
        split.watch(self.optimizer, 'zero_grad', 'optimiser')
        return split

    def parts(self, warmup: int, repeats: int) -> dict[str, float]:
        """Return the median seconds of each part over some steps, the largest first."""
        split, rounds = self.split(), []
        for i in range(-warmup, repeats):
            with split:
                self.run()
            if i >= 0:
                rounds.append(dict(split.seconds))
        return medians_of(rounds)


class ToCoStep(Step):
    """A step of ToCo: its floor has the passes of the input, of the second view and of the local crops.

    The floor of the first phase has none for segmentation, and those for contrast only where contrast has begun.
    """

    NETWORK = 'forward_with_tokens'

    def run_warmup_floor(self) -> None:
        """Run the passes of the first phase and the update."""
        contrast = self.model.settings.no_contrast_until < 0
        self._train_views(contrast, segmentation=False)
        if contrast:
            self._pass_for_cams(self.batch['inputs'])

    def run_floor(self) -> None:
        """Run the network's passes of a step in the last phase: all views, update, CAM passes, nothing else."""
        self._train_views(contrast=True, segmentation=True)
        self._pass_for_cams(self.batch['inputs'])

    def _train_views(self, contrast: bool, segmentation: bool) -> None:
        model, x = self.model, self.batch['inputs']
        backbone, head, settings = model.backbone, model.decode_head, model.settings
        size = settings.local_size
        local = x[..., :size, :size].repeat(settings.num_crops, 1, 1, 1)
        with self.optimizer.optim_context(model):
            maps, token, _ = backbone.forward_with_tokens(x)
            loss = head.image_logits(maps).mean() + head.aux_image_logits(maps).mean()
            if contrast:
                tokens = [token, *(backbone.forward_with_tokens(view).class_token for view in (x, local))]
                with torch.no_grad():
                    head.averaged_projector(torch.cat(tokens[:2]))
                loss = loss + head.projector(torch.cat(tokens)).mean() + maps[-1].mean()
            if segmentation:
                loss = loss + head(maps).mean()
        self.optimizer.update_params(loss)

    def split(self) -> Split:
        """Name the parts that a step consists of."""
        split, model, head = self._split_network(), self.model, self.model.decode_head
        for method in ('aux_image_logits', 'cam_logits'):
            split.watch(head, method, _forward_name)
        for projector in (head.projector, head.averaged_projector):
            split.watch(projector, 'forward', 'training forward')
        split.watch(model, 'apply_rule', 'label work')
        split.watch(model, 'extract_cam', 'label work')
        for method in ('patch_label', 'draw_corners', '_normalized_views'):
            split.watch(model, method, 'views and local crops')
        losses = (head.loss_aux, head.loss_ptc, head.loss_ctc, head.loss_decode, head.loss_energy)
        for loss in (loss for loss in losses if loss is not None):
            split.watch(loss, 'forward', 'losses')
        return split


def make_step(config: str, *args: Any, **kwargs: Any) -> Step:
    """Build the step of a config's method."""
    kind = ToCoStep if Config.fromfile(ROOT / config).model.type == 'ToCo' else Step
    return kind(config, *args, **kwargs)


def medians_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Take the median of each part over rounds, the largest first."""
    medians = {name: statistics.median(round_.get(name, 0.0) for round_ in rounds) for name in rounds[0]}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def _forward_name() -> str:
    return 'training forward' if torch.is_grad_enabled() else 'CAM passes'


def _with_crop(config: Config, crop: int) -> Config:
    """Have the training pipeline of a config crop to another size."""
    config = config.copy()
    for transform in config.train_dataloader.dataset.pipeline:
        if 'crop_size' in transform:
            transform.crop_size = (crop, crop)
    return config


@contextmanager
def batches_of(step: Step, count: int) -> Iterator[Iterator[Any]]:
    """Load batches of JPEGs of VOC's size through two worker processes."""
    with TemporaryDirectory() as folder:
        write_images(step.loader_config, Path(folder), count, 375, 500)
        loader = build_loader(step.loader_config, Path(folder), workers=2)
        yield iter(loader)


def split_of(step: Step, warmup: int, repeats: int) -> dict[str, str]:
    """Return the median of each part and of data loading, in seconds and as a share of their sum.

    What is loaded is thrown away: each step has the same batch, as in the comparison with the floor.
    """
    split, rounds = step.split(), []
    preprocess = step.model.data_preprocessor
    preprocess.size = tuple(step.batch['inputs'].shape[-2:])
    with batches_of(step, count=16) as batches:
        for i in range(-warmup, repeats):
            with split:
                with split.part('data loading'):
                    preprocess(next(batches), training=True)
                step.run()
            if i >= 0:
                rounds.append(dict(split.seconds))
    medians = medians_of(rounds)
    total = sum(medians.values())
    return {name: f'{value:.3g} s, {100 * value / total:.1f} %' for name, value in medians.items()}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument('--config', default=CONFIG, help='of the segmentor')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--crops', type=int, nargs='+', default=[320, 512])
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='what products are computed in')
    parser.add_argument('--plain', action='store_true', help="also time AFA's published arithmetic, written plainly")
    add_compile(parser, "run the backbone's passes")
    parser.add_argument('--with-cp', action='store_true', help='activation checkpointing in the backbone')
    args = parse_args(parser)
    if args.device.type == 'cpu' and args.dtype in ('tf32', 'float16'):
        parser.error(f'--dtype {args.dtype} needs a GPU')
    return args


def main() -> None:
    """Compare step and floor for each crop, in the last phase and in the first."""
    args = parse()
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # the optimiser logs each parameter
    bench = Bench(f'Training step of {args.config}, batch {args.batch}', args)
    settings = {'model.backbone.with_cp': args.with_cp}
    for crop in args.crops:
        step = make_step(args.config, args.device, args.batch, crop, args.dtype, args.compile, settings)
        if args.compile:
            bench.time_compilation(f'crop {crop}', step.run)
        cases: dict[str, Any] = {'step': step.run, 'floor': step.run_floor}
        if args.plain and not isinstance(step, ToCoStep):
            cases['plain'] = step.run_plain
        bench.compare(f'crop {crop}', cases, baseline='floor')
        warmup = {'warm-up step': step.run_in_warmup, 'plain step': step.run_warmup_floor}
        bench.compare(f'crop {crop}, warm-up', warmup, baseline='plain step')
        if not bench.is_child:
            for name, text in split_of(step, args.warmup, args.repeats).items():
                bench.fact(f'crop {crop}: {name}', text)
    bench.finish()


if __name__ == '__main__':
    main()
