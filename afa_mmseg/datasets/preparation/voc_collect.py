"""Work on many files that reports all broken ones together."""

from collections.abc import Sequence
from functools import partial
from typing import Callable, Optional, TypeVar

from ...tooling import run_parallel

Result = TypeVar('Result')

#: Messages shown of those that there are.
NUM_SHOWN = 5


def run_collecting(
    function: Callable[[str], Result], ids: Sequence[str], description: str, num_workers: Optional[int] = None
) -> list[Result]:
    """Call `function` with each id, as `run_parallel` does, and go on after broken files.

    Args:
        function: Top-level function, or a `functools.partial` of one.
        ids: What to call it with.
        description: Shown beside the progress bar.
        num_workers: Processes; 0: none but this one.

    Returns:
        Results in the order of the ids.

    Raises:
        ValueError: `function` raised a `ValueError` or `FileNotFoundError`; the first few and their number.
    """
    results, messages = [], []
    for result, message in run_parallel(partial(_attempt, function), ids, description, num_workers):
        if message is not None:
            messages.append(message)
        elif result is not None:
            results.append(result)
    if messages:
        shown = [message.replace('\n', '\n  ') for message in messages[:NUM_SHOWN]]
        if len(messages) > NUM_SHOWN:
            shown.append(f'... and {len(messages) - NUM_SHOWN} more')
        raise ValueError(
            f'{description}: {len(messages)} of {len(ids)} pictures have a file that cannot be used:\n  '
            + '\n  '.join(shown)
        )
    return results


def _attempt(function: Callable[[str], Result], img_id: str) -> tuple[Optional[Result], Optional[str]]:
    try:
        return function(img_id), None
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)
