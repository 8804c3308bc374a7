"""torchrun that ends with one line about the rank that failed; the message of that rank stands above it.

Started by dist_train.sh and dist_test.sh with the options of torchrun. --verbose, or AFA_VERBOSE=1 in the environment,
shows torchrun's own messages instead.
"""

import logging
import os
import signal
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

#: torchrun's loggers; the second has a level of its own.
QUIET = ('torch.distributed.elastic', 'torch.distributed.elastic.agent.server.api')
#: Failures this close together have one cause: torchrun stamps them in whole seconds, some only when it looks.
TOGETHER_SECONDS = 3


def first_cause(error: ChildFailedError) -> tuple[int, ProcessFailure]:
    """Return the rank that failed first, and how.

    torchrun notices a killed rank when it looks, which may be after others have failed for want of it. So of failures
    close together, killed ranks come first, and those that torchrun itself ended (SIGTERM) last.
    """
    earliest = min(failure.timestamp for failure in error.failures.values())

    def order(item: tuple[int, ProcessFailure]) -> tuple[int, int]:
        failure = item[1]
        if failure.timestamp > earliest + TOGETHER_SECONDS or failure.exitcode == -signal.SIGTERM:
            return 2, failure.timestamp
        return int(failure.exitcode > 0), failure.timestamp

    return min(error.failures.items(), key=order)


def main() -> None:
    """Run torchrun; exit with the code of the rank that failed first."""
    if '--verbose' in sys.argv or os.environ.get('AFA_VERBOSE', '0') not in ('', '0'):
        sys.exit(run.main())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        run.run(run.parse_args(None))
    except ChildFailedError as error:
        rank, failure = first_cause(error)
        ending = failure.signal_name() if failure.exitcode < 0 else f'exit code {failure.exitcode}'
        name = os.path.basename(error.name)
        print(f'{name}: rank {rank} ended with {ending}; its message stands above', file=sys.stderr)
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:  # the ranks have stopped, and reported how to resume
        sys.exit(128 + error.sigval)


if __name__ == '__main__':
    main()
