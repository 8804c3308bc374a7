"""Settings of exported pseudo-labels, recorded so that a folder never mixes files of different settings."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

from mmengine.config import Config

from ..datasets import ImageLevelDataset
from ..utils import write_text
from ..version import __version__

SETTINGS_FILE = 'settings.json'


def describe_settings(config: Config, dataset: ImageLevelDataset, checkpoint: Union[str, Path]) -> dict[str, Any]:
    """Return what pseudo-labels depend on: model, digests of the weights and of the image-level labels, pipeline."""
    loader = config.get('val_dataloader') or config.test_dataloader
    labels = [(info['img_id'], info['gt_label'].tolist()) for info in map(dataset.get_data_info, range(len(dataset)))]
    backbone = {key: value for key, value in config.model.backbone.items() if key != 'init_cfg'}
    settings = dict(
        afa_mmseg=__version__,
        checkpoint=digest(Path(checkpoint).read_bytes()),
        classes=dataset.metainfo['classes'],
        labels=digest(json.dumps(labels).encode()),
        model={**config.model, 'backbone': backbone},
        pipeline=loader.dataset.pipeline,
    )
    return json.loads(json.dumps(settings, default=str))


def check_settings(folder: Path, settings: dict[str, Any], files: Sequence[Path]) -> str:
    """Compare settings with the record of a folder, or write the record; return the digest of the settings.

    Args:
        folder: Created if missing.
        settings: See `describe_settings`.
        files: To be written there.

    Raises:
        ValueError: The record differs, or such files exist without a record.
    """
    record = folder / SETTINGS_FILE
    text = json.dumps(settings, indent=1, sort_keys=True) + '\n'
    if record.is_file():
        try:
            before = json.loads(record.read_text(encoding='utf-8'))
        except ValueError as error:
            raise ValueError(f'{record}: cannot be read ({error}).\n  Delete the folder, or choose another.') from error
        changed = differences(before, settings)
        if changed:
            raise ValueError(
                f'{folder} holds files of other settings: {"; ".join(changed[:3])}\n'
                '  Choose another folder, or delete this one.'
            )
    elif any(file.exists() for file in files):
        raise ValueError(f'{folder} holds files of these images without {SETTINGS_FILE}.\n  Choose another folder.')
    else:
        write_text(record, text)
    return digest(text.encode())


def differences(before: Any, now: Any, name: str = '') -> list[str]:
    """List the fields in which nested settings differ.

    Example:
        >>> differences(dict(model=dict(radius=8, refiner=None)), dict(model=dict(radius=4, refiner=None)))
        ['model.radius: 8 before, 4 now']
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f'{name}: {before} before, {now} now']
    keys = sorted({**before, **now})
    return [
        line for key in keys for line in differences(before.get(key), now.get(key), f'{name}.{key}' if name else key)
    ]


def digest(data: bytes) -> str:
    """Return a short SHA-256 digest."""
    return hashlib.sha256(data).hexdigest()[:16]
