"""The supervisor's pipes: the lifeline of its workers, and the signals that it waits for."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Collection, Iterator


@contextlib.contextmanager
def lifeline() -> Iterator[tuple[int, int]]:
    """Yield both ends of a pipe whose only writer is the supervisor: its end is the workers'."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def _noticed(number: int, frame: object) -> None:
    """Do nothing: that there is a handler lets the number go into the wake-up pipe."""


@contextlib.contextmanager
def signal_pipe(numbers: Collection[signal.Signals]) -> Iterator[int]:
    """Yield a descriptor from which the numbers of these signals can be read as they arrive."""
    reader, writer = os.pipe()
    flags = fcntl.fcntl(writer, fcntl.F_GETFL)
    fcntl.fcntl(writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    before = {number: signal.signal(number, _noticed) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
