"""What a host has run out of, whoever asks: descriptors, processes, threads, memory.

Whatever fails for want of these is the host's fault, and may do better later.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

from toolrunner.sandbox.ending import SCARCE

T = TypeVar("T")
REMEDY = (
    "the host is short of processes, memory or descriptors: raise its limits or lower the number "
    "of calls at once"
)
# A process or a thread that cannot be made is refused so; what does not wait is, too.
_NONE_MADE = errno.EAGAIN
# Python has no type of its own for it.
_NO_THREAD = "can't start new thread"


class NoThreadError(OSError):
    """No thread can be started. Nothing of what it was for has begun, or ever will."""

    def __init__(self) -> None:
        super().__init__(_NONE_MADE, "no thread can be started")


def is_shortage(error: BaseException) -> bool:
    """Tell whether something failed for want of what a host runs out of."""
    if isinstance(error, OSError):
        return error.errno in SCARCE or error.errno == _NONE_MADE
    return isinstance(error, MemoryError) or is_thread_refused(error)


def is_thread_refused(error: BaseException) -> bool:
    """Tell whether an error is Python's for a thread that cannot be started."""
    return isinstance(error, RuntimeError) and str(error).startswith(_NO_THREAD)


def remedy_of(error: OSError, otherwise: str = "") -> str:
    """Return what to do about an error: what a shortage needs, or ``otherwise``."""
    return REMEDY if is_shortage(error) else otherwise


def told(error: BaseException) -> str:
    """Return a shortage in words: Python's own are empty, or name none of it."""
    if isinstance(error, MemoryError):
        return "no memory is left"
    if is_thread_refused(error):
        return str(NoThreadError())
    return str(error)


def started(work: Callable[[], None], name: str) -> threading.Thread:
    """Return a daemon thread that does ``work``; raise NoThreadError if none can be started."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if not is_thread_refused(error):
            raise
        raise NoThreadError from error
    return thread


def submit(threads: Executor, work: Callable[[], T]) -> Future[T]:
    """Have a pool's thread do ``work``; raise NoThreadError if none can be started.

    The pool itself keeps what it has raised for, and does it whenever a thread is free: nobody
    would wait for that any more.
    """
    future: Future[T] = Future()

    def do() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            done = work()
        except BaseException as error:  # noqa: BLE001 - it is for who waits
            future.set_exception(error)
        else:
            future.set_result(done)

    try:
        threads.submit(do)
    except RuntimeError as error:
        if not is_thread_refused(error):
            raise
        if future.cancel():
            raise NoThreadError from error
        # A thread was free just now, and does it.
    return future
