"""Whom the processes of a box may signal: their own call's. For kernels whose Landlock cannot say.

The zygote installs a filter that asks before a signal is sent (SECCOMP_RET_USER_NOTIF, see
seccomp_unotify(2)); the warden has the other end and answers. A call is a process group, which
nobody can leave, so a signal may go to the sender's own group and to no other process.

Where Landlock can say, only a SIGKILL is asked about, and always allowed: a call that has killed
itself is told from one that was killed from outside.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct

from .seccomp import SIGNAL_ARGUMENT
from .seccomp_table import OTHER_SIGNALS, SIGNALS_BY_NUMBER
from .syscalls import ARCHITECTURES, Kernel, machine

# linux/seccomp.h: two structs and the requests that carry them.
_NOTICE = struct.Struct("=QIIiIQ6Q")  # id, thread, flags; number, architecture, address, arguments
_ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1


class SignalScope:
    """Answers whether a signal may be sent. Never waits: each answer is a few system calls."""

    def __init__(self, kernel: Kernel, listener: int, *, decides: bool) -> None:
        """``listener``: the descriptor of the filter that asks. ``decides``: or only hears."""
        column = ARCHITECTURES.index(machine())
        self._kernel = kernel
        self._listener = listener
        self._decides = decides
        calls = SIGNALS_BY_NUMBER | OTHER_SIGNALS
        self._signals = {calls[name][column]: place for name, place in SIGNAL_ARGUMENT.items()}
        self._kill = SIGNALS_BY_NUMBER["kill"][column]
        self._tkill = OTHER_SIGNALS["tkill"][column]
        self._by_descriptor = OTHER_SIGNALS["pidfd_send_signal"][column]

    def fileno(self) -> int:
        """Return the descriptor on which questions come."""
        return self._listener

    def answer(self) -> tuple[int, bool] | None:
        """Answer one question; return the process group that asked, ``None`` if it is gone.

        With it, whether what is sent may kill the group's first process.
        """
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, notice)
            asked, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
            # It waits for its answer, so its number is its own until that has been sent.
            group = os.getpgid(thread)
        except OSError:
            return None
        target, last = _as_int(arguments[0]), _as_int(arguments[1])
        kills = _as_int(arguments[self._signals[number]]) == signal.SIGKILL and (
            target in {group, 0, -1, -group} or number == self._by_descriptor
        )
        if not self._decides:
            is_own = True
        elif number == self._kill and target <= 0:
            is_own = target in {0, -group}
        elif number == self._tkill:
            is_own = target == thread
        else:
            is_own = self._kernel.is_thread_of(thread, target)
        if is_own:
            self._send(asked, flags=_CONTINUE)
        elif number == self._kill and target > 0:
            self._send_within(asked, group, target, last)
        else:
            self._send(asked, error=errno.EPERM)
        return group, kills

    def _send_within(self, asked: int, group: int, target: int, number: int) -> None:
        """Send a signal to another process of ``group``, or say why not.

        By descriptor: between a question and its answer a number can become another process's.
        The sender is told first, or its own child's end could interrupt it and have it ask again.
        """
        try:
            process = os.pidfd_open(target)
        except ProcessLookupError:
            self._send(asked, error=errno.ESRCH)
            return
        except OSError:  # a thread of another process
            self._send(asked, error=errno.EPERM)
            return
        try:
            if os.getpgid(target) != group:
                raise PermissionError(errno.EPERM, "another call's")
            # It lives, so the number that was looked at was this process's.
            signal.pidfd_send_signal(process, 0)
            _known(number)
            if self._send(asked):
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(process, number)
        except OSError as error:
            self._send(asked, error=error.errno or errno.EPERM)
        finally:
            os.close(process)

    def _send(self, asked: int, *, error: int = 0, flags: int = 0) -> bool:
        """Answer; return whether there is still somebody who asked."""
        try:
            fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(asked, 0, -error, flags))
        except OSError:
            return False
        return True


def _as_int(argument: int) -> int:
    """Return an argument as the kernel takes it: its low half, with a sign."""
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def _known(number: int) -> None:
    if not 0 <= number <= signal.NSIG - 1:
        raise OSError(errno.EINVAL, "there is no such signal")
