"""Command line options of `tools/train.py` and `tools/test.py`, applied to a config."""

import argparse
import os
import os.path as osp
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmseg.registry import MODELS

from ..utils import refuse_same
from ..utils.json_config import CONFIG_FILE, read_json_config
from ..utils.package_files import find_config
from .config_check import check_config, metrics_of
from .launch import LAUNCHERS
from .resume import set_resume
from .settings import inner_datasets, merge_options

#: Types of `--amp` on GPUs.
AMP_TYPES = ('float16', 'bfloat16')


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config values: a.b=1 c="[1,2]" d="(x,y)"; no white space in a value',
    )
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none', help='what started the processes (default: none)'
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show warnings of libraries, and records that only the log file has'
    )
    # Old launchers pass it, the environment holds it too.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def load_config(path: str) -> Config:
    """Read a config: Python, which is executed; published JSON or its folder, which is data; or a shipped one by name.

    Raises:
        FileNotFoundError: It is none of these.
        ValueError: The JSON names something to execute.
    """
    path = osp.join(path, CONFIG_FILE) if osp.isdir(path) else path
    path = path if '://' in path else str(find_config(path))
    if not path.endswith('.json'):
        return Config.fromfile(path)
    cfg = read_json_config(path)
    cfg.default_hooks = dict(class_count=dict(type='ClassCountHook'))  # it lists none
    return cfg


def refuse_published(cfg: Config) -> None:
    """Raise a `ValueError` for a published config, which has no hooks: no checkpoints, no `--resume`, no Ctrl-C."""
    if (cfg.filename or '').endswith('.json'):
        folder = osp.dirname(cfg.filename)
        raise ValueError(
            f'{cfg.filename} is for prediction, testing and export. To train on from it, write a config that names one '
            f'of ours in `_base_`, with load_from={osp.join(folder, "model.safetensors")!r} and '
            'model.backbone.init_cfg=None'
        )


def apply_common_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply `--cfg-options`, `--work-dir` and, where `args` has them, `--seed`, `--amp` and the like.

    Args:
        cfg: Changed in place.
        args: Parsed options; `args.config` names the default work directory.

    Raises:
        FileNotFoundError: `load_from` names a file that does not exist.
        ValueError: The optimiser wrapper does not support `--amp`, or a key of the config is unexpected.
    """
    overrides = args.cfg_options or {}
    merge_options(cfg, overrides)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', Path(args.config).stem)
    set_randomness(cfg, getattr(args, 'seed', None), getattr(args, 'deterministic', False))
    if getattr(args, 'amp', False):
        enable_amp(cfg)
    if getattr(args, 'resume', False):
        set_resume(cfg, explicit='load_from' in overrides)
    check_config(cfg, overrides)
    if cfg.get('load_from') is not None:
        require_file(cfg.load_from, 'load_from')


def require_file(path: str, field: str) -> None:
    """Raise a FileNotFoundError that names `field` unless `path` is a file, a folder or a URL."""
    if '://' not in path and not osp.exists(path):
        raise FileNotFoundError(f'{field} not found: {path}')


def set_randomness(cfg: Config, seed: Optional[int] = None, deterministic: bool = False) -> None:
    """Set the seed and deterministic algorithms in the config, where the command line has them.

    Raises:
        ValueError: The seed is negative or has more than 32 bits.
    """
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f'--seed {seed} must be from 0 to {2**32 - 1}')
    asked = {**({} if seed is None else dict(seed=seed)), **(dict(deterministic=True) if deterministic else {})}
    if asked:
        cfg.randomness = {**(cfg.get('randomness') or {}), **asked}
    if (cfg.get('randomness') or {}).get('deterministic', False):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # PyTorch requires it for matrix products on GPUs


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: on GPUs float16 with dynamic loss scaling, on the CPU bfloat16.

    With `optim_wrapper.dtype='bfloat16'` a GPU computes in that, which needs no scaling.

    Raises:
        ValueError: The optimiser wrapper or its `dtype` is not supported.
    """
    wrapper = cfg.optim_wrapper
    name = _type_name(wrapper, default='OptimWrapper')
    if name not in ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        raise ValueError(f'--amp needs optim_wrapper.type OptimWrapper, this config has {name}')
    if get_device() == 'cpu':
        wrapper.type = 'CPUAmpOptimWrapper'
        for gpu_only in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(gpu_only, None)
    elif name != 'AmpOptimWrapper':
        dtype = wrapper.get('dtype', 'float16')
        if dtype not in AMP_TYPES:
            raise ValueError(f"--amp computes in {' or '.join(AMP_TYPES)}, optim_wrapper.dtype is '{dtype}'")
        scale = 'dynamic' if dtype == 'float16' else 1.0
        wrapper.update(type='AmpOptimWrapper', dtype=dtype, loss_scale=wrapper.get('loss_scale', scale))


