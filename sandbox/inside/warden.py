"""The warden: first process of a box. Trusted; never runs plugin code, never blocks on anybody.

It builds the root, starts the zygote, passes on orders, puts each new cell in a process group of
its own, kills by group, reaps everything and reports the true exit status and rusage. It ends,
and all of the box with it, when the parent closes the control channel.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import time

from . import cell, folders, protocol, zygote
from .box_setup import set_up
from .groups import has_ended, kill_group, reap_ended, session_members
from .known_cell import MOST_SIGNALS, KnownCell
from .linux_cells import LinuxCells
from .syscalls import Kernel

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    from .signal_scope import SignalScope

    class Cells(Protocol):
        """Where a warden's cells come from."""

        group: int  # the process group of what makes them

        def fileno(self) -> int:
            """Return a descriptor to wait for, or -1."""

        def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
            """Make a cell; return its process, or ``None`` when it will be reported."""

        def release(self, slot: int) -> None:
            """Take away the scratch of a cell that is gone."""

        def renew(self, slot: int, pid: int, *, aside: bool) -> None:
            """Put a new scratch in the place of a resident's; ``OSError`` if it uses that.

            ``aside``: then the old one stays mounted elsewhere, if that is possible.
            """

        def receive(self) -> bytes:
            """Return a report of the maker of cells, or nothing when no more will come."""

        def is_new_cell(self, pid: int) -> bool:
            """Tell whether a process is a cell that no call has been given yet."""

        def inspect(self, *, threads: bool) -> list[str]:
            """Return what forbids to fork cells from the plugin that has been loaded."""

        def shared(self, pid: int) -> str:
            """Tell what a new cell would share with later ones, or return nothing."""

        @property
        def hears_kills(self) -> bool:
            """Whether it is known of each SIGKILL that a plugin sends."""

        @property
        def scope(self) -> SignalScope | None:
            """What asks before a signal is sent, where Landlock does not keep them apart."""


# What a cell cannot be made for that is the host's want, and no fault of who has asked.
_SCARCE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def main(kernel: Kernel, profile: dict[str, Any], control: socket.socket) -> NoReturn:
    """Set the box up and serve it until the parent is gone."""
    warden = Warden(control, own_session="pid" not in profile["namespaces"])
    try:
        set_up(kernel, profile)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            control.close()
            warden.close_signals()
            zygote.main(kernel, profile, theirs)
        theirs.close()
    except OSError as error:
        warden.report({"event": "failed", **cell.failure(error)})
        os._exit(1)
    warden.serve(LinuxCells(kernel, profile, ours, pid), profile)


