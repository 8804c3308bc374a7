"""What exported files were made with, so that no folder holds a mixture."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

from mmengine.config import Config

from ..datasets import ImageLevelDataset
from ..utils import write_text
from ..utils.checks import first_few
from ..version import __version__

SETTINGS_FILE = 'settings.json'


def describe_settings(config: Config, dataset: ImageLevelDataset, checkpoint: Union[str, Path]) -> dict[str, Any]:
    """List what pseudo-labels depend on: network, weights, pictures and labels, how pictures are loaded.

    Files are listed by a digest of what they hold, not by their names.
    """
    loader = config.get('val_dataloader') or config.test_dataloader
    pictures = [(info['img_id'], info['gt_label'].tolist()) for info in map(dataset.get_data_info, range(len(dataset)))]
    backbone = {key: value for key, value in config.model.backbone.items() if key != 'init_cfg'}
    settings = dict(
        afa_mmseg=__version__,
        checkpoint=_digest(Path(checkpoint).read_bytes()),
        classes=dataset.metainfo['classes'],
        pictures_and_labels=_digest(json.dumps(pictures).encode()),
        model={**config.model, 'backbone': backbone},
        pipeline=loader.dataset.pipeline,
    )
    return json.loads(json.dumps(settings, default=str))


def check_settings(folder: Path, settings: dict[str, Any], files: Sequence[Path]) -> str:
    """Compare settings with those that a folder was begun with, or record them there; give their digest.

    Args:
        folder: Made if it is not there.
        settings: See `describe_settings`.
        files: What is to be written there.

    Raises:
        ValueError: The folder was begun with others, or holds such files and no record.
    """
    record = folder / SETTINGS_FILE
    text = json.dumps(settings, indent=1, sort_keys=True) + '\n'
    if record.is_file():
        _compare(record, settings)
    elif any(file.exists() for file in files):
        raise ValueError(
            f'{folder} holds files of these pictures, but no {SETTINGS_FILE} that says what they were made with.\n'
            '  Choose another folder.'
        )
    else:
        write_text(record, text)
    return _digest(text.encode())


def _compare(record: Path, settings: dict[str, Any]) -> None:
    try:
        before = flatten(json.loads(record.read_text(encoding='utf-8')))
    except ValueError as error:
        raise ValueError(f'{record}: cannot be read ({error}).\n  Delete the folder, or choose another one.') from error
    now = flatten(settings)
    changed = [
        f'{key}: {before.get(key, "not there")} then, {now.get(key, "not there")} now'
        for key in sorted({**before, **now})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f'{record.parent} holds files of other settings: {first_few(changed)}\n'
            '  Choose another folder, or delete this one.'
        )


def flatten(settings: Any, prefix: str = '') -> dict[str, Any]:
    """Name each value in nested settings by the way to it.

    Example:
        >>> flatten(dict(model=dict(scales=[1, 2], refiner=None)))
        {'model.scales': [1, 2], 'model.refiner': None}
    """
    if not isinstance(settings, dict) or not settings:
        return {prefix: settings}
    return {
        name: value
        for key, child in settings.items()
        for name, value in flatten(child, f'{prefix}.{key}' if prefix else key).items()
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
