"""The warden: first process of a box. Trusted; never runs plugin code, never blocks on anybody.

It builds the root, starts the zygote, passes on orders, puts each new cell in a process group of
its own, kills by group, reaps everything and reports the true exit status and rusage. It ends,
and all of the box with it, when the parent closes the control channel.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import time

from . import cell, namespaces, protocol, zygote
from .syscalls import (
    CAP_SYS_ADMIN,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    Kernel,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    class Cells(Protocol):
        """Where a warden's cells come from."""

        group: int  # the process group of what makes them

        def fileno(self) -> int:
            """Return a descriptor to wait for, or -1."""

        def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
            """Make a cell; return its process, or ``None`` when it will be reported."""

        def receive(self) -> dict[str, Any] | None:
            """Return a report of a cell's making, or ``None`` when no more will come."""

        def is_new_cell(self, pid: int) -> bool:
            """Tell whether a process is a cell that no call has been given yet."""


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


def set_up(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Take this process into its place: parent, root, user, capabilities, in this order."""
    has_pid_namespace = "pid" in profile["namespaces"]
    # A session is what is swept, and what the scheduler shares the processors between.
    os.setsid()
    if not has_pid_namespace:
        kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)
    if "mount" in profile["namespaces"]:
        namespaces.build_root(kernel, profile)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    become_box_user(kernel, profile)
    # After the change of user, which clears both.
    kernel.prctl(PR_SET_DUMPABLE, 1)
    if has_pid_namespace:
        kernel.die_with_parent()
    else:
        # It must live to sweep: the signal is caught.
        kernel.die_with_parent(signal.SIGTERM)


def become_box_user(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Leave root behind, keeping the one capability that mounting scratch folders needs."""
    in_user_namespace = "user" in profile["namespaces"]
    if not in_user_namespace and profile["uid"] is None:
        return  # an ordinary user without namespaces: there is nothing to give up
    if in_user_namespace and profile["proc"] and "mount" in profile["namespaces"]:
        namespaces.forbid_more_namespaces()
    kernel.lock_privileges()
    if profile["uid"] is not None:
        inside = namespaces.box_user(profile)
        os.setgroups([])
        os.setresgid(inside, inside, inside)
        os.setresuid(inside, inside, inside)
    mounts = "mount" in profile["namespaces"]
    kernel.hold_capabilities(1 << CAP_SYS_ADMIN if mounts else 0)


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
        orders.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor on which the zygote reports."""
        return self._orders.fileno()

    def make(self, order: dict[str, Any], descriptors: list[int]) -> int | None:
        """Mount the cell's scratch and hand its order to the zygote, which reports later."""
        folder = f"{self._profile['scratch']}/{order['cell']}"
        os.mkdir(folder, 0o700)
        if self._mounts:
            owner = (os.getuid(), os.getgid())
            megabytes = order["limits"]["scratch_mb"]
            namespaces.mount_scratch(self._kernel, folder, megabytes, owner)
        scratch, shared = f"{folder}/work", f"{folder}/shm"
        os.mkdir(scratch, 0o700)
        if self._mounts:
            os.mkdir(shared, 0o700)
            namespaces.share_memory_folder(self._kernel, shared)
        message = json.dumps({**order, "scratch": scratch}).encode()
        socket.send_fds(self._orders, [message], descriptors)
        return None

    def receive(self) -> dict[str, Any] | None:
        """Return the zygote's next report, or ``None`` when there is none."""
        # No room for descriptors: a zygote that has run plugin code could send some.
        message = self._orders.recv(4096)
        return json.loads(message) if message else None

    def is_new_cell(self, pid: int) -> bool:
        """Tell whether ``pid`` is a child of ours that no call has been given yet."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return pid != self.zygote and os.getpgid(pid) == os.getpgid(self.zygote)
        except OSError:
            return False


class Cell:
    """What the warden knows of one cell, from its group's making to its group's end."""

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.status: int | None = None
        self.cpu_seconds = 0.0
        self.maxrss_kib = 0

    def ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Take in the end of a process of this cell's group."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.maxrss_kib = max(self.maxrss_kib, usage.ru_maxrss)
        if pid == self.pid:
            self.status = status


class Warden:
    """The loop: control channel, zygote and children, none of which it ever waits for alone."""

    def __init__(self, control: socket.socket, *, own_session: bool) -> None:
        self._control = control
        self._own_session = own_session
        self._cells: dict[int, Cell] = {}
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
        poll = select.poll()
        for source in (self._control.fileno(), cells.fileno(), self._wake_read):
            if source >= 0:
                poll.register(source, select.POLLIN)
        try:
            while not self._stopping:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                if cells.fileno() in ready and not self._hear_zygote(cells):
                    poll.unregister(cells.fileno())
                if self._control.fileno() in ready and not self._obey(cells):
                    break
                self._reap()
        finally:
            self.sweep(cells)
            if "mount" not in profile["namespaces"]:
                # The parent does it as well, unless it has been killed.
                remove_folder(profile["scratch"])
            os._exit(0)

    def _obey(self, cells: Cells) -> bool:
        """Carry out the orders that have come; return false when the parent is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._control, protocol.CONTROL_MESSAGE_CAP, 3
            )
        except ConnectionError:
            return False
        for line in data.splitlines():
            order = json.loads(line)
            if order["op"] == "kill":
                self._kill(order["cell"])
            else:
                self._make(cells, order, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(data)

    def _make(self, cells: Cells, order: dict[str, Any], descriptors: list[int]) -> None:
        try:
            pid = cells.make(order, descriptors)
        except OSError as error:
            self.report({"event": "failed", "cell": order["cell"], **cell.failure(error)})
            return
        if pid is not None:
            self._place(cells, order["cell"], pid)

    def _hear_zygote(self, cells: Cells) -> bool:
        """Pass on one report of the zygote; return false when it is gone."""
        event = cells.receive()
        if event is None:
            self.report(
                {"event": "failed", "operation": "zygote", "errno": None, "message": "it ended"}
            )
            return False
        if event["event"] == "forked":
            self._place(cells, event["cell"], event["pid"])
        else:
            self.report(event)
        return True

    def _place(self, cells: Cells, number: int, pid: int) -> None:
        if not cells.is_new_cell(pid):
            message = f"process {pid} is not a new cell"
            self.report(
                {"event": "failed", "cell": number, "operation": "place", "errno": None,
                 "message": message}
            )  # fmt: skip
            return
        os.setpgid(pid, pid)
        self._cells[pid] = Cell(number, pid)
        self.report({"event": "placed", "cell": number})

    def _kill(self, number: int) -> None:
        for known in self._cells.values():
            if known.number == number:
                kill_group(known.pid)

    def _reap(self) -> None:
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
        self._report_ends()

    def _is_gone(self, group: int) -> bool:
        """Tell whether a killed group has no process left, zombies included."""
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    def _report_ends(self) -> None:
        for known in list(self._cells.values()):
            if known.status is not None and self._is_gone(known.pid):
                del self._cells[known.pid]
                self.report(
                    {
                        "event": "exit",
                        "cell": known.number,
                        "status": known.status,
                        "cpu_ms": round(known.cpu_seconds * 1000),
                        "maxrss_kib": known.maxrss_kib,
                    }
                )

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


def kill_group(group: int) -> None:
    """Kill every process of a group: the kernel walks it under its lock, so none escapes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def session_members() -> list[int]:
    """Return the other processes of this process's session, as far as /proc tells."""
    own = os.getsid(0)
    members = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(int(name)) == own:
                        members.append(int(name))
    return members


def reap_ended() -> None:
    """Reap every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def remove_folder(folder: str) -> None:
    """Remove a folder on the host's disk with all that a plugin put there; follow no link."""
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.chmod(path, 0o700)
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            with contextlib.suppress(OSError):
                if os.path.isdir(path) and not os.path.islink(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
