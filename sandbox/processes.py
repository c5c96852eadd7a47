"""Processes seen from outside, through /proc and psutil: who they are and what they hold."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from toolrunner.sandbox.ending import SCARCE

_CHUNK = 1 << 14
_HELD = re.compile(rb"^(VmRSS|VmPTE|Threads):\s+(\d+)", re.MULTILINE)
_MOST_HELD = re.compile(rb"^VmHWM:\s+(\d+)", re.MULTILINE)
_AVAILABLE = re.compile(rb"^MemAvailable:\s+(\d+)", re.MULTILINE)
_LINKS_OF_ONE_THREAD = 3
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED, of all threads of a process, those that have ended included


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds beside its files: bytes, and how many threads it has."""

    resident: int
    page_tables: int
    threads: int


def held(pid: int) -> Held:
    """Return what a process holds (proc_pid_status(5)); ``OSError`` if it has ended."""
    fields = _held(f"/proc/{pid}/status")
    threads = int(fields.get(b"Threads", b"1"))
    if b"VmRSS" not in fields and threads > 1:
        fields = _held(f"{living_thread(pid)}/status")
    resident, tables = (int(fields.get(name, b"0")) for name in (b"VmRSS", b"VmPTE"))
    return Held(resident * 1024, tables * 1024, threads)


def most_resident_bytes(pid: int) -> int:
    """Return the most that a process has held at once; 0 for one that is ending."""
    with contextlib.suppress(OSError):
        most = _MOST_HELD.search(_read(f"/proc/{pid}/status"))
        if most is not None:
            return int(most[1]) * 1024
    return 0


def _held(path: str) -> dict[bytes, bytes]:
    # By lines that end in line feeds: in a name, the plugin's to choose, only these are escaped.
    return dict(_HELD.findall(_read(path)))


def _read(path: str) -> bytes:
    """Return a small file of /proc as a whole; half the time of a file object."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _CHUNK)
    finally:
        os.close(descriptor)


def living_thread(pid: int) -> str:
    """Return the folder in /proc of a thread that shows its process's memory.

    A first thread that has ended, while others go on, shows none.
    """
    folder = f"/proc/{pid}/task"
    for thread in os.listdir(folder):
        with contextlib.suppress(OSError):
            if b"VmRSS" in _held(f"{folder}/{thread}/status"):
                return f"{folder}/{thread}"
    return f"/proc/{pid}"


def proportional_bytes(pid: int) -> int:
    """Return Pss + SwapPss of a process and its page tables, in bytes (proc_pid_smaps(5)).

    psutil's own figure leaves out swap shares; elsewhere than Linux it is all there is.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self/smaps_rollup").exists():
            raise
        return int(psutil.Process(pid).memory_info().rss)
    except ProcessLookupError:  # its first thread has ended
        text = b""
    if not text:
        # /proc/<thread> is there for every thread, though no listing shows it.
        text = Path(f"/proc/{os.path.basename(living_thread(pid))}/smaps_rollup").read_bytes()
    total = 0
    for line in text.splitlines():
        if line.startswith((b"Pss:", b"SwapPss:")):
            total += int(line.split()[1]) * 1024
    return total + held(pid).page_tables


def readable_folder(pid: int) -> str:
    """Return the folder in /proc that shows what a process has open and mapped.

    ``PermissionError`` for one that hides it, as one of a file that it may not read; another
    ``OSError`` for one that has ended.
    """
    folder = f"/proc/{pid}"
    try:
        os.scandir(f"{folder}/fd").close()
    except PermissionError:
        # A process, or its first thread, that is ending shows nothing either.
        folder = living_thread(pid)
        if b"VmRSS" not in _held(f"{folder}/status"):
            raise ProcessLookupError(errno.ESRCH, "it is ending") from None
        os.scandir(f"{folder}/fd").close()
    return folder


def mappings(folder: str, enough: int) -> int:
    """Count a process's mappings, up to ``enough``: the kernel keeps a record of each."""
    count = 0
    with open(f"{folder}/maps", "rb", buffering=0) as maps:
        while count < enough and (piece := maps.read(_CHUNK)):
            count += piece.count(b"\n")
    return count


def descriptors(folder: str) -> int:
    """Return how many descriptors a process has open; 0 if the kernel does not say (below 6.2)."""
    return os.stat(f"{folder}/fd").st_size


