"""Work on many files that reports all broken ones together."""

from collections.abc import Sequence
from functools import partial
from typing import Callable, Optional, TypeVar

from ...utils import run_parallel

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Messages shown in the error.
NUM_SHOWN = 5


def run_collecting(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
    remedy: str = '',
) -> list[Result]:
    """Call `function` for each image by `run_parallel`, and continue after broken files.

    Args:
        function: Top-level function, or a `functools.partial` of one.
        items: Its arguments, one for each image.
        description: Shown beside the progress bar.
        num_workers: Processes; 0: only this one.
        remedy: Last line of the error.

    Returns:
        Results in the order of the items.

    Raises:
        ValueError: `function` raised a `ValueError` or `FileNotFoundError`; the first few and their number.
    """
    outcomes = run_parallel(partial(_attempt, function), items, description, num_workers)
    messages = [message for _, message in outcomes if message is not None]
    if messages:
        shown = [message.replace('\n', '\n  ') for message in messages[:NUM_SHOWN]]
        more = [f'... and {len(messages) - NUM_SHOWN} more'] if len(messages) > NUM_SHOWN else []
        raise ValueError(
            f'{description}: {len(messages)} of {len(items)} images have a file that cannot be used:\n  '
            + '\n  '.join([*shown, *more, *filter(None, [remedy])])
        )
    return [result for result, _ in outcomes]  # type: ignore[misc]  # none is None without a message


def _attempt(function: Callable[[Item], Result], item: Item) -> tuple[Optional[Result], Optional[str]]:
    try:
        return function(item), None
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)