class Warden:
    """The loop: control channel, zygote and children, none of which it ever waits for alone."""

    def __init__(self, control: socket.socket, *, own_session: bool) -> None:
        self._control = control
        self._own_session = own_session
        self._ordered: dict[int, KnownCell] = {}  # by number, until the zygote has named a process
        self._cells: dict[int, KnownCell] = {}  # by process
        self._doors: dict[int, list[int]] = {}  # to the cgroups of each slot
        self._zygote_is_ready = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the runner's

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def close_signals(self) -> None:
        """In a child: give up what belongs to the warden's loop."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def report(self, event: dict[str, Any]) -> None:
        """Send one message to the parent; one that is gone is noticed by the loop."""
        try:
            self._control.send(json.dumps(event).encode() + b"\n")
        except OSError:
            self._stopping = True

    def serve(self, cells: Cells, profile: dict[str, Any]) -> NoReturn:
        """Serve until the parent is gone; then end everything of this box."""
        poll = self._poll = select.poll()
        for source in (self._control.fileno(), cells.fileno(), self._wake_read):
            if source >= 0:
                poll.register(source, select.POLLIN)
        try:
            while not self._stopping:
                ready = dict(poll.poll())
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                if cells.fileno() in ready and not self._hear_zygote(cells):
                    poll.unregister(cells.fileno())
                if self._control.fileno() in ready and not self._obey(cells):
                    break
                if cells.scope is not None and cells.scope.fileno() in ready:
                    if ready[cells.scope.fileno()] & select.POLLIN:
                        self._answer(cells.scope)
                    else:  # nobody is left who could ask
                        poll.unregister(cells.scope.fileno())
                self._reap(cells)
        finally:
            self.sweep(cells)
            if "mount" not in profile["namespaces"]:
                # The parent does it as well, unless it has been killed.
                with contextlib.suppress(OSError):
                    folders.empty_folder(profile["scratch"])
                    os.rmdir(profile["scratch"])
            os._exit(0)

    def _obey(self, cells: Cells) -> bool:
        """Carry out the orders that have come; return false when the parent is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._control, protocol.CONTROL_MESSAGE_CAP, protocol.ORDER_DESCRIPTORS
            )
        except ConnectionError:
            return False
        for line in data.splitlines():
            order = json.loads(line)
            if order["op"] == "kill":
                self._kill(order["cell"])
            elif order["op"] == "where":
                self._ask_where(order["cell"])
            elif order["op"] == "renew":
                self._renew(cells, order["cell"], aside=order["aside"])
            elif order["op"] == "inspect":
                self._inspect(cells, threads=order["threads"])
            else:
                own, status, doors = descriptors[:3], descriptors[3], descriptors[4:]
                descriptors = own
                known = KnownCell(order, status, self._doors_of(order, doors))
                self._make(cells, known, order, own)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(data)

    def _doors_of(self, order: dict[str, Any], doors: list[int]) -> list[int]:
        """Return what leads to the cgroups of a cell's slot; they come with its first order."""
        if doors:
            for door in self._doors.pop(order["slot"], []):
                os.close(door)
            self._doors[order["slot"]] = doors
        return self._doors[order["slot"]] if order["enters"] else []

    def _inspect(self, cells: Cells, *, threads: bool) -> None:
        """Say what forbids cells of the loaded zygote, and take the scratch of its load away."""
        reasons = cells.inspect(threads=threads)
        loaded = self._cells.get(cells.group)
        if loaded is not None:
            self._release(cells, loaded)
            loaded.slot = None
        self.report({"event": "inspected", "reasons": reasons})

    def _make(
        self, cells: Cells, known: KnownCell, order: dict[str, Any], descriptors: list[int]
    ) -> None:
        try:
            pid = cells.make(order, descriptors)
        except OSError as error:
            known.over({"event": "failed", **cell.failure(error)})
            return
        if pid is None:
            self._ordered[known.number] = known
        else:
            self._place(cells, known, pid)

    def _hear_zygote(self, cells: Cells) -> bool:
        """Act on one report of the zygote; return false when it is gone, or not believed."""
        report = cells.receive()
        if report == protocol.LISTENER and cells.scope is not None and not self._zygote_is_ready:
            self._poll.register(cells.scope.fileno(), select.POLLIN)
            return True
        if report and not self._zygote_is_ready:
            # Nothing of a plugin can have run in it yet.
            self._zygote_is_ready = True
            self.report(json.loads(report))
            return True
        words = report.decode("ascii", "replace").split()
        numbers = [int(word) for word in words[1:] if word.isdigit() and len(word) < 10]
        known = self._ordered.pop(numbers[0], None) if len(words) == 3 == len(numbers) + 1 else None
        if known is None:
            self._zygote_failed(cells, "it ended" if not report else "it sent what is no report")
            return False
        if words[0] == protocol.FORKED and cells.is_new_cell(numbers[1]):
            self._place(cells, known, numbers[1])
        else:
            # A new cell that has ended, or one that it could not make.
            known.over(unmade(words[0], numbers[1]))
            self._release(cells, known)
        return True

    def _answer(self, scope: SignalScope) -> None:
        """Answer one question about a signal; what asks without end is ended."""
        group, kills = scope.answer() or (0, False)
        asking = self._cells.get(group)
        if asking is None:
            return
        asking.kills_itself |= kills
        if not asking.may_signal():
            asking.ended_by_us = f"it sent more than {MOST_SIGNALS} signals"
            kill_group(asking.pid)

    def _zygote_failed(self, cells: Cells, why: str) -> None:
        """End what can make no more cells; those that run go on."""
        loading = self._cells.get(cells.group)
        if loading is not None and not has_ended(cells.group):
            loading.ended_by_us = f"the process that loads the plugin was killed: {why}"
        kill_group(cells.group)
        if not self._zygote_is_ready:
            self.report(zygote_failure(why))
        for known in self._ordered.values():
            known.over(zygote_failure(why))
        self._ordered.clear()

    def _place(self, cells: Cells, known: KnownCell, pid: int) -> None:
        """Give a cell a process group and cgroups of its own; its call may begin."""
        try:
            known.enter_cgroups(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)  # ours, and not reaped yet
            failed = {"operation": "enter the cgroup", "errno": error.errno, "message": str(error)}
            known.over({"event": "failed", **failed})
            self._release(cells, known)
            return
        with contextlib.suppress(OSError):  # the zygote itself, which leads a group already
            os.setpgid(pid, pid)
        if os.getpgid(pid) != pid:
            # Only a fork hook of an import can have brought it to another program, which keeps its
            # group: nothing of it would be counted.
            self._refuse(cells, known, pid, "its import keeps new cells from their group")
            return
        shared = cells.shared(pid)
        if shared:
            self._refuse(cells, known, pid, shared)
            return
        known.pid = pid
        self._cells[pid] = known
        known.tell({"event": "placed", "pid": pid})

    def _refuse(self, cells: Cells, known: KnownCell, pid: int, why: str) -> None:
        os.kill(pid, signal.SIGKILL)  # ours, and not reaped yet
        known.over(zygote_failure(why))
        self._release(cells, known)

    def _kill(self, number: int) -> None:
        for known in self._cells.values():
            if known.number == number:
                kill_group(known.pid)

    def _ask_where(self, number: int) -> None:
        """Have a cell that will be killed say where it is; one that cannot ends of it."""
        for known in self._cells.values():
            if known.number == number and known.status is None:  # not reaped: it is still the cell
                with contextlib.suppress(OSError):
                    os.kill(known.pid, protocol.WHERE_SIGNAL)

    def _renew(self, cells: Cells, number: int, *, aside: bool) -> None:
        """Give a resident a new scratch between two calls, or say why it has the old one."""
        for known in self._cells.values():
            if known.number == number and known.slot is not None:
                problem = ""
                try:
                    cells.renew(known.slot, known.pid, aside=aside)
                except OSError as error:
                    problem = str(error)
                known.tell({"event": "renewed", "error": problem})

    def _reap(self, cells: Cells) -> None:
        """Reap all that has ended; report each cell whose whole group is gone."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if ended is None:
                break
            pid = ended.si_pid
            owner = self._cells.get(os.getpgid(pid))
            if owner is not None and owner.pid == pid:
                # Not reaped yet, so the number of its group is still its own.
                kill_group(pid)
            _, status, usage = os.wait4(pid, 0)
            if owner is not None:
                owner.ended(pid, status, usage)
        self._report_ends(cells)

    def _is_gone(self, group: int) -> bool:
        """Tell whether a killed group has no process left, zombies included."""
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    def _report_ends(self, cells: Cells) -> None:
        for known in list(self._cells.values()):
            if known.status is not None and self._is_gone(known.pid):
                del self._cells[known.pid]
                known.over(
                    {
                        "event": "exit",
                        "status": known.status,
                        "cpu_ms": round(known.cpu_seconds * 1000),
                        "maxrss_kib": known.maxrss_kib,
                        "ended_by_us": known.ended_by_us,
                        "by_itself": known.kills_itself or not cells.hears_kills,
                    }
                )
                self._release(cells, known)

    def _release(self, cells: Cells, known: KnownCell) -> None:
        """Take a cell's scratch away, for the next one in its slot to begin with nothing."""
        if known.slot is None:
            return
        try:
            cells.release(known.slot)
        except BlockingIOError as error:
            self._zygote_failed(cells, f"a plugin keeps what is not its call's: {error}")
        except OSError:
            # The next call must not find what this one left: there will be none in this box.
            self._stopping = True

    def sweep(self, cells: Cells) -> None:
        """Kill and reap all that is left, where no pid namespace does it.

        Nothing can leave its group or this session; the groups are known, and the session is
        looked through for what a layer less might have let go.
        """
        if not self._own_session:
            return
        for group in (*self._cells, cells.group):
            kill_group(group)
        while victims := session_members():
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap_ended()
            time.sleep(0.001)


def unmade(said: str, number: int) -> dict[str, Any]:
    """Return the event of a cell that the zygote could not make, or that has ended at once.

    Its word is untrusted: of its numbers those alone are passed on that say what the host lacks.
    """
    if said == protocol.UNMADE and number in _SCARCE:
        return {**zygote_failure(f"it made no cell: {os.strerror(number)}"), "errno": number}
    return zygote_failure(f"it made no cell: {said} {number}")


def zygote_failure(message: str) -> dict[str, Any]:
    """Return the event that says why the zygote made no cell."""
    return {"event": "failed", "operation": "zygote", "errno": None, "message": message}
