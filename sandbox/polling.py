"""Waiting for descriptors of any number, by poll(2).

The kernel refuses with EINVAL to wait for more descriptors than a process may have now: one that
has opened them before its limit was lowered (poll(2), RLIMIT_NOFILE). It is told as what it is.
"""

from __future__ import annotations

import errno
import os
import select
import socket


def wait(poll: select.poll, seconds: float) -> dict[int, int]:
    """Return what has happened to which descriptors, after so long at most; raises OSError."""
    try:
        return dict(poll.poll(seconds * 1000))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error


def readable(source: socket.socket | int, seconds: float) -> bool:
    """Wait until a descriptor is readable; raises OSError."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(wait(poll, seconds))
