"""The parent's handle on one box: start it, give it orders, hear it, end it.

The box is a warden with all that it makes. Whatever happens, after ``close`` nothing of it is
left: no process, no descriptor, no file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from toolrunner.sandbox import box_users, forks
from toolrunner.sandbox.box_end import (
    CLOSE_SECONDS,
    kill,
    reap_launcher,
    reap_warden,
)
from toolrunner.sandbox.box_users import BoxUsers
from toolrunner.sandbox.bytecode import Bytecode
from toolrunner.sandbox.caches import Caches
from toolrunner.sandbox.cgroups.group import Group
from toolrunner.sandbox.cgroups.groups import BoxGroups, Cgroups
from toolrunner.sandbox.ending import SetupFailure
from toolrunner.sandbox.input_files import InputFile
from toolrunner.sandbox.input_folders import Given, InputFolders, Inputs
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interpreter import held
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.polling import readable
from toolrunner.sandbox.processes import (
    children_of,
    group_of,
    inner_number,
    memory_of,
    process_seconds,
    sweep_session,
    tree_below,
)
from toolrunner.sandbox.profile import SCRATCH_PREFIX, Program, box_profile
from toolrunner.sandbox.root_host import NOT_ALLOWED, refusal, unreachable_by
from toolrunner.sandbox.scratch import (
    HostScratch,
    MountedScratch,
    hand_over,
    remove_tree,
    tmpfs_bytes,
)
from toolrunner.sandbox.shortage import remedy_of
from toolrunner.sandbox.spawn import Kind, Launcher, Spawner

_LOG = logging.getLogger("toolrunner.sandbox")

SETUP_SECONDS = 15.0
_SCRATCH_PLACES = ("/var/tmp", "/tmp")


class SetupError(Exception):
    """The box could not be set up as required: nothing of the plugin ran."""

    def __init__(self, failure: SetupFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Box:
    """One box. Use it as a context manager; entering starts it."""

    def __init__(
        self,
        spawner: Spawner,
        program: Program,
        limits: Limits,
        layers: Layers,
        users: BoxUsers,
        *,
        slots: int = 1,
        resident: bool = False,
        cgroups: Cgroups | None = None,
        caches: Caches | None = None,
        bytecode: Bytecode | None = None,
        input_folders: InputFolders | None = None,
    ) -> None:
        """``limits`` are those of each cell; ``slots``: the most cells that it has at once.

        ``resident``: its one cell serves many calls. ``caches``: where those of plugins are kept.
        ``bytecode``: compiled modules, which the spawner's processes look for. ``input_folders``:
        makes the one for the files of its calls.
        """
        self.caches = caches
        self.bytecode = bytecode
        self._spawner = spawner
        self._program = program
        self.limits = limits
        self._layers = layers
        self._users = users
        self._uid: int | None = None
        self._cgroups = cgroups
        self._groups: BoxGroups | None = None
        self._slots = slots
        self._resident = resident
        self._own_root = "mount" in layers.namespaces
        self._stack = contextlib.ExitStack()
        self._launcher: Launcher | None = None
        self.warden = 0
        self.zygote = 0
        self._control: socket.socket
        self._events: list[dict[str, object]] = []
        self._scratch = "/scratch"
        self._input_folders = input_folders or InputFolders()
        self._inputs: Inputs | None = None
        self._numbers: dict[int, int] = {}
        forks.in_each_child(self, Box._let_go)

    def _let_go(self) -> None:
        """Forget the processes and the folder, which are the parent's to end and to remove."""
        self._stack = contextlib.ExitStack()
        self._launcher = None
        self.warden = self.zygote = 0

    def __enter__(self) -> Box:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        try:
            self._uid = self._users.take(stack)
        except OSError as error:
            raise SetupError(
                SetupFailure("take a user for the box", str(error), error.errno, box_users.REMEDY)
            ) from error
        refused = refusal(self._layers, self._uid, self._program.python)
        if refused is not None:
            raise SetupError(refused)
        if not self._own_root:
            self._scratch = self._make_host_scratch(stack)
        if self._program.takes_files:
            self._inputs = self._make_inputs(stack)
        self._hand_over(self._program.write)
        profile = box_profile(
            self._program,
            self.limits,
            self._layers,
            uid=self._uid,
            scratch=self._scratch,
            slots=self._slots,
            resident=self._resident,
            bytecode=self.bytecode.folder if self.bytecode is not None else "",
            inputs=self._inputs.folder if self._inputs is not None else "",
        )
        if self._cgroups is not None:
            try:
                self._groups = self._cgroups.box(self.limits)
            except OSError as error:
                raise cgroup_failure(error) from error
            stack.callback(self._remove_groups)
        stack.callback(self._end)
        try:
            stack.enter_context(held(self._program.python))
            self._launcher = launcher = self._spawner.take(self._kind())
            self._control = launcher.control
            self._control.sendall(_line(profile))
        except OSError as error:
            remedy = _spawn_remedy(error, self._program.install)
            raise SetupError(
                SetupFailure("start the launcher", str(error), error.errno, remedy)
            ) from error
        deadline = time.monotonic() + SETUP_SECONDS
        self.warden = int(str(self._expect("warden", deadline)["pid"]))
        self._enter_group(self.warden)
        self._expect("ready", deadline)
        if not self._layers.portable:
            # No cell has been ordered yet, so its only child is the zygote.
            self.zygote = next(iter(children_of(self.warden)), 0)
        if self._groups is not None:
            self._enter_group(self.zygote)  # it may have been made before the warden was there
            self._groups.imported.begin()

    def _kind(self) -> Kind | None:
        """Return what launcher it needs; ``None``: the ordinary one."""
        python, bytecode = self._program.python, self.bytecode
        if python is None:
            return None
        return Kind(python.executable, bytecode.folder if bytecode is not None else "")

    def _enter_group(self, pid: int) -> None:
        """Put a process in the box's cgroup.

        The first such move after a pause waits for the kernel for milliseconds, in which the warden
        sets the box up; the next one soon after it does not.
        """
        if self._groups is not None:
            try:
                self._groups.imported.join(pid)
            except OSError as error:
                raise cgroup_failure(error) from error

    def _remove_groups(self) -> None:
        if self._groups is not None:
            try:
                self._groups.remove()
            except OSError as error:
                _LOG.warning("a box's cgroups stay until this runner ends: %s", error)

    def group(self, number: int, slot: int) -> tuple[Group | None, list[int]]:
        """Return the cgroup of a cell that is about to be ordered, and descriptors that lead there.

        ``None`` where there are no cgroups; no descriptors where the cell is in it from its fork,
        or the warden has them.
        The descriptors are the caller's to close. ``OSError`` if there is no such cgroup.
        """
        if self._groups is None:
            return None, []
        if number == protocol.THE_ZYGOTE or self._slots == 1:
            return self._groups.imported, []
        group = self._groups.slot(slot)
        return group, [] if group.has_opened else group.doors()

    def rest(self) -> None:
        """Let go of what only makes calls fast: there are none."""
        if self._groups is not None:
            self._groups.rest()

    def imported_bytes(self) -> int:
        """Return the memory of the zygote and of what its import has left."""
        if self._groups is not None:
            with contextlib.suppress(OSError):
                return self._groups.imported.figures().memory_bytes
        return memory_of(self.zygote_group())

    def _make_host_scratch(self, stack: contextlib.ExitStack) -> str:
        """Make a folder of the box's user outside of any box, and see to its removal."""
        places = [tempfile.gettempdir(), *_SCRATCH_PLACES]
        if self._uid is not None:
            uid = self._uid
            places = [p for p in places if unreachable_by(uid, [f"{p}/folder"]) is None]
        try:
            folder = tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=places[0] if places else None)
            stack.callback(remove_tree, folder)
            if self._uid is not None:
                os.chown(folder, self._uid, self._uid)
        except OSError as error:
            remedy = remedy_of(error, "set TMPDIR to a folder with space that every user may enter")
            raise SetupError(
                SetupFailure("make a scratch folder", str(error), error.errno, remedy)
            ) from error
        return folder

    def _make_inputs(self, stack: contextlib.ExitStack) -> Inputs:
        """Make the folder for the files of its calls, and see to its removal."""
        try:
            made = self._input_folders.make(self._slots, self._uid, is_seen=self._own_root)
        except OSError as error:
            remedy = remedy_of(
                error, "see that the state folder, or TMPDIR, can be written to and has space"
            )
            failure = SetupFailure("make a folder for files", str(error), error.errno, remedy)
            raise SetupError(failure) from error
        stack.callback(made.close)
        return made

    def give(self, slot: int, files: Sequence[InputFile], interrupt: Interrupt) -> Given:
        """Put a call's files where its cell finds them, before it hears of the call.

        Raises ``NotGivenError``: nothing of the call has run.
        """
        if self._inputs is None:
            return Given("", contextlib.ExitStack())
        return self._inputs.give(slot, files, lambda: interrupt.cancelled)

    def _hand_over(self, folders: Iterable[str]) -> None:
        """Let the box's user write to folders of the host."""
        for folder in folders:
            try:
                hand_over(folder, self._uid)
            except OSError as error:
                operation = f"let the box write to {folder}"
                raise SetupError(
                    SetupFailure(operation, str(error), error.errno, remedy_of(error))
                ) from error

    def _expect(self, event: str, deadline: float) -> dict[str, object]:
        """Return the next event, which must be ``event``."""
        if not self._events:
            if not readable(self._control, max(0.0, deadline - time.monotonic())):
                words = f"no word of it in {SETUP_SECONDS:g} s"
                raise SetupError(SetupFailure("start the box", words))
            self._events += self._read_events() or []
        if not self._events:
            raise SetupError(SetupFailure("start the box", self._last_words()))
        message = self._events.pop(0)
        if message["event"] == "failed":
            raise SetupError(setup_failure(message))
        if message["event"] != event:
            unexpected = f"expected {event!r}, got {message!r}"
            raise SetupError(SetupFailure("start the box", unexpected))
        return message

    def _last_words(self) -> str:
        """Return what the launcher said before it died; it is trusted and says little."""
        if self._launcher is None or self._launcher.process.stderr is None:
            return "the launcher did not start"
        words = b""
        process, errors = self._launcher.process, self._launcher.process.stderr
        os.set_blocking(errors.fileno(), False)
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            process.wait(CLOSE_SECONDS)
            words = errors.read() or b""
        text = words.decode("utf-8", "replace").strip()
        return text.splitlines()[-1] if text else "it ended without a word"

    def _read_events(self) -> list[dict[str, object]] | None:
        """Return the events that have come, or ``None`` when the box is gone."""
        try:
            data = self._control.recv(protocol.CONTROL_MESSAGE_CAP)
        except ConnectionError:
            return None
        return [json.loads(line) for line in data.splitlines()] if data else None

    def order(self, order: Mapping[str, object], descriptors: list[int]) -> None:
        """Send an order to the warden; ``OSError`` when there is none any more."""
        socket.send_fds(self._control, [_line(order)], descriptors)

    def inspect(self) -> list[str]:
        """Return what the plugin, loaded in the zygote, has done that forbids to fork from it."""
        self.order({"op": "inspect", "threads": self._program.misses_threads}, [])
        event = self._expect("inspected", time.monotonic() + SETUP_SECONDS)
        reasons = event["reasons"]
        assert isinstance(reasons, list)
        return reasons

    def scratch_measure(self, slot: int) -> Callable[[], int]:
        """Return what tells the bytes that a call's files take: one for each call.

        It remembers them for a while, and the next call in the slot is to begin with nothing.
        """
        if self._own_root:
            return functools.partial(tmpfs_bytes, self._mount_of(slot))
        return HostScratch(f"{self._scratch}/{slot}", self.limits.scratch_mb * MIB).bytes

    def mounted_scratch(self, slot: int) -> MountedScratch | None:
        """Return a cell's scratch as it is now, if it is a tmpfs that can be seen."""
        if self._own_root:
            with contextlib.suppress(OSError, ValueError):
                return MountedScratch(self._mount_of(slot))
        return None

    def _mount_of(self, slot: int) -> str:
        return f"/proc/{self.warden}/root{self._scratch}/{slot}/work"

    def members(self, leader: int) -> list[int]:
        """Return the processes of a cell, as the host numbers them.

        ``leader`` is the cell's own number inside the box; its processes cannot leave its group.
        """
        if not self.warden:
            return []
        if self._layers.portable:
            return tree_below(self.warden)
        children = children_of(self.warden)
        group = self._host_number(leader, children)
        members = [pid for pid in children if group_of(pid) == group]
        for pid in members:
            members += children_of(pid)
        return members

    def zygote_group(self) -> list[int]:
        """Return the zygote with the processes that it keeps: new cells, its import's, attacks."""
        return [pid for pid in tree_below(self.warden) if group_of(pid) == self.zygote]

    def memory_bytes(self) -> int:
        """Return the memory of all its processes, and of caches that its import has written."""
        kept = tmpfs_bytes(self._mount_of(protocol.LOADING_SLOT)) if self._own_root else 0
        return kept + memory_of([self.warden, *tree_below(self.warden)])

    def _host_number(self, number: int, children: list[int]) -> int:
        """Return the host's number of a child that the warden has named, 0 if it has ended."""
        if "pid" not in self._layers.namespaces:
            return number
        known = self._numbers
        self._numbers = {pid: known.get(pid) or inner_number(pid) for pid in children}
        return next((pid for pid, inner in self._numbers.items() if inner == number), 0)

    @property
    def scratch_is_memory(self) -> bool:
        """Whether the scratch is a tmpfs of the box."""
        return self._own_root

    def imported_cpu_seconds(self) -> float:
        """Return the processor time of the zygote and of what its import has left.

        ``OSError`` when no descriptor is left to measure with.
        """
        if self._groups is not None:
            with contextlib.suppress(FileNotFoundError):  # the box is gone
                seconds = self._groups.imported.figures().cpu_seconds
                if seconds is not None:
                    return seconds
        others = set(self.zygote_group()) - {self.zygote}
        return process_seconds([self.zygote]) + process_seconds(others)

    def end_zygote(self) -> None:
        """Kill the zygote's group: there will be no more cells."""
        if self.zygote and self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.zygote, signal.SIGKILL)

    def is_alive(self) -> bool:
        """Tell whether it can still make cells."""
        return group_of(self.zygote) == self.zygote

    def destroy(self) -> None:
        """Kill the warden at once, and with its namespace everything in it."""
        if self.warden:
            kill(self.warden)

    def _end(self) -> None:
        """Close the control channel, which ends the warden; make sure that all has ended.

        An exception from outside, as of a Ctrl-C while it waits, leaves out none of it.
        """
        if self._launcher is None:
            return
        process = self._launcher.process
        with contextlib.ExitStack() as last:
            if "pid" not in self._layers.namespaces and self.warden:
                last.callback(sweep_session, self.warden)
            if process.stderr is not None:
                last.callback(process.stderr.close)
            last.callback(reap_launcher, process)
            self._control.close()
            if not self.warden:
                process.kill()
            elif not self._layers.portable:
                reap_warden(self.warden)


def cgroup_failure(error: OSError) -> SetupError:
    """Return what to raise when a cgroup that the probe found possible cannot be made."""
    remedy = remedy_of(
        error, "run `toolrunner doctor`; the runner's own cgroup may have been removed or filled up"
    )
    return SetupError(SetupFailure("make a cgroup", str(error), error.errno, remedy))


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def setup_failure(event: Mapping[str, object]) -> SetupFailure:
    """Return what a "failed" event of the box's own side says."""
    number = event.get("errno")
    operation = str(event.get("operation"))
    number = number if isinstance(number, int) else None
    remedy = "run `toolrunner doctor` to see what this host can isolate"
    if number is not None:
        remedy = remedy_of(OSError(number, ""), remedy)
    return SetupFailure(
        operation=operation,
        message=str(event.get("message")),
        errno=number,
        remedy=NOT_ALLOWED if operation == protocol.UNPRIVILEGED else remedy,
    )


def _spawn_remedy(error: OSError, install: str) -> str:
    if error.errno == errno.ESTALE:
        return install
    return remedy_of(error, "check that the Python interpreter can be started")
