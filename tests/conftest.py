"""Golden numbers of the public reference implementation, and the network that they were taken from."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import afa_mmseg  # noqa: F401
from afa_mmseg.engine.shutdown import SIGNALS
from tests.reference_network import at_iteration, build_tiny_segmentor, map_reference_keys

# A shell that starts the tests in the background has them ignore Ctrl-C, and everything that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Some tests fork processes that compute, and the threads of OpenMP do not survive a fork.
torch.set_num_threads(1)

DATA = Path(__file__).parent / 'data'


@pytest.fixture(scope='session')
def golden():
    """Load `tests/data/{name}.npz` as a dict of tensors."""

    def load(name):
        with np.load(DATA / f'{name}.npz') as file:
            return {key: torch.from_numpy(np.array(value)) for key, value in file.items()}

    return load


@pytest.fixture(autouse=True)
def fresh_state():
    """Start each test with mmseg's scope, iteration 0 and the same random numbers, and restore signal handlers."""
    init_default_scope('mmseg')
    at_iteration(0)
    torch.manual_seed(0)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}  # a stopped run leaves its own
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def tiny_segmentor():
    """Our segmentor of the golden tiny network, with its golden weights, in evaluation mode."""
    segmentor = build_tiny_segmentor()
    state = torch.load(DATA / 'tiny/wetr_tiny.pth', weights_only=True)
    segmentor.load_state_dict(map_reference_keys(state), strict=True)
    return segmentor.eval()
