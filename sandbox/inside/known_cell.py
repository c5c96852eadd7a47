"""What the warden knows of one cell: whose it is, how it ended, what its group used."""

from __future__ import annotations

import contextlib
import json
import os
import resource

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


class KnownCell:
    """What the warden knows of one cell, from its order to its group's end."""

    def __init__(self, order: dict[str, Any], status_channel: int) -> None:
        self.number: int = order["cell"]
        self.slot: int | None = order["slot"]
        self.pid = 0
        self.status: int | None = None
        self.ended_by_us = ""
        self._channel = status_channel
        self.cpu_seconds = 0.0
        self.maxrss_kib = 0

    def ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Take in the end of a process of this cell's group."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.maxrss_kib = max(self.maxrss_kib, usage.ru_maxrss)
        if pid == self.pid:
            self.status = status

    def tell(self, event: dict[str, Any]) -> None:
        """Tell the parent; one that does not listen any more is noticed by the loop."""
        with contextlib.suppress(OSError):
            os.write(self._channel, json.dumps(event).encode() + b"\n")

    def over(self, event: dict[str, Any]) -> None:
        """Tell the last there is to tell."""
        self.tell(event)
        os.close(self._channel)
