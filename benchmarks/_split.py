"""Where the time of a call goes: its methods timed while it runs as it is."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Callable, Union

import torch

#: The name of a part, or what names it at the moment of the call.
Name = Union[str, Callable[[], str]]


class Split:
    """Divide the time of a call among parts; a part does not count what other parts take inside it.

    On a GPU the borders are CUDA events: nothing waits inside the call, and a part's time is the GPU's.

        split = Split(device)
        split.watch(model.backbone, 'forward', 'network')
        with split:
            model(x)
        split.seconds  # {'network': 0.2, 'rest': 0.1}

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._watched: list[tuple[Any, str, Name]] = []
        self._stack: list[str] = []
        self._borders: list[tuple[str, Any]] = []
        self._exit = ExitStack()

    def watch(self, owner: Any, method: str, name: Name) -> None:
        """Have the calls of a method counted as a part."""
        self._watched.append((owner, method, name))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as a part."""
        self._switch()
        self._stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def __enter__(self) -> 'Split':
        for owner, method, name in self._watched:
            self._exit.enter_context(_replaced(owner, method, self._timed(getattr(owner, method), name)))
        self._stack, self._borders = ['rest'], [('', self._now())]
        return self

    def __exit__(self, *error: object) -> None:
        self._switch()
        self._exit.close()
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        self.seconds = defaultdict(float)
        for (_, start), (name, end) in zip(self._borders, self._borders[1:]):
            self.seconds[name] += start.elapsed_time(end) / 1000 if self.device.type == 'cuda' else end - start

    def _timed(self, call: Callable[..., Any], name: Name) -> Callable[..., Any]:
        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name if isinstance(name, str) else name()):
                return call(*args, **kwargs)

        return timed

    def _switch(self) -> None:
        self._borders.append((self._stack[-1], self._now()))

    def _now(self) -> Any:
        if self.device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace a method of an object (not of its class) inside a `with` block."""
    owned = name in vars(owner)
    before = vars(owner).get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if owned:
            object.__setattr__(owner, name, before)
        else:
            object.__delattr__(owner, name)
