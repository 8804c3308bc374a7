"""Work on many files that reports all broken ones together."""

from collections.abc import Sequence
from functools import partial
from typing import Callable, Optional, TypeVar

from ...utils import run_parallel

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Messages shown of those that there are.
NUM_SHOWN = 5


def run_collecting(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    num_workers: Optional[int] = None,
    remedy: str = '',
) -> list[Result]:
    """Call `function` for each picture, as `run_parallel` does, and go on after broken files.

    Args:
        function: Top-level function, or a `functools.partial` of one.
        items: What to call it with, one for each picture.
        description: Shown beside the progress bar.
        num_workers: Processes; 0: none but this one.
        remedy: Ends the message about broken files.

    Returns:
        Results in the order of the items.

    Raises:
        ValueError: `function` raised a `ValueError` or `FileNotFoundError`; the first few and their number.
    """
    results, messages = [], []
    for result, message in run_parallel(partial(_attempt, function), items, description, num_workers):
        if message is not None:
            messages.append(message)
        elif result is not None:
            results.append(result)
    if messages:
        shown = [message.replace('\n', '\n  ') for message in messages[:NUM_SHOWN]]
        if len(messages) > NUM_SHOWN:
            shown.append(f'... and {len(messages) - NUM_SHOWN} more')
        raise ValueError(
            f'{description}: {len(messages)} of {len(items)} pictures have a file that cannot be used:\n  '
            + '\n  '.join([*shown, *filter(None, [remedy])])
        )
    return results


def _attempt(function: Callable[[Item], Result], item: Item) -> tuple[Optional[Result], Optional[str]]:
    try:
        return function(item), None
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)
