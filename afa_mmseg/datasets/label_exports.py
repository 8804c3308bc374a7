"""Image-level labels as other tools write them: COCO JSON, Label Studio's JSON export, a folder for each class."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Union
from urllib.parse import parse_qs, unquote, urlsplit

from .images import IMAGE_SUFFIXES, find_images
from .label_tables import Labels

#: Names of the background in files of other tools; it is no tag.
BACKGROUND_NAMES = ('background', '__background__', '_background_')
#: What Label Studio puts before the name of an uploaded file.
UPLOAD_PREFIX = re.compile('[0-9a-f]{8}-')
LABEL_STUDIO_REMEDY = 'Export the project from Label Studio again, as JSON (not JSON-MIN).'


def is_coco(content: Any) -> bool:
    """Return whether JSON is an annotation file of COCO's form."""
    return isinstance(content, Mapping) and {'images', 'annotations', 'categories'} <= content.keys()


def labels_of_coco(content: Mapping[str, Any], where: str) -> Labels:
    """Return the categories of each image's annotations, crowds included; classes are in the order of category ids.

    Args:
        content: The file, with `images`, `annotations` and `categories`; ids are the names of image files.
        where: Name of the file in messages.

    Raises:
        ValueError: A field is missing, an annotation is of no image or category, or two images have the same name.
    """
    try:
        categories = sorted(content['categories'], key=lambda category: category['id'])
        name_of = {category['id']: category['name'] for category in categories}
        names: dict[Any, list[str]] = {image['id']: [] for image in content['images']}
        for item in content['annotations']:
            names[item['image_id']].append(name_of[item['category_id']])
        entries = {image['file_name']: _tags(names[image['id']]) for image in content['images']}
        classes = _tags(name_of.values())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: has COCO's form, but {type(error).__name__}: {error}; export it again") from error
    if len(entries) < len(content['images']):
        raise ValueError(f'{where}: two of its `images` have the same `file_name`; keep one, or rename it')
    return Labels(entries, classes)


def labels_of_label_studio(tasks: Sequence[Any], where: str) -> Labels:
    """Return the choices and the labels of rectangles, brushes and polygons of each task, of all its annotations.

    Tasks without a submitted annotation are left out: nobody has labelled them yet. Ids are names of image files,
    without folders and without what Label Studio adds to uploads.

    Args:
        tasks: The export.
        where: Name of the file in messages.

    Raises:
        ValueError: It is another form of export, or two tasks are of the same image.
    """
    entries: dict[str, list[str]] = {}
    for number, task in enumerate(tasks, 1):
        try:
            submitted = [item['result'] for item in task['annotations'] if not item.get('was_cancelled')]
            kinds = [(result['type'], result.get('value', {})) for results in submitted for result in results]
            named = [value.get(kind, []) for kind, value in kinds if kind == 'choices' or kind.endswith('labels')]
            names, img_id = _tags(name for group in named for name in group), _image_name(task['data'])
        except (KeyError, TypeError, AttributeError) as error:
            fault = f'has no {error}' if isinstance(error, KeyError) else f'is of another form: {error}'
            raise ValueError(f'{where}: task {number} {fault}\n  {LABEL_STUDIO_REMEDY}') from error
        if img_id in entries:
            raise ValueError(f'{where}: two tasks are of {img_id!r}; keep one, or rename one of the images')
        if submitted:
            entries[img_id] = names
    return Labels(entries)


def labels_of_folders(folder: Union[str, Path]) -> Labels:
    """Return the subfolders that images lie in, one for each class; ids are paths from `folder`.

    A file that lies in several of them, under the same name and with the same content, has all of their tags. Images
    in a folder `background` have none.

    Raises:
        ValueError: There are no images, or one lies in none of the subfolders.
    """
    files = {img_id: PurePosixPath(file) for img_id, file in find_images(str(folder), IMAGE_SUFFIXES).files.items()}
    loose = [file for file in files.values() if len(file.parts) == 1]
    if loose or not files:
        fault = f'{loose[0]} lies in none of its subfolders' if loose else 'holds no images'
        raise ValueError(f'label folder {folder}: {fault}\n  Put images in a folder for each class: cat/IMG_0001.jpg.')
    times = Counter(file.name for file in files.values())
    keys = {i: _content_key(Path(folder, file)) if times[file.name] > 1 else i for i, file in files.items()}
    folders: dict[str, list[str]] = {}
    for img_id, key in keys.items():
        folders.setdefault(key, []).append(files[img_id].parts[0])
    classes = sorted(_tags(file.parts[0] for file in files.values()))
    return Labels({img_id: _tags(sorted(folders[key])) for img_id, key in keys.items()}, classes)


def _content_key(path: Path) -> str:
    return f'{path.name}:{hashlib.blake2b(path.read_bytes()).hexdigest()}'


def _tags(names: Iterable[str]) -> list[str]:
    """Return each name once, without the background."""
    return [name for name in dict.fromkeys(names) if name.lower() not in BACKGROUND_NAMES]


def _image_name(data: Mapping[str, Any]) -> str:
    """Return the file name of a task's image, from an upload, a local path, or the address of a bucket or server."""
    for text in filter(lambda value: isinstance(value, str), [data.get('image'), *data.values()]):
        parts = urlsplit(text)
        path = parse_qs(parts.query).get('d', [unquote(parts.path)])[0]  # /data/local-files/?d=folder/name.jpg
        name = re.split(r'[\\/]', path)[-1]
        if name.lower().endswith(IMAGE_SUFFIXES):
            return UPLOAD_PREFIX.sub('', name, count=1) if '/upload/' in parts.path else name
    raise KeyError('image file in its `data`')