def enable_tta(cfg: Config) -> None:
    """Test with the augmentations of `cfg.tta_pipeline`.

    Raises:
        ValueError: The config has no `tta_pipeline` or no `tta_model`.
    """
    missing = [field for field in ('tta_model', 'tta_pipeline') if cfg.get(field) is None]
    if missing:
        raise ValueError(f"--tta needs {' and '.join(missing)} in the config: see mmseg's _base_/datasets")
    for dataset in inner_datasets(cfg.test_dataloader.dataset):
        dataset['pipeline'] = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def save_predictions(cfg: Config, folder: str) -> None:
    """Write the label map of every test image to `folder` as PNG, in the palette of the data set.

    Raises:
        ValueError: There is no IoUMetric in `cfg.test_evaluator`.
    """
    writers = ('IoUMetric', 'PaletteIoUMetric')
    metrics = [metric for metric in metrics_of(cfg.test_evaluator) if _type_name(metric) in writers]
    if not metrics:
        raise ValueError('--out needs an IoUMetric in test_evaluator, which writes them')
    metrics[0].update(type='PaletteIoUMetric', output_dir=folder)
    os.makedirs(folder, exist_ok=True)  # IoUMetric does so in the main process only, and others may be first


def refuse_inputs(dataset: Any, folder: str) -> None:
    """Raise a `ValueError` where a folder to write to is one that a data set, or one inside it, reads from."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for item in filter(None, inner):
        refuse_inputs(item, folder)
    refuse_same(folder, *filter(None, getattr(dataset, 'data_prefix', {}).values()))


def evaluate_classifier(cfg: Config) -> bool:
    """Evaluate the classifier alone where `test_evaluator` has neither masks nor a folder; return whether it does.

    Raises:
        ValueError: The config tests by `--tta`, which segments alone, or the model has no classifier.
    """
    if not any(metric.get('format_only') and not metric.get('output_dir') for metric in metrics_of(cfg.test_evaluator)):
        return False
    if 'module' in cfg.model:
        raise ValueError('--tta segments alone, and without masks only the classifier can be evaluated: add --out DIR')
    kind = MODELS.get(cfg.model.type) if isinstance(cfg.model.type, str) else cfg.model.type
    if kind is not None and not hasattr(kind, 'explain'):  # None: building the model reports it
        raise ValueError(
            f'model.type {kind.__name__} has no classifier of images, and without masks nothing else can be evaluated: '
            'add --out DIR, which writes its predictions'
        )
    cfg.test_evaluator = dict(type='ImageF1Metric', prefix='cls')
    _section(cfg.model, 'test_cfg', mode='whole').with_cam = True
    return True


def draw_predictions(cfg: Config, folder: Optional[str] = None, show: bool = False, wait_time: float = 2.0) -> None:
    """Draw predictions over the test images: into `folder`, or in a window with `show`."""
    hook = _section(_section(cfg, 'default_hooks'), 'visualization', type='SegVisualizationHook')
    hook.update(draw=True, show=show, wait_time=wait_time, interval=1)
    visualizer = _section(cfg, 'visualizer', name='visualizer')
    visualizer.type = 'OverlayVisualizer'
    if folder is not None:
        visualizer.save_dir = folder
    if not visualizer.get('vis_backends'):
        visualizer.vis_backends = [dict(type='LocalVisBackend')]


def _section(node: Any, key: str, **default: str) -> Any:
    if node.get(key) is None:
        node[key] = default
    return node[key]


def _type_name(node: dict, default: str = '') -> str:
    kind = node.get('type', default)
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__