def open_targets(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the number of each descriptor and what it leads to, as "socket:[123]"."""
    for name in os.listdir(f"{folder}/fd"):
        with contextlib.suppress(OSError):
            yield name, os.readlink(f"{folder}/fd/{name}")


def watched(folder: str, number: str) -> int:
    """Return how many entries an epoll set has (proc_pid_fdinfo(5))."""
    with open(f"{folder}/fdinfo/{number}", "rb", buffering=0) as file:
        count = 0
        while piece := file.read(_CHUNK):
            count += piece.count(b"tfd:")
    return count


def running_seconds(pid: int) -> float:
    """Return the processor time of a process itself, finer than the kernel's ticks.

    0 for one that has ended, and where there is no such clock (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)
    except OSError:
        return 0.0


def times(pid: int) -> tuple[float, float]:
    """Return the processor time of a process, and that of children it has waited for.

    ``OSError`` or ``psutil.Error`` if it has ended.
    """
    if not _kernel_has_proc():
        found = psutil.Process(pid).cpu_times()
        return found.user + found.system, found.children_user + found.children_system
    text = _read(f"/proc/{pid}/stat")
    # The name before these fields may hold anything, brackets and spaces too (proc_pid_stat(5)).
    fields = text[text.rindex(b")") :].split(maxsplit=16)
    user, system, waited_user, waited_system = map(int, fields[12:16])
    tick = _tick_seconds()
    return max((user + system) * tick, running_seconds(pid)), (waited_user + waited_system) * tick


@functools.cache
def _kernel_has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


@functools.cache
def _tick_seconds() -> float:
    return 1 / os.sysconf("SC_CLK_TCK")


def process_seconds(pids: Iterable[int]) -> float:
    """Return the processor time of some processes, with that of children they have waited for.

    ``OSError`` when no descriptor is left to measure with.
    """
    total = 0.0
    for pid in pids:
        try:
            total += sum(times(pid))
        except psutil.Error:
            continue
        except OSError as error:
            if error.errno in SCARCE:
                raise
    return total


def available_bytes() -> int | None:
    """Return what the host can still give of memory (proc_meminfo(5)); ``None`` if untold."""
    with contextlib.suppress(OSError):
        available = _AVAILABLE.search(_read("/proc/meminfo"))
        if available is not None:
            return int(available[1]) * 1024
    return None


@functools.cache
def kernel_lists_children() -> bool:
    """Tell whether the kernel was built to list a process's children (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children_of(pid: int) -> list[int]:
    """Return a process's children, from the kernel's own list where there is one.

    None for a process that has ended or cannot be seen. psutil looks through the whole host.
    """
    if not kernel_lists_children():
        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []
    found: list[int] = []
    tasks = f"/proc/{pid}/task"
    with contextlib.suppress(OSError):
        # One link for each thread beside its own two: mostly there is one, and no need to look.
        alone = os.stat(tasks).st_nlink == _LINKS_OF_ONE_THREAD
        for task in [str(pid)] if alone else os.listdir(tasks):
            with contextlib.suppress(OSError):  # a thread that has ended hides nobody else's
                found += map(int, _read_all(f"{tasks}/{task}/children").split())
    return found


def _read_all(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while piece := os.read(descriptor, _CHUNK):
            found += piece
        return found
    finally:
        os.close(descriptor)


def tree_below(pid: int) -> list[int]:
    """Return all descendants of ``pid``."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def group_of(pid: int) -> int:
    """Return a process's group, 0 if it has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def inner_number(pid: int) -> int:
    """Return a process's number in its own pid namespace (proc_pid_status(5)), 0 if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    line = next((line for line in status.split(b"\n") if line.startswith(b"NSpid:")), b"0")
    return int(line.split()[-1])


def sweep_session(session: int) -> None:
    """Kill what is left of a session whose leader is gone; nothing in it could leave it."""
    found = True
    while found:
        found = False
        with contextlib.suppress(psutil.Error, OSError):
            for pid in psutil.pids():
                with contextlib.suppress(psutil.Error, OSError):
                    if os.getsid(pid) == session and psutil.Process(pid).status() != "zombie":
                        os.kill(pid, signal.SIGKILL)
                        found = True
                        time.sleep(0.001)


def memory_of(pids: Iterable[int]) -> int:
    """Return the memory of some processes, shared pages counted once, without those that ended."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, psutil.Error):
            total += proportional_bytes(pid)
    return total
