"""Reading of COCO's `instances_*.json`: everything is checked once, and small in memory."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

from ...utils.checks import first_few
from .coco_shapes import Shape, compact_polygons, drop_short_polygons, read_shape

#: A picture's name is a file of its folder; ids in lists are names without `.jpg`.
FILE_NAME = re.compile(r'\w[\w.-]*\.jpg')
REMEDY = 'Unpack annotations_trainval2014.zip of https://cocodataset.org again.'


class Region(NamedTuple):
    """An annotation: where one object, or one crowd, of a class is.

    Args:
        id: Annotation id.
        label: Class index; background is 0.
        crowd: Whether it outlines a group (`iscrowd`).
        shape: Polygons [x0, y0, x1, y1, ...] in pixels, or a run-length encoding, `counts` and `size`.
    """

    id: int
    label: int
    crowd: bool
    shape: Shape


class Picture(NamedTuple):
    """A picture with its annotations; sizes in pixels."""

    file_name: str
    width: int
    height: int
    regions: list[Region]

    @property
    def img_id(self) -> str:
        """Name without suffix."""
        return self.file_name[: -len('.jpg')]


class Instances(NamedTuple):
    """What an annotation file holds.

    Args:
        pictures: In the order of their numbers.
        digest: SHA-256 of the file.
        short_polygons: Ids of annotations some of whose polygons have fewer than three corners; these enclose
            nothing and are left out.
    """

    pictures: list[Picture]
    digest: str
    short_polygons: list[int]


def read_instances(path: Union[str, Path], classes: Sequence[str]) -> Instances:
    """Read and check an annotation file of COCO.

    Args:
        path: `instances_train2014.json` or `instances_val2014.json`.
        classes: Names of the foreground classes in the order of their category ids; the first one gets index 1.

    Raises:
        ValueError: The file is no whole JSON; a list or a field is missing or malformed; categories are not
            `classes`; an id is there twice or refers to nothing; a picture's name leaves its folder; an outline
            does not fit its picture.
    """
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    source = f'annotation file {path}'
    content = _parse(data, source)
    del data
    labels = _label_of_category(_records(content, 'categories', source), classes, source)
    pictures = _read_pictures(_records(content, 'images', source), source)
    short = _add_regions(pictures, _records(content, 'annotations', source), labels, source)
    return Instances([pictures[number] for number in sorted(pictures)], digest, short)


def _parse(data: bytes, source: str) -> dict[str, Any]:
    try:
        content = json.loads(data, object_hook=_compact)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{source}: not valid JSON ({error}).\n  {REMEDY}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{source}: holds a {type(content).__name__}, not an object.\n  {REMEDY}')
    return content


def _compact(record: dict[str, Any]) -> dict[str, Any]:
    """Turn the polygons of an annotation into arrays while the rest is still being read: an eighth of the memory."""
    if not isinstance(record.get('segmentation'), list):
        return record
    kept = ('id', 'image_id', 'category_id', 'iscrowd')
    return {
        **{key: record[key] for key in kept if key in record},
        'segmentation': compact_polygons(record['segmentation']),
    }


def _records(content: dict[str, Any], key: str, source: str) -> list[dict[str, Any]]:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(
            f'{source}: `{key}` is {"missing" if key not in content else "not a list of objects"}; '
            f'it takes instances_train2014.json or instances_val2014.json.\n  {REMEDY}'
        )
    _check_unique((_field(record, 'id', int, f'{source}, `{key}`') for record in records), f'{source}: ids of `{key}`')
    return records


def _field(record: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = record.get(key)
    if not isinstance(value, kind):
        shown = 'missing' if key not in record else repr(value)
        raise ValueError(f'{where}: `{key}` is {shown}, expected {kind.__name__}.\n  {REMEDY}')
    return value


def _check_unique(values: Iterable[Hashable], what: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f'{what} are there twice: {first_few(twice)}.\n  {REMEDY}')


def _label_of_category(records: list[dict[str, Any]], classes: Sequence[str], source: str) -> dict[int, int]:
    """Number the categories 1, 2, ... by ascending id."""
    records = sorted(records, key=lambda record: record['id'])
    names = [_field(record, 'name', str, f'{source}, category {record["id"]}') for record in records]
    unknown = [name for name in names if name not in classes]
    missing = [name for name in classes if name not in names]
    if unknown or missing:
        difference = [
            f'{first_few(found)} {verb}' for found, verb in ((unknown, 'unknown'), (missing, 'missing')) if found
        ]
        raise ValueError(f"{source}: `categories` are not COCO's {len(classes)}: {'; '.join(difference)}.\n  {REMEDY}")
    for name, expected, record in zip(names, classes, records):
        if name != expected:
            raise ValueError(
                f'{source}: `categories` are in another order: category {record["id"]} is {name!r}, '
                f'expected {expected!r}.\n  {REMEDY}'
            )
    return {record['id']: label for label, record in enumerate(records, 1)}


def _read_pictures(records: list[dict[str, Any]], source: str) -> dict[int, Picture]:
    if not records:
        raise ValueError(f'{source}: `images` is empty.\n  {REMEDY}')
    pictures = {}
    for record in records:
        where = f'{source}, image {record["id"]}'
        name = _field(record, 'file_name', str, where)
        if not FILE_NAME.fullmatch(name):
            raise ValueError(
                f'{where}: `file_name` is {name!r}; it must be the plain name of a .jpg in the picture folder, such as '
                f'COCO_val2014_000000000042.jpg.\n  {REMEDY}'
            )
        width, height = (_field(record, side, int, where) for side in ('width', 'height'))
        pictures[record['id']] = Picture(name, width, height, [])
    _check_unique((picture.file_name for picture in pictures.values()), f'{source}: `file_name`s of `images`')
    return pictures


def _add_regions(
    pictures: dict[int, Picture], records: list[dict[str, Any]], labels: dict[int, int], source: str
) -> list[int]:
    """Give the pictures their annotations; return the ids of those that lost polygons."""
    short = []
    for record in records:
        where = f'{source}, annotation {record["id"]}'
        picture = pictures.get(_field(record, 'image_id', int, where))
        if picture is None:
            raise ValueError(f'{where}: `image_id` is {record["image_id"]}, which `images` lacks.\n  {REMEDY}')
        category = _field(record, 'category_id', int, where)
        if category not in labels:
            raise ValueError(f'{where}: `category_id` is {category}, which `categories` lacks.\n  {REMEDY}')
        crowd = record.get('iscrowd', 0)
        if crowd not in (0, 1):
            raise ValueError(f'{where}: `iscrowd` is {crowd!r}, expected 0 or 1.\n  {REMEDY}')
        try:
            shape = read_shape(record.get('segmentation'), picture.height, picture.width)
        except ValueError as error:
            raise ValueError(f'{where}, of {picture.file_name}: {error}.\n  {REMEDY}') from error
        whole = drop_short_polygons(shape)
        if whole is not shape:
            short.append(record['id'])
        picture.regions.append(Region(record['id'], labels[category], bool(crowd), whole))
    return short
