"""What the warden knows of one cell: whose it is, how it ended, what its group used."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import time

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


# Each costs the warden what a short system call costs a plugin. So many at once, or a second.
MOST_SIGNALS, _SIGNALS_A_SECOND = 10_000, 1000
_TELL_SECONDS = 0.01  # of processor time, of processes that have ended


class KnownCell:
    """What the warden knows of one cell, from its order to its group's end."""

    def __init__(self, order: dict[str, Any], status_channel: int, doors: list[int]) -> None:
        """``doors``: descriptors that put a process in the cell's cgroups; they are the slot's."""
        self.number: int = order["cell"]
        self.slot: int | None = order["slot"]
        self.pid = 0
        self.status: int | None = None
        self.ended_by_us = ""
        self.kills_itself = False  # it has asked for a SIGKILL that may have been its own end
        self._signals, self._signalled = 0.0, 0.0
        self._channel = status_channel
        self.cpu_seconds = 0.0
        self.maxrss_kib = 0
        self._told_seconds = 0.0
        self._doors = doors

    def enter_cgroups(self, pid: int) -> None:
        """Put the cell's process in its cgroups; ``OSError`` if that is refused."""
        for door in self._doors:
            with contextlib.suppress(ProcessLookupError):  # it has ended by now
                os.write(door, str(pid).encode())

    def may_signal(self) -> bool:
        """Count a signal that it asks for; false when it has asked for too many."""
        now = time.monotonic()
        left = self._signals - (now - self._signalled) * _SIGNALS_A_SECOND
        self._signals, self._signalled = max(0.0, left) + 1, now
        return self._signals <= MOST_SIGNALS

    def ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Take in the end of a process of this cell's group."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.maxrss_kib = max(self.maxrss_kib, usage.ru_maxrss)
        if pid == self.pid:
            self.status = status
        elif self.cpu_seconds - self._told_seconds > _TELL_SECONDS:
            self._told_seconds = self.cpu_seconds
            self._tell_what_was_used()

    def _tell_what_was_used(self) -> None:
        """Tell the parent at once what has ended: what lives too short is in no sample.

        It must not wait for a parent that does not listen; the next word says it as well.
        """
        event = {"event": "used", "cpu_ms": round(self.cpu_seconds * 1000)}
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._channel)) as channel,
        ):
            channel.send(json.dumps(event).encode() + b"\n", socket.MSG_DONTWAIT)

    def tell(self, event: dict[str, Any]) -> None:
        """Tell the parent; one that does not listen any more is noticed by the loop."""
        with contextlib.suppress(OSError):
            os.write(self._channel, json.dumps(event).encode() + b"\n")

    def over(self, event: dict[str, Any]) -> None:
        """Tell the last there is to tell."""
        self.tell(event)
        os.close(self._channel)
