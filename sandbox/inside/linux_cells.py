"""Where a warden's cells come from on Linux: the zygote forks them, each gets a scratch."""

from __future__ import annotations

import json
import os
import socket

from . import cell, folders, inspection, namespaces, protocol, zygote
from .box_setup import slot_folder
from .syscalls import Kernel

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


class LinuxCells:
    """Makes cells by way of the zygote, and their scratch folders."""

    def __init__(
        self, kernel: Kernel, profile: dict[str, Any], orders: socket.socket, pid: int
    ) -> None:
        self._kernel = kernel
        self._profile = profile
        self._orders = orders
        self.zygote = self.group = pid
        self._mounts = "mount" in profile["namespaces"]
        self._rulesets: dict[int, int] = {}
        orders.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor on which the zygote reports."""
        return self._orders.fileno()

    def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
        """Hand an order to the zygote, with a scratch; it reports a cell later."""
        scratch = self._make_scratch(order["slot"])
        try:
            message = json.dumps({**order, "scratch": scratch}).encode()
            passed = [*descriptors, *self._ruleset(order["slot"])]
            socket.send_fds(self._orders, [message], passed)
        except OSError:
            self.release(order["slot"])
            raise
        return self.zygote if order["op"] == "load" else None

    def _make_scratch(self, slot: int) -> str:
        scratch = f"{slot_folder(self._profile, slot)}/work"
        if self._mounts:
            owner = (os.getuid(), os.getgid())
            megabytes = self._profile["limits"]["scratch_mb"]
            namespaces.mount_scratch(self._kernel, scratch, megabytes, owner)
        else:
            os.mkdir(scratch, 0o700)
        return scratch

    def renew(self, slot: int, pid: int) -> None:
        """Put a new scratch in the place of one that no process has open, or stands in."""
        folder = slot_folder(self._profile, slot)
        if not self._mounts:
            inspection.check_unused(pid, folder)
            folders.empty_folder(folder)
        elif not os.listdir(f"{folder}/work") and namespaces.is_unused(f"{folder}/work"):
            return
        else:
            self._kernel.unmount(f"{folder}/work", detach=False)
        self._make_scratch(slot)

    def _ruleset(self, slot: int) -> list[int]:
        """Return the Landlock ruleset of a slot's cells, as a list of none or one descriptor.

        It is for the slot's folder, which stays, and so holds for what is mounted or made in it:
        Landlock never looks at the folder below a mount point but at the one that holds it.
        """
        if not self._profile["landlock"]:
            return []
        if slot not in self._rulesets:
            folder = slot_folder(self._profile, slot)
            self._rulesets[slot] = cell.own_ruleset(self._kernel, self._profile, [folder])
        return [self._rulesets[slot]]

    def release(self, slot: int) -> None:
        """Take away the scratch of a cell that is gone."""
        folder = slot_folder(self._profile, slot)
        if self._mounts:
            self._kernel.unmount(f"{folder}/work")
        else:
            folders.empty_folder(folder)

    def receive(self) -> bytes:
        """Return the zygote's next report, or nothing when there is none."""
        # No room for descriptors: a zygote that has run plugin code could send some.
        try:
            return self._orders.recv(4096)
        except ConnectionError:
            return b""

    def is_new_cell(self, pid: int) -> bool:
        """Tell whether ``pid`` is a child of ours that no call has been given yet."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return pid != self.zygote and os.getpgid(pid) == os.getpgid(self.zygote)
        except OSError:
            return False

    def inspect(self, *, threads: bool) -> list[str]:
        """Return what of the zygote, after the import, a fork would break or share."""
        scratch = f"{slot_folder(self._profile, protocol.LOADING_SLOT)}/work"
        last = zygote.LAST_DESCRIPTOR
        return inspection.reasons(self.zygote, last, scratch, threads_matter=threads)
