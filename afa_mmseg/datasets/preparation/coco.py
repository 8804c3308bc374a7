"""COCO 2014 for image-level training: masks, labels and lists from the official folders."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

from ...utils import remove_leftovers, save_mask, write_text
from ...utils.checks import first_few, require_dir, require_file, require_files
from ..coco import COCOImageLevelDataset
from ..label_files import label_text
from .coco_annotations import Instances, Picture, read_instances
from .coco_masks import CROWD_RULES, check_picture, draw_mask, image_labels
from .coco_shapes import mask_api
from .collect import run_collecting

SPLITS = ('train', 'val')
#: Which lists pictures without annotation are left out of: that of train, none, both.
UNANNOTATED_RULES = ('drop-train', 'keep', 'drop')
#: Goes up with every change of what is drawn, so that old masks are not taken for new ones.
VERSION = 1
#: Lies with the masks and tells how they were made.
RULES_FILE = 'rules.json'
DOWNLOAD = 'Get {} from https://cocodataset.org (2014) and unpack it in {}, or name other --splits.'

Say = Callable[[str], Any]


class Drawn(NamedTuple):
    """What came of a picture: its mode, whether EXIF turns it, and annotations that cover no pixel."""

    mode: str
    turned: bool
    uncovered: tuple[int, ...]


def prepare_coco(
    root: Union[str, Path],
    splits: Sequence[str] = SPLITS,
    crowd: str = 'class',
    unannotated: str = 'drop-train',
    num_workers: Optional[int] = None,
    say: Say = print,
) -> bool:
    """Write what `COCOImageLevelDataset` needs beside COCO's own files, as far as it is not there yet.

    Writes `SegmentationClass/{split}2014/*.png`, `labels_{split}2014.json` and `ImageSets/{split}2014.txt`; how
    masks are drawn stands at `draw_mask`. All pictures get a mask and a label, whatever the list leaves out.

    Args:
        root: Folder that holds `train2014`, `val2014` and `annotations`.
        splits: Of `SPLITS`.
        crowd: One of `CROWD_RULES`.
        unannotated: One of `UNANNOTATED_RULES`.
        num_workers: As `run_parallel` takes it.
        say: Called with each line of the report.

    Returns:
        Whether anything was written.

    Raises:
        FileNotFoundError: A folder, an annotation file or pictures are missing.
        FileExistsError: There are masks that were made otherwise.
        ModuleNotFoundError: pycocotools is not installed.
        ValueError: An option, an annotation file or a picture cannot be used.
    """
    mask_api()
    root = Path(root)
    for name, value, known in (('crowd', crowd, CROWD_RULES), ('unannotated', unannotated, UNANNOTATED_RULES)):
        if value not in known:
            raise ValueError(f'{name} is {value!r}; choose from {", ".join(known)}')
    for split in splits:
        _require_split(root, split)
    written = [_prepare_split(root, f'{split}2014', crowd, unannotated, num_workers, say) for split in splits]
    return any(written)


def _require_split(root: Path, split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f'splits holds {split!r}; choose from {", ".join(SPLITS)}')
    require_dir(str(root), 'COCO_ROOT', 'Make it, and unpack the archives of https://cocodataset.org (2014) in it.')
    remedy = DOWNLOAD.format(f'{split}2014.zip', root)
    require_dir(str(root / f'{split}2014'), f'pictures of {split}', remedy)
    remedy = DOWNLOAD.format('annotations_trainval2014.zip', root)
    require_file(str(_annotation_file(root, f'{split}2014')), f'annotations of {split}', remedy)


def _annotation_file(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}.json'


def _prepare_split(root: Path, split: str, crowd: str, unannotated: str, num_workers: Optional[int], say: Say) -> bool:
    path = _annotation_file(root, split)
    say(f'{split}: reading {path}')
    instances = read_instances(path, COCOImageLevelDataset.METAINFO['classes'][1:])
    _check_folder(root / split, instances, split, say)
    drawn = _draw_masks(root, split, instances, crowd, num_workers, say)
    # Last, since a training needs them: where they are, masks are.
    labels = {picture.img_id: image_labels(picture, crowd) for picture in instances.pictures}
    labelled = _write_labels(root / f'labels_{split}.json', labels, split, say)
    drops = unannotated == 'drop' or (unannotated == 'drop-train' and split.startswith('train'))
    listed = _write_list(root / 'ImageSets' / f'{split}.txt', labels, drops, split, say)
    return drawn or labelled or listed


def _check_folder(folder: Path, instances: Instances, split: str, say: Say) -> None:
    """Raise for pictures that are missing; report what is left out."""
    names = [picture.img_id for picture in instances.pictures]
    remedy = DOWNLOAD.format(f'{split}.zip', folder.parent)
    require_files(str(folder), names, '.jpg', f'pictures of {split}', remedy)
    others = sorted(set(os.listdir(folder)) - {picture.file_name for picture in instances.pictures})
    if others:
        say(f'{split}: files of {folder} that the annotations do not name, left out: {first_few(others)}')
    if instances.short_polygons:
        short = first_few(instances.short_polygons)
        say(f'{split}: polygons of fewer than three corners left out, of annotations {short}')


def _draw_masks(root: Path, split: str, instances: Instances, crowd: str, num_workers: Optional[int], say: Say) -> bool:
    """Draw the masks that are not there, and read those pictures to their end."""
    folder = root / 'SegmentationClass' / split
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    _check_rules(folder, dict(version=VERSION, crowd=crowd, annotations=f'sha256:{instances.digest}'))
    present = set(os.listdir(folder))
    missing = [picture for picture in instances.pictures if f'{picture.img_id}.png' not in present]
    total = len(instances.pictures)
    if not missing:
        say(f'{split}: all {total} masks are there')
        return False
    say(f'{split}: {total - len(missing)} of {total} masks are there')
    draw = partial(_draw_picture, pictures=root / split, masks=folder, crowd=crowd)
    remedy = f'Fetch them again, each from http://images.cocodataset.org/{split}/NAME.jpg, and run this again.'
    _report(run_collecting(draw, missing, f'{split}: masks', num_workers, remedy), split, say)
    return True


def _check_rules(folder: Path, rules: dict[str, Any]) -> None:
    """Note by what rules the masks of a folder are made; raise if some are there that were made otherwise."""
    path = folder / RULES_FILE
    found = path.read_text(encoding='utf-8') if path.is_file() else ''
    text = json.dumps(rules, indent=2) + '\n'
    if found != text and any(folder.glob('*.png')):
        raise FileExistsError(
            f'{folder} holds masks that were made otherwise.\n'
            f'  {RULES_FILE} there: {" ".join(found.split()) or "none"}\n  this run: {" ".join(text.split())}\n'
            '  Move or delete that folder, or choose the same options.'
        )
    write_text(path, text)


def _draw_picture(picture: Picture, pictures: Path, masks: Path, crowd: str) -> Drawn:
    mode, turned = check_picture(pictures / picture.file_name, picture.height, picture.width)
    mask, uncovered = draw_mask(picture, crowd)
    save_mask(mask, COCOImageLevelDataset.METAINFO['palette'], masks / f'{picture.img_id}.png')
    return Drawn(mode, turned, tuple(uncovered))


def _report(results: Sequence[Drawn], split: str, say: Say) -> None:
    """Say what the pictures were like."""
    modes = Counter(result.mode for result in results)
    say(f'{split}: {len(results)} masks drawn; pictures: {", ".join(f"{n} {mode}" for mode, n in modes.most_common())}')
    uncovered = [number for result in results for number in result.uncovered]
    if uncovered:
        say(f'{split}: annotations that cover no pixel (their class counts for the label): {first_few(uncovered)}')
    turned = sum(result.turned for result in results)
    if turned:
        say(f'{split}: {turned} pictures carry an EXIF orientation: loading turns them, but not their masks')


def _write_labels(path: Path, labels: dict[str, list[int]], split: str, say: Say) -> bool:
    """Write class names by picture, a picture a line."""
    classes = COCOImageLevelDataset.METAINFO['classes']
    written = write_text(path, label_text({img_id: [classes[i] for i in label] for img_id, label in labels.items()}))
    say(f'{split}: {path.name} {"written" if written else "is there"}')
    return written


def _write_list(path: Path, labels: dict[str, list[int]], drops: bool, split: str, say: Say) -> bool:
    """Write the ids of the pictures, or of those that show a class."""
    listed = [img_id for img_id, label in labels.items() if label or not drops]
    written = write_text(path, ''.join(f'{img_id}\n' for img_id in listed))
    bare = sum(not label for label in labels.values())
    say(
        f'{split}: {path.parent.name}/{path.name} {"written" if written else "is there"}: {len(listed)} pictures, '
        f'{bare} without annotation {"left out" if drops else "kept"}'
    )
    return written
