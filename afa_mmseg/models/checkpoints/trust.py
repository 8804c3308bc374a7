"""The one way to read a checkpoint that holds more than data: a user says that its author may run code here."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

#: Those that have the option; what they write holds tensors and plain values, which all the others read.
TRUSTING_TOOLS = 'tools/train.py, test.py, publish_model.py and model_converters/convert_mit.py'

_trusting: ContextVar[bool] = ContextVar('trusting', default=False)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add `--trust` to a tool's options."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='load checkpoints that hold Python objects, as old ones do; loading runs whatever code the file holds, '
        'with your rights: only for files that you wrote yourself or whose author you trust so far',
    )


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Have checkpoints read by Python's unpickler inside a `with` block, if `trust` is true: it runs what they hold."""
    token = _trusting.set(trust)
    try:
        yield
    finally:
        _trusting.reset(token)


def set_trust(trust: bool) -> None:
    """Have checkpoints read as inside `trusting`, or no longer, until the program ends."""
    _trusting.set(trust)


def is_trusting() -> bool:
    """Whether the user trusts the files that are read now."""
    return _trusting.get()


def run_and_read(path: Any, map_location: Any) -> Any:
    """Load a checkpoint, and run the code that it may hold.

    Raises:
        ValueError: It cannot be loaded in this environment.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except Exception as error:  # the file's own code may raise anything
        raise ValueError(f'{path} cannot be loaded, trusted or not ({type(error).__name__}: {error})') from error
