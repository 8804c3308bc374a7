"""Type check of settings against the annotations of a function."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Union, get_args, get_origin

UNIONS = (Union, getattr(types, 'UnionType', Union))


def type_faults(function: Callable[..., Any], values: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield a line for each value whose type is not the annotated one.

    Args:
        function: Its annotated arguments are checked.
        values: By name of the argument.
        path: Prefix of the names.

    Example:
        >>> def refine(num_iters: int, dilations: Sequence[int]) -> None: ...
        >>> list(type_faults(refine, dict(num_iters='many', dilations=(1, 2)), 'refiner'))
        ["refiner.num_iters='many' must be int"]
    """
    hints = typing.get_type_hints(function)
    for name, value in values.items():
        if name in hints and not fits(value, hints[name]):
            hint = hints[name]
            text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
            text = text.replace('typing.', '').replace('collections.abc.', '').replace('NoneType', 'None')
            yield f'{path}.{name}={value!r} must be {text}'


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has a type, as configs write it: lists for tuples, integers for floats.

    Types that are not plain fit any value.

    Example:
        >>> fits([1, 2], tuple[float, float]), fits('1', float), fits(True, int), fits(None, Union[int, None])
        (True, False, False, True)
    """
    origin, arguments = get_origin(hint), [one for one in get_args(hint) if one is not Ellipsis]
    kind = origin or hint
    if origin in UNIONS:
        return any(fits(value, one) for one in arguments)
    if kind in (None, type(None)):
        return value is None
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if kind in (tuple, list, Sequence):
        is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        each = (arguments or [Any]) * (len(value) if is_sequence else 0)
        return is_sequence and all(fits(x, one) for x, one in zip(value, each))
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, kind) if kind in (bool, str) else True
