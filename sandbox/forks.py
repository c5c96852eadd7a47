"""What becomes of our objects when the application forks: each begins anew in the child.

A fork copies one thread, and beside it every lock as it was held, every descriptor, and numbers of
processes that are the parent's. Whatever has one of these says here what to do in a child. Nothing
of the parent's is used there: no message is sent, no process ended, no file removed.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

Owner = TypeVar("Owner")

_LOG = logging.getLogger("toolrunner.sandbox")


class ForkedError(RuntimeError):
    """Something belongs to the process that this one was forked from."""


class _Forks:
    """The interpreter has one list of fork hooks, so there is one of these."""

    def __init__(self) -> None:
        self.steps: weakref.WeakKeyDictionary[object, Callable[[Any], None]] = (
            weakref.WeakKeyDictionary()
        )
        # One thread may fork while it holds it, as in a signal handler.
        self.lock = threading.RLock()
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def _before(self) -> None:
        self.lock.acquire()

    def _in_parent(self) -> None:
        self.lock.release()

    def _in_child(self) -> None:
        """Let every object begin anew, in the order in which they were made.

        No other thread is there yet, and no locks are needed.
        """
        self.lock = threading.RLock()
        for owner, step in list(self.steps.items()):
            try:
                step(owner)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # One that cannot let go of something must not leave the others as they were.
                _LOG.exception("after a fork, %s could not begin anew", type(owner).__name__)


_FORKS = _Forks()


def in_each_child(owner: Owner, step: Callable[[Owner], None]) -> None:
    """Call ``step(owner)`` in every fork of this process, as long as ``owner`` lives.

    It must neither wait nor take a lock of the parent's, which may be held by a thread that is
    not there. A descriptor that it closes has to be forgotten before it is closed elsewhere: the
    fork may happen in between, when another file has its number already.
    """
    _FORKS.steps[owner] = step


def check_it_is(pid: int) -> None:
    """Raise ``ForkedError`` in a fork of the process that a call belongs to.

    What a caller hears of its call may fork.
    """
    if os.getpid() != pid:
        message = "this process was forked in the middle of the call: its parent goes on with it"
        raise ForkedError(message)


def held_off() -> AbstractContextManager[object]:
    """Let no fork happen meanwhile.

    For descriptors that are on their way to a new process: a copy of one in a fork would keep
    whoever waits for its end waiting for as long as the fork lives. Keep it short.
    """
    return _FORKS.lock
