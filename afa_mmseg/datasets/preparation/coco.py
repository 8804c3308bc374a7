"""COCO 2014 for image-level training: masks, labels and lists from the official folders."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

from PIL import Image

from ...utils import remove_leftovers, save_mask, write_text
from ...utils.checks import import_extra, require_dir, require_file, require_files
from ..coco import COCOImageLevelDataset
from ..label_files import label_text
from .coco_annotations import CROWD_RULES, CocoImage, draw_mask, image_labels, read_images
from .collect import run_collecting

SPLITS = ('train', 'val')
#: Whether lists leave out images without annotation, as the published ones do, or hold them.
UNANNOTATED_RULES = ('drop', 'keep')
#: Goes up with every change of what is drawn, so that old masks are not mixed with new ones.
VERSION = 1
#: Lies with the masks and states how they were made.
RULES_FILE = 'rules.json'
DOWNLOAD = 'Get {} from https://cocodataset.org (2014) and unpack it in {}, or name other --splits.'

Report = Callable[[str], Any]


def prepare_coco(
    root: Union[str, Path],
    splits: Sequence[str] = SPLITS,
    crowd: str = 'class',
    unannotated: str = 'drop',
    num_workers: Optional[int] = None,
    report: Report = print,
) -> bool:
    """Write what `COCOImageLevelDataset` needs beside COCO's own files, as far as it is not there yet.

    That is `SegmentationClass/{split}2014/*.png` (see `draw_mask`), `labels_{split}2014.json` and
    `ImageSets/{split}2014.txt`. All images get a mask and a label, whatever the list leaves out.

    Args:
        root: Folder that holds `train2014`, `val2014` and `annotations`.
        splits: Of `SPLITS`; `crowd` and `unannotated`: one of `CROWD_RULES` and `UNANNOTATED_RULES`.
        num_workers: See `run_parallel`.
        report: Called with each line of the report.

    Returns:
        Whether anything was written.

    Raises:
        FileNotFoundError: A folder, an annotation file or images are missing.
        FileExistsError: There are masks that were made by other rules.
        ModuleNotFoundError: pycocotools is not installed.
        ValueError: An option, an annotation file or an image cannot be used.
    """
    import_extra('pycocotools.mask', 'converters')
    root = Path(root)
    if crowd not in CROWD_RULES or unannotated not in UNANNOTATED_RULES:
        raise ValueError(
            f'crowd={crowd!r}, unannotated={unannotated!r}: choose of {CROWD_RULES} and {UNANNOTATED_RULES}'
        )
    require_dir(str(root), 'COCO_ROOT', 'Make it, and unpack the archives of https://cocodataset.org (2014) in it.')
    names = [f'{split}2014' for split in splits]
    for split in names:
        _require(root, split)
    written = [_prepare_split(root, split, crowd, unannotated == 'drop', num_workers, report) for split in names]
    return any(written)


def _require(root: Path, split: str) -> None:
    require_dir(str(root / split), f'images of {split}', DOWNLOAD.format(f'{split}.zip', root))
    remedy = DOWNLOAD.format('annotations_trainval2014.zip', root)
    require_file(str(_annotation_file(root, split)), f'annotations of {split}', remedy)


def _annotation_file(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}.json'


def _prepare_split(root: Path, split: str, crowd: str, drops: bool, num_workers: Optional[int], report: Report) -> bool:
    classes = COCOImageLevelDataset.METAINFO['classes']
    images = read_images(_annotation_file(root, split), classes[1:])
    remedy = DOWNLOAD.format(f'{split}.zip', root)
    require_files(str(root / split), [image.img_id for image in images], '.jpg', f'images of {split}', remedy)
    drawn = _draw_masks(root, split, images, crowd, num_workers)
    # Last, since training needs them: where they are, masks are.
    labels = {image.img_id: [classes[i] for i in image_labels(image, crowd)] for image in images}
    labelled = write_text(root / f'labels_{split}.json', label_text(labels))
    ids = [img_id for img_id, names in labels.items() if names or not drops]
    listed = write_text(root / f'ImageSets/{split}.txt', ''.join(f'{img_id}\n' for img_id in ids))
    bare = sum(not names for names in labels.values())
    report(
        f'{split}: {len(images)} masks, {drawn} of them new; {len(ids)} images in ImageSets/{split}.txt, '
        f'{bare} without annotation {"left out" if drops else "kept"}'
    )
    return bool(drawn or labelled or listed)


def _draw_masks(root: Path, split: str, images: list[CocoImage], crowd: str, num_workers: Optional[int]) -> int:
    """Draw the masks that are not there, and read those images to their end; return their number."""
    folder = root / 'SegmentationClass' / split
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    digest = hashlib.sha256(_annotation_file(root, split).read_bytes()).hexdigest()
    _check_rules(folder, dict(version=VERSION, crowd=crowd, annotations=f'sha256:{digest}'))
    missing = [image for image in images if not (folder / f'{image.img_id}.png').exists()]
    draw = partial(_draw_image, images=root / split, masks=folder, crowd=crowd)
    remedy = f'Fetch them again, each from http://images.cocodataset.org/{split}/NAME.jpg, and run this again.'
    run_collecting(draw, missing, f'{split}: masks', num_workers, remedy)
    return len(missing)


def _check_rules(folder: Path, rules: dict[str, Any]) -> None:
    """Note by what rules the masks of a folder are made; raise if some are there that were made by others."""
    path = folder / RULES_FILE
    found = path.read_text(encoding='utf-8') if path.is_file() else ''
    text = json.dumps(rules, indent=2) + '\n'
    if found != text and any(folder.glob('*.png')):
        raise FileExistsError(
            f'{folder} holds masks that were made by other rules.\n'
            f'  {RULES_FILE} there: {" ".join(found.split()) or "none"}\n  this run: {" ".join(text.split())}\n'
            '  Move or delete that folder, or choose the same options.'
        )
    write_text(path, text)


def _draw_image(image: CocoImage, images: Path, masks: Path, crowd: str) -> None:
    path, size = images / image.file_name, (image.width, image.height)
    try:
        with Image.open(path) as file:
            found = file.size
            file.draft('RGB', (1, 1))  # JPEG: all data is read, but at an eighth of the size, which is faster
            file.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path}: not a whole image ({error})') from error
    if found != size:
        raise ValueError(
            f'{path}: has {found[0]} x {found[1]} pixels, but its annotations are for {size[0]} x {size[1]}'
        )
    palette = COCOImageLevelDataset.METAINFO['palette']
    save_mask(draw_mask(image, crowd), palette, masks / f'{image.img_id}.png')
