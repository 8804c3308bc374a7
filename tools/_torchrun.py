"""torchrun that ends with one line about the rank that failed; the message of that rank stands above it.

Started by dist_train.sh and dist_test.sh with the options of torchrun. --verbose, or AFA_VERBOSE=1 in the environment,
shows torchrun's own messages instead.
"""

import logging
import os
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

if '--verbose' in sys.argv or os.environ.get('AFA_VERBOSE', '0') not in ('', '0'):
    sys.exit(run.main())
logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
try:
    run.run(run.parse_args(None))
except ChildFailedError as error:
    rank, failure = error.get_first_failure()
    ending = failure.signal_name() if failure.exitcode < 0 else f'exit code {failure.exitcode}'
    print(f'{os.path.basename(error.name)}: rank {rank} ended with {ending}; its message stands above', file=sys.stderr)
    sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
except SignalException as error:  # the ranks have stopped, and reported how to resume
    sys.exit(128 + error.sigval)
