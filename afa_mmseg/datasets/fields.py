"""Checks of what a config gives a data set, before anything is read."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..utils.checks import check_keys, first_few

METAINFO_REMEDY = "write metainfo=dict(classes=['background', 'cat', 'dog'])"


def check_paths(owner: str, **fields: Any) -> None:
    """Raise a `ValueError` for a field that is neither a path nor None.

    Args:
        owner: Class of the data set, for messages.
        fields: By name.
    """
    for name, value in fields.items():
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise ValueError(f'`{name}` of {owner} is {value!r}; write one path, as text')


def check_prefix(owner: str, prefix: Any, known: Sequence[str]) -> dict:
    """Give `data_prefix` as a dict of texts; raise a `ValueError` unless it has known keys and paths."""
    if not isinstance(prefix or {}, Mapping):
        raise ValueError(f"`data_prefix` of {owner} is {prefix!r}; write dict(img_path='folder of pictures')")
    prefix = dict(prefix or {})
    check_keys(prefix, known, f'{owner}.data_prefix')
    check_paths(owner, **{f'data_prefix.{name}': value for name, value in prefix.items()})
    return {name: None if value is None else os.fspath(value) for name, value in prefix.items()}


def check_suffixes(owner: str, img_suffix: Any, seg_map_suffix: Any) -> None:
    """Raise a `ValueError` unless `img_suffix` is a text or several, and `seg_map_suffix` a text."""
    several = isinstance(img_suffix, (list, tuple)) and all(isinstance(suffix, str) for suffix in img_suffix)
    if not isinstance(img_suffix, str) and not (several and img_suffix):
        raise ValueError(f"`img_suffix` of {owner} is {img_suffix!r}; write '.jpg', or several: ['.jpg', '.png']")
    if not isinstance(seg_map_suffix, str):
        raise ValueError(f"`seg_map_suffix` of {owner} is {seg_map_suffix!r}; write one: '.png'")


def check_class_list(owner: str, classes: Any) -> None:
    """Raise a `ValueError` unless `classes` are names, each there once."""
    field = f'`metainfo` of {owner}: `classes`'
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) and name.strip() for name in classes):
        raise ValueError(f'{field} is {classes!r}; {METAINFO_REMEDY}, a list of names')
    twice = [name for name in dict.fromkeys(classes) if classes.count(name) > 1]
    if twice:
        raise ValueError(f'{field} names {first_few(twice)} twice; keep one of them, or rename it')
