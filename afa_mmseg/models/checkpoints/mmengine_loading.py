"""mmengine's loading of checkpoints made as strict as ours: by itself it unpickles what `weights_only` refuses."""

import os
import os.path as osp
from typing import Any, Optional
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor

from .reading import Ignored, named, read_checkpoint, read_torch, state_of


def guard_mmengine() -> None:
    """Have mmengine's Runner, `load_checkpoint` and `init_cfg` read files and downloads by `read_checkpoint`.

    Its own loader falls back to unpickling, and lets `weights_only` call `getattr`; downloads are unpickled at once.
    """
    CheckpointLoader.register_scheme('', _load_from_local, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), _load_from_http, force=True)
    # Behind other schemes: `torchvision://`, `open-mmlab://`, `s3://`, ...
    mmengine_checkpoint.load_from_http = _load_from_http
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):  # OpenMMLab's mmengine has none
        mmengine_checkpoint._safe_torch_load = _load


def fetch_state(source: str) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, from a file or a URL that mmengine knows; see `state_of`."""
    guard_mmengine()
    checkpoint = CheckpointLoader.load_checkpoint(source, map_location='cpu', logger='silent')
    with named(source):
        return state_of(checkpoint)


def _load_from_local(filename: str, map_location: Any = None) -> Any:
    return _without_placeholders(read_checkpoint(osp.expanduser(filename), map_location or 'cpu'))


def _load_from_http(
    filename: str, map_location: Any = None, model_dir: Optional[str] = None, progress: bool = False
) -> Any:
    """Download a file once, on the first rank, to where PyTorch and mmengine keep theirs."""
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = osp.join(folder, osp.basename(urlparse(filename).path))
    for turn in (get_dist_info()[0] == 0, True):  # then those of other machines
        if turn and not osp.isfile(path):
            os.makedirs(folder, exist_ok=True)
            torch.hub.download_url_to_file(filename, path, progress=progress)
        barrier()
    return _load_from_local(path, map_location)


def _load(file: Any, map_location: Any = None, weights_only: Optional[bool] = None) -> Any:
    """Stand in for mmengine's `_safe_torch_load`: of a path, or of bytes that a backend fetched."""
    if isinstance(file, (str, os.PathLike)):
        return _load_from_local(os.fspath(file), map_location)
    return _without_placeholders(read_torch(file, map_location or 'cpu'))


def _without_placeholders(value: Any) -> Any:
    """Leave out what stands for objects that are not made: of mmengine's own checkpoints, logs and the best score."""
    if not isinstance(value, dict):
        return value
    kept = {key: _without_placeholders(item) for key, item in value.items() if not isinstance(item, Ignored)}
    return kept if type(value) is dict else type(value)(kept)
