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


@contextlib.contextmanager
def nothing_left_open() -> Iterator[None]:
    """Close what was opened meanwhile, when it ends with an exception.

    ``multiprocessing`` leaves two pipes open with each process that it cannot fork. For where no
    other thread opens anything.
    """
    before = _open_now()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for number in _open_now() - before:
                os.close(number)
        raise


def _open_now() -> set[int]:
    listed = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    return {number for number in listed if _is_open(number)}  # not what has listed them


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


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
