"""Work on many files that reports all broken ones together."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Callable, Optional, TypeVar

from ...utils import run_parallel

Item = TypeVar('Item')

#: Messages shown in the error.
NUM_SHOWN = 5


def run_collecting(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
    remedy: str = 'Fetch or make them again.',
) -> list:
    """Call `function` for each image by `run_parallel`, and continue after broken files; return the results.

    Raises:
        ValueError: `function` raised a `ValueError` or `FileNotFoundError`; names the first few, and the `remedy`.
    """
    outcomes = run_parallel(partial(_attempt, function), items, description, num_workers)
    messages = [error.replace('\n', '\n  ') for _, error in outcomes if error]
    if messages:
        more = [f'... and {len(messages) - NUM_SHOWN} more'] if len(messages) > NUM_SHOWN else []
        raise ValueError(
            f'{description}: {len(messages)} of {len(items)} images have a file that cannot be used:\n  '
            + '\n  '.join([*messages[:NUM_SHOWN], *more, remedy])
        )
    return [result for result, _ in outcomes]


def _attempt(function: Callable[[Item], Any], item: Item) -> tuple[Any, str]:
    try:
        return function(item), ''
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)
