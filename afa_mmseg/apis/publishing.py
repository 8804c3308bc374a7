"""Publishing: safetensors, the config as JSON and a model card in a folder or on Hugging Face's hub."""

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.config import Config
from torch import Tensor

from ..utils import atomic_path, write_text
from ..utils.checkpoints import named, read_checkpoint, state_of
from ..utils.checks import import_extra
from ..utils.json_config import CONFIG_FILE, LOCAL_KEYS, METRICS, encode_config, parse_config_text, parse_json_config
from ..version import __version__

WEIGHTS_FILE, CARD_FILE = 'model.safetensors', 'README.md'
#: Keys of a config that are not published.
LEFT_OUT = ('custom_imports', *LOCAL_KEYS)
CARD = """---
{front_matter}
---

# {name}

Semantic segmentation by `{method}`, for afa_mmseg {version} and MMSegmentation.
Classes, background first: {classes}.

{figures}```python
from afa_mmseg.apis import WeakSegInferencer

inferencer = WeakSegInferencer.from_pretrained('{name}')  # this folder, or its id on the hub
result = inferencer('photo.jpg')
```

`config.json` is read as data, `model.safetensors` holds tensors alone: loading them executes no code. For mmseg's own
functions, and for models without CAMs: `afa_mmseg.apis.init_model('{name}/config.json', '{name}')`.
"""


def publish(
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    *,
    license: str,
    figures: Optional[Mapping] = None,
    name: Optional[str] = None,
) -> list[str]:
    """Write the weights of a training checkpoint, its config and a model card to a folder; return what is left out.

    The weights are those that validation used: with an `EMAHook` mmengine saves their average as `state_dict`.

    Args:
        checkpoint: Written by training; its config is read without executing it.
        out: Folder; files of the same names are replaced.
        license: Identifier on Hugging Face's hub, such as 'apache-2.0' or 'other'.
        figures: Metrics and their values for the card, such as `dict(mIoU=62.6)`.
        name: In the card; default: that of the folder.

    Raises:
        FileNotFoundError: `checkpoint` does not exist.
        ModuleNotFoundError: huggingface_hub or safetensors is missing.
        ValueError: `checkpoint` is not one of training, or its config holds more than plain values.
    """
    content = read_checkpoint(checkpoint)
    with named(checkpoint):
        meta = content.get('meta') if isinstance(content, dict) else None
        if not isinstance(meta, dict) or not meta.get('cfg') or not meta.get('dataset_meta'):
            raise ValueError(
                'not a checkpoint of a training run: no `dataset_meta` and `cfg` in its `meta`.\n'
                '  Use the .pth that `tools/train.py` wrote to its work directory.'
            )
        config = parse_config_text(meta['cfg'])
        options: dict[str, Any] = dict(license=license, figures=figures, name=name)
        write_folder(out, state_of(content), config, meta['dataset_meta'], **options)
    return [*(key for key in content if key not in ('state_dict', 'meta')), *(k for k in LEFT_OUT if k in config)]


def write_folder(
    folder: Union[str, Path],
    state: Mapping[str, Tensor],
    config: Mapping,
    dataset_meta: Mapping,
    *,
    license: str,
    figures: Optional[Mapping] = None,
    name: Optional[str] = None,
) -> None:
    """Write `config.json`, `model.safetensors` and `README.md`; see `publish`."""
    safetensors = import_extra('safetensors.torch', 'hub')
    folder = Path(folder)
    values = config.to_dict() if isinstance(config, Config) else dict(config)
    values = {key: value for key, value in values.items() if key not in LEFT_OUT}
    for key in ('val_evaluator', 'test_evaluator'):
        if values.get(key):
            metrics = values[key] if isinstance(values[key], (list, tuple)) else [values[key]]
            values[key] = [metric for metric in metrics if metric.get('type') in METRICS]
    values.update(dataset_meta=dict(dataset_meta), afa_mmseg_version=__version__)
    text = encode_config(values)
    parse_json_config(text)  # raises before anything is written
    card = _card(name or folder.name, values, license, figures or {})
    # Clones: safetensors refuses tensors that share memory.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(safetensors.save(tensors, dict(format='pt')))  # `save_file` makes it private to the user
    write_text(folder / CONFIG_FILE, text)
    write_text(folder / CARD_FILE, card)


def download(repo_id: str, **options: Any) -> Path:
    """Download config and weights of a published model from Hugging Face's hub; return their folder."""
    hub = import_extra('huggingface_hub', 'hub')
    return Path(hub.snapshot_download(repo_id, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE], **options))


def upload(folder: Union[str, Path], repo_id: str, *, private: bool = False, token: Optional[str] = None) -> str:
    """Upload a published folder to Hugging Face's hub, make a missing repository; return the address of the commit."""
    api = import_extra('huggingface_hub', 'hub').HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE],  # and nothing else that lies there
        commit_message='Upload a model of afa_mmseg',
    )
    return commit.commit_url


def _card(name: str, config: Mapping, license: str, figures: Mapping) -> str:
    data = import_extra('huggingface_hub', 'hub').ModelCardData(
        license=license,
        library_name='afa_mmseg',
        pipeline_tag='image-segmentation',
        tags=['semantic-segmentation', 'weakly-supervised', 'mmsegmentation'],
    )
    if not isinstance(figures, Mapping):
        raise ValueError(f'figures must be a dict of metrics and values, got a {type(figures).__name__}')
    rows = [f'| {metric} | {value} |' for metric, value in figures.items() if isinstance(value, Real)]
    return CARD.format(
        front_matter=data.to_yaml(),
        name=name,
        method=config['model']['type'],
        version=__version__,
        classes=', '.join(config['dataset_meta']['classes']),
        figures='\n'.join(['| metric | value |', '|---|---|', *rows, '', '']) if rows else '',
    )
