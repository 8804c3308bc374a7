"""Classes by the names that people type."""

from collections.abc import Sequence
from difflib import get_close_matches


def class_indices(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Look up where class names stand in a list, in the order they are given, each once.

    Args:
        names: What to look up.
        known: The list, foreground classes only.

    Raises:
        ValueError: A name is unknown; the message says what is known, and what may be meant.

    Example:
        >>> class_indices(['dog', 'cat', 'dog'], ('bird', 'cat', 'dog'))
        [2, 1]
        >>> class_indices(['Cats'], ('bird', 'cat', 'dog'))
        Traceback (most recent call last):
        ...
        ValueError: classes (--classes): unknown class 'Cats' (is it 'cat'?); known are bird, cat, dog
    """
    index = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in index:
            raise ValueError(
                f'classes (--classes): unknown class {name!r}{_closest(name, known)}; known are {", ".join(known)}'
            )
    return list(dict.fromkeys(index[name] for name in names))


def _closest(name: str, known: Sequence[str]) -> str:
    lower = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), lower, n=1)
    return f' (is it {lower[near[0]]!r}?)' if near else ''
