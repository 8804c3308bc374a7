"""`SegmentationClassAug` as a zip, the way it is passed around."""

import io
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Union

from ...utils import atomic_path
from ...utils.checks import first_few, require_file
from .voc_masks import MaskSource, load_mask
from .voc_tree import VOCTree

FOLDER = 'SegmentationClassAug'
#: What file managers add to archives.
JUNK = re.compile(r'(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)')
#: Far more than a mask of VOC takes.
MAX_BYTES = 64 * 2**20


def open_zip(tree: VOCTree, path: Union[str, Path]) -> tuple[MaskSource, list[str]]:
    """Find the masks of a zip; nothing is ever unpacked but them, each under the name of its picture.

    Args:
        tree: The VOC folder.
        path: Zip with entries `SegmentationClassAug/ID.png`.

    Returns:
        The masks, and the names of entries that are something else.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no whole zip, holds no masks or one twice, or has entries that lead out of the folder
            that it is unpacked to.
    """
    path = Path(path)
    require_file(str(path), 'zip of masks', 'Correct --aug-zip, or use --sbd.')
    masks, others = _list_entries(path)
    return MaskSource(path.name, frozenset(masks), partial(_extract_mask, tree, path)), others


def _list_entries(path: Path) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(path, archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError(f'{path}: is no zip, or is truncated ({error}); fetch it again') from error
    masks = {PurePosixPath(entry.filename).stem: entry for entry in entries if _is_mask(entry.filename)}
    others = [e.filename for e in entries if not _is_mask(e.filename) and not JUNK.search(e.filename)]
    if not masks:
        raise ValueError(
            f'{path}: holds no {FOLDER}/ID.png; its entries look like {first_few(others)}.\n'
            f'  Give the zip of that folder, or pack it: zip -r {FOLDER}.zip {FOLDER}'
        )
    return masks, others


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    bad = [entry.filename for entry in entries if _leaves_folder(entry.filename) or _is_link(entry)]
    if bad:
        raise ValueError(
            f'{path}: has entries that lead out of the folder it is unpacked to: {first_few(bad)}; nothing was '
            'unpacked.\n  Do not use this file; fetch it from a source that you trust.'
        )
    counts = Counter(PurePosixPath(e.filename).stem for e in entries if _is_mask(e.filename))
    twice = [img_id for img_id, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f'{path}: holds masks of the same id twice: {first_few(twice)}; keep one of each')


def _leaves_folder(name: str) -> bool:
    return name[:1] in '/\\' or bool(re.match('[A-Za-z]:', name)) or '..' in re.split(r'[\\/]', name)


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _is_mask(name: str) -> bool:
    entry = PurePosixPath(name)
    return entry.suffix == '.png' and entry.parent.name == FOLDER and not JUNK.search(name)


@lru_cache(maxsize=1)
def _open_archive(path: Path, *stamp: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open the zip once for each process (forked ones must not share a file position) and each state of it."""
    return zipfile.ZipFile(path), _list_entries(path)[0]


def _extract_mask(tree: VOCTree, path: Path, img_id: str) -> None:
    archive, masks = _open_archive(path, os.getpid(), path.stat().st_mtime_ns)
    name = f'{masks[img_id].filename} of {path}'
    data = _read_entry(archive, masks[img_id], name)
    load_mask(io.BytesIO(data), name, tree.picture_size(img_id))
    with atomic_path(tree.aug_masks / f'{img_id}.png') as temporary:
        temporary.write_bytes(data)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    if entry.file_size > MAX_BYTES:
        raise ValueError(f'mask {name}: takes {entry.file_size} bytes, which no mask of VOC does; fetch the zip again')
    try:
        return archive.read(entry)
    # RuntimeError: encrypted; NotImplementedError: a compression that zipfile does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f'mask {name}: cannot be unpacked ({error}); fetch the zip again') from error
