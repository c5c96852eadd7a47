"""The warden of a system whose kernel cannot confine: process groups, rlimits, nothing more.

Only for the operator's explicit word that less will do. There is no zygote: with nothing to give
up before a plugin runs, the warden forks cells itself. POSIX calls alone, so it has no subreaper
and no ``waitid``: orphans of a cell are found by its process group.
"""

from __future__ import annotations

import errno
import os
import socket

from . import cell, privileges
from .groups import kill_group
from .warden import Warden

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .syscalls import Rights
    from .warden import Cells


def main(rights: Rights | None, profile: dict[str, Any], control: socket.socket) -> NoReturn:
    """Serve one box until the parent is gone."""
    os.setsid()
    warden = PortableWarden(control)
    try:
        become_box_user(rights, profile)
    except OSError as error:
        warden.report({"event": "failed", **cell.failure(error)})
        os._exit(1)
    warden.report({"event": "ready"})
    warden.serve(ForkedCells(profile, control, warden), profile)


def become_box_user(rights: Rights | None, profile: dict[str, Any]) -> None:
    """Leave root behind, with all that this system can tell apart of its rights."""
    if profile["uid"] is not None:
        privileges.become(rights, profile["uid"])
    if rights is not None:
        privileges.give_up(rights)
    privileges.check(rights, profile)


class ForkedCells:
    """Makes cells by a plain fork of the warden."""

    scope = None
    hears_kills = False

    def __init__(self, profile: dict[str, Any], control: socket.socket, warden: Warden) -> None:
        self._profile = profile
        self._plan = cell.Plan(None, profile)
        self._control = control
        self._warden = warden
        self.group = os.getpid()

    def fileno(self) -> int:
        """Return that there is nobody to hear."""
        return -1

    def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
        """Fork a cell and return its process."""
        scratch = f"{self._profile['scratch']}/{order['slot']}/work"
        os.makedirs(scratch, 0o700)
        pid = os.fork()
        if pid == 0:
            self._control.close()
            self._warden.close_signals()
            cell.default_signals()
            cell.prepare(scratch, descriptors)
            limits = cell.own_limits(self._profile, 0, is_loaded=False)
            cell.enter(self._plan, cell.open_channel(), limits, scratch)
        return pid

    def release(self, slot: int) -> None:
        """Leave it: the box has one cell, and its end removes all scratch."""

    def renew(self, _slot: int, _pid: int, *, aside: bool) -> None:  # noqa: ARG002 - as the other one
        """Refuse: nobody here could tell whether the old one is used still."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def receive(self) -> bytes:
        """Return that nothing is ever reported."""
        return b""

    def inspect(self, *, threads: bool) -> list[str]:  # noqa: ARG002 - as the other one
        """Return why there are no warm boxes here: cells are not kept apart."""
        return ["this system cannot keep calls apart"]

    def shared(self, _pid: int) -> str:
        """Return nothing: no cell is made of a loaded plugin here."""
        return ""

    def is_new_cell(self, _pid: int) -> bool:
        """Return true: this process made it itself."""
        return True


class PortableWarden(Warden):
    """A warden without ``waitid`` and without the orphans of its cells."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control, own_session=False)

    def _is_gone(self, _group: int) -> bool:
        # Orphans become init's, which tells nobody here when it has reaped them.
        return True

    def _reap(self, cells: Cells) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for known in self._cells.values():
                if known.pid == pid:
                    known.ended(pid, status, usage)
                    kill_group(pid)
        self._report_ends(cells)

    def sweep(self, _cells: object) -> None:
        """Kill every group that is left."""
        for group in self._cells:
            kill_group(group)
