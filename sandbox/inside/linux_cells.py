"""Where a warden's cells come from on Linux: the zygote forks them, each gets a scratch."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time

from . import cell, folders, inputs, inspection, kept_files, namespaces, protocol, zygote
from .box_setup import slot_folder
from .signal_scope import SignalScope
from .syscalls import MS_RDONLY, Kernel
from .trash import Trash

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


_UNMOUNT_TRIES, _UNMOUNT_SECONDS = 20, 0.002


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
        self._scratches: dict[int, str] = {}
        self.hears_kills: bool = profile["hears_kills"]
        self._listens = not self.hears_kills
        self.scope: SignalScope | None = None
        self._trash = Trash(profile["scratch"])
        self._files: list[kept_files.KeptFile] = []
        self._caches: list[str] = []
        orders.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor on which the zygote reports."""
        return self._orders.fileno()

    def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
        """Hand an order to the zygote, with a scratch; it reports a cell later."""
        scratch = self._make_scratch(order["slot"])
        try:
            message = json.dumps({**order, "scratch": scratch, "files": self._files}).encode()
            with self._ruleset(order["slot"]) as ruleset:
                socket.send_fds(self._orders, [message], [*descriptors, *ruleset])
        except OSError:
            self.release(order["slot"])
            raise
        return self.zygote if order["op"] == "load" else None

    def _make_scratch(self, slot: int) -> str:
        """Make a slot's scratch, by a name that no other cell can guess."""
        folder = f"{slot_folder(self._profile, slot)}/work"
        scratch = self._scratches.get(slot) or f"{folder}/{os.urandom(8).hex()}"
        if self._mounts:
            owner = (os.getuid(), os.getgid())
            megabytes = self._profile["limits"]["scratch_mb"]
            namespaces.mount_scratch(self._kernel, folder, megabytes, owner)
            try:
                os.mkdir(scratch, 0o700)
            except OSError:
                self.release(slot)
                raise
        else:
            folders.make_inner(folder, os.path.basename(scratch))
        self._scratches[slot] = scratch
        return scratch

    def renew(self, slot: int, pid: int, *, aside: bool) -> None:
        """Put a new scratch in the place of one that no process has open, or stands in.

        ``aside``: one that is in use stays mounted elsewhere.
        """
        folder = slot_folder(self._profile, slot)
        if not self._mounts:
            inspection.check_unused(pid, folder)
            self._trash.throw(f"{folder}/work")
        elif not os.listdir(self._scratches[slot]) and namespaces.is_unused(f"{folder}/work"):
            return
        else:
            try:
                self._kernel.unmount(f"{folder}/work", detach=False)
            except OSError as error:
                if error.errno != errno.EBUSY or not aside:
                    raise
                namespaces.set_aside(self._kernel, f"{folder}/work", f"{folder}/load")
        self._make_scratch(slot)

    @contextlib.contextmanager
    def _ruleset(self, slot: int) -> Iterator[list[int]]:
        """Give the Landlock ruleset of a slot's cells, as a list of none or one descriptor.

        Where a scratch is mounted, it is for the slot's folder, which stays: Landlock never looks
        at the folder below a mount point but at the one that holds it. On a disk it is for the one
        scratch alone, as names in the slot's folder would be there for the next cell; but for a
        resident, whose scratch is renewed under it.
        """
        if not self._profile["landlock"]:
            yield []
        elif self._mounts or self._profile["resident"]:
            if slot not in self._rulesets:
                folder = slot_folder(self._profile, slot)
                self._rulesets[slot] = self._new_ruleset(folder, slot)
            yield [self._rulesets[slot]]
        else:
            ruleset = self._new_ruleset(self._scratches[slot], slot)
            try:
                yield [ruleset]
            finally:
                os.close(ruleset)

    def _new_ruleset(self, writable: str, slot: int) -> int:
        data = [*self._caches, *inputs.of_slot(self._profile, slot)]
        return cell.own_ruleset(self._kernel, self._profile, [writable], data)

    def release(self, slot: int) -> None:
        """Take away the scratch of a cell that is gone.

        ``BlockingIOError``: it is taken away, but something else of the box had got hold of it.
        """
        folder = slot_folder(self._profile, slot)
        self._scratches.pop(slot, None)
        if slot == protocol.LOADING_SLOT and self._caches:
            return  # it stays, for cells to read
        if self._mounts:
            self._unmount(f"{folder}/work")
            return
        self._trash.throw(f"{folder}/work")

    def _unmount(self, scratch: str) -> None:
        for _ in range(_UNMOUNT_TRIES):
            try:
                self._kernel.unmount(scratch, detach=False)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(_UNMOUNT_SECONDS)
            else:
                return
        self._kernel.unmount(scratch)
        raise BlockingIOError(errno.EBUSY, f"{scratch} is in use after its call")

    def receive(self) -> bytes:
        """Return the zygote's next report, or nothing when there is none."""
        # No room for descriptors: a zygote that has run plugin code could send some.
        try:
            return self._orders.recv(4096) if self._listens else self._listen()
        except ConnectionError:
            return b""

    def _listen(self) -> bytes:
        """Receive the first report, which comes with the other end of the zygote's filter."""
        self._listens = True
        report, descriptors, _, _ = socket.recv_fds(self._orders, 4096, 1)
        for descriptor in descriptors:
            decides = self._profile["asks_before_signals"]
            self.scope = SignalScope(self._kernel, descriptor, decides=decides)
        return report

    def is_new_cell(self, pid: int) -> bool:
        """Tell whether ``pid`` is a child of ours that no call has been given yet."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return pid != self.zygote and os.getpgid(pid) == os.getpgid(self.zygote)
        except OSError:
            return False

    def inspect(self, *, threads: bool) -> list[str]:
        """Return what of the zygote, after the import, a fork would break or share."""
        scratch = self._scratches[protocol.LOADING_SLOT]
        try:
            self._files, rest = kept_files.look(
                self.zygote, zygote.LAST_DESCRIPTOR, self._profile["scratch"]
            )
        except OSError as error:
            return [f"its process cannot be inspected: {error}"]
        sealed = self._keep_caches(scratch)
        found = inspection.reasons(self.zygote, rest, scratch, threads_matter=threads)
        return [*sealed, *found]

    def _keep_caches(self, scratch: str) -> list[str]:
        """Leave what the import has written for its cells to read; return why that cannot be."""
        if not os.listdir(scratch):
            return []
        folder = slot_folder(self._profile, protocol.LOADING_SLOT)
        self._caches = [folder if self._mounts else scratch]
        if self._mounts:
            try:
                self._kernel.restrict_mount(f"{folder}/work", MS_RDONLY, recursive=False)
            except OSError as error:
                return [f"its import goes on writing files: {error}"]
        return []

    def shared(self, pid: int) -> str:
        """Tell what a new cell would share with later ones, or return nothing."""
        found = kept_files.shared(self._kernel, self._files, pid, self.zygote)
        return found and f"its import keeps cells from opening their files anew: {found}"
