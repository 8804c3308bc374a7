"""Checks of files and settings whose errors name the remedy."""

import difflib
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from importlib import import_module
from types import ModuleType

import torch

#: Control characters and surrogates.
CONTROL = re.compile('[\x00-\x1f\x7f\ud800-\udfff]')
#: Bytes that file systems allow for a name, without a suffix such as `.jpg`.
LONGEST_NAME = 255 - 4


def first_few(items: Sequence[object], count: int = 3) -> str:
    """List the first items of a sequence that may be long.

    Example:
        >>> first_few(['a', 'b'])
        "'a', 'b'"
        >>> first_few(['a', 'b', 'c', 'd'])
        "'a', 'b', 'c', ... (4 in all)"
    """
    head = ', '.join(map(repr, items[:count]))
    return head if len(items) <= count else f'{head}, ... ({len(items)} in all)'


def closest(name: str, known: Collection[str]) -> str:
    """Return a question that suggests the closest known name, or an empty string.

    Example:
        >>> closest('num_iter', ['num_iters', 'dilations']), closest('x', ['num_iters'])
        ("did you mean 'num_iters'?", '')
    """
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f'did you mean {found[0]!r}?' if found else ''


def check_keys(given: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise a `ValueError` for unexpected keys.

    Args:
        given: Keys of a config.
        known: Expected keys.
        where: Path of the settings in the config, for the message.
    """
    unknown = [key for key in given if key not in known]
    if unknown:
        lines = [f'{where}.{key}: {closest(key, known) or "known are " + ", ".join(known)}' for key in unknown]
        raise ValueError('unexpected keys:\n  ' + '\n  '.join(lines))


def _longest_part(img_id: str) -> int:
    return max(len(part.encode(errors='surrogatepass')) for part in re.split(r'[\\/]', img_id))


def check_ids(ids: Sequence[str], source: str) -> None:
    """Raise a `ValueError` for image ids that leave the image folder, cannot be file names, or are repeated.

    Args:
        ids: Image ids.
        source: Their origin, for the message.
    """
    broken = [i[:80] for i in ids if CONTROL.search(i) or _longest_part(i) > LONGEST_NAME]
    if broken:
        raise ValueError(f'{source}: ids cannot be names of files: {first_few(broken)}.\n  Is this a list of ids?')
    outside = [i for i in ids if osp.isabs(i) or re.match(r'[\\/]|[A-Za-z]:[\\/]', i) or '..' in re.split(r'[\\/]', i)]
    if outside:
        raise ValueError(
            f'{source}: ids must stay in the image folder, got {first_few(outside)}.\n'
            '  Write one id a line: the name of the image, relative to the folder, without its suffix.'
        )
    twice = [i for i, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f'{source}: repeated ids: {first_few(twice)}.\n  Keep each id once.')


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a package that an extra of this one installs.

    Raises:
        ModuleNotFoundError: It is missing.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error.name} is not installed: pip install "afa-mmseg[{extra}]"') from error


def lacks_memory(error: BaseException) -> bool:
    """Whether an error reports that memory ran out; on a CPU torch raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "can't allocate memory" in str(error)


def require_dir(path: str, what: str, remedy: str) -> None:
    """Raise a `FileNotFoundError` unless `path` is a folder."""
    if not osp.isdir(path):
        raise FileNotFoundError(f'{what}: no such folder: {path}\n  {remedy}')


def require_file(path: str, what: str, remedy: str) -> None:
    """Raise a `FileNotFoundError` unless `path` is a file."""
    if not osp.isfile(path):
        raise FileNotFoundError(f'{what}: no such file: {path}\n  {remedy}')


def require_files(folder: str, ids: Sequence[str], suffix: str, what: str, remedy: str) -> None:
    """Raise a `FileNotFoundError` unless `folder/{id}{suffix}` exists for each id.

    Lists the folder (and the subfolders that ids name) once rather than asking for each file.
    """
    require_dir(folder, what, remedy)
    present = {
        osp.join(sub, name)
        for sub in {osp.dirname(i) for i in ids}
        if osp.isdir(osp.join(folder, sub))
        for name in os.listdir(osp.join(folder, sub))
    }
    missing = [i for i in ids if i + suffix not in present]
    if missing:
        raise FileNotFoundError(
            f'{what}: {len(missing)} of {len(ids)} ids have no {suffix} file in {folder}: '
            f'{first_few(missing)}\n  {remedy}'
        )


def check_class_order(trained: Sequence[str], classes: Sequence[str], source: str) -> None:
    """Raise a `ValueError` where a class of the checkpoint has another index in a data set; new names are allowed.

    Args:
        trained: Classes of the checkpoint, background included.
        classes: Of the data set, background included.
        source: Name of the data set, for the message.
    """
    index = {name: number for number, name in enumerate(trained)}
    moved = [name for number, name in enumerate(classes) if index.get(name, number) != number]
    if moved:
        raise ValueError(
            f'class {moved[0]!r} is number {index[moved[0]]} in the checkpoint and {list(classes).index(moved[0])} in '
            f'{source}\n  checkpoint: {", ".join(trained)}\n  data: {", ".join(classes)}\n'
            '  Restore the names that it was trained with: those of a table are sorted, so a new name moves others.'
        )


def check_class_count(num_classes: int, classes: Sequence[str], source: str) -> None:
    """Raise a `ValueError` unless network and data set have the same number of classes.

    Args:
        num_classes: Of the network's head, background included.
        classes: Of the data set, background included.
        source: Name of the data set, for the message.
    """
    if num_classes != len(classes):
        raise ValueError(
            f'model.decode_head.num_classes is {num_classes}, but {source} has {len(classes)} classes, background '
            f'included: {", ".join(classes)}\n'
            f'  Set num_classes={len(classes)} in the config, or correct the classes of the data set.'
        )
