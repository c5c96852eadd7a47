"""How much of the host's memory a fault takes, by the host's own figures and none of the runner's.

That is what becomes of MemAvailable. Others change it as well, so only what several tries agree on
means anything. Where this process may have a memory cgroup of its own (version 1, so root), that
counts what it and its boxes take and nobody else, but not all of the kernel's own memory; and what
the processes beside it take, in the cgroup that this one came from, is told apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from toolrunner.sandbox.limits import MIB, Limits

_EVERY_SECONDS = 0.005
_V1 = Path("/sys/fs/cgroup/memory")
_KIB = 1024
_PREFIX = "attack-"


def allowed_bytes(limits: Limits) -> int:
    """Return what the host may lose by one call: a quarter over its limit, and 64 MiB."""
    return int(limits.memory_mb * 1.25 + 64) * MIB


class Loss:
    """``most`` is what the host had lost at the worst moment, in bytes, once that is known."""

    most = 0


Measure = Callable[[], contextlib.AbstractContextManager[Loss]]


@contextlib.contextmanager
def measuring() -> Iterator[Measure]:
    """Give what measures one stretch of time: ``with measure() as loss``."""
    with _own_cgroup() as own:
        yield lambda: _measure(own)


@contextlib.contextmanager
def _measure(own: Path | None) -> Iterator[Loss]:
    def read_left() -> int:
        return _available() + _neighbours(own)

    def read_used() -> int:
        return 0 if own is None else _usage(own)

    loss = Loss()
    left, used = read_left(), read_used()
    with _extreme(read_left, min) as least, _extreme(read_used, max) as most:
        yield loss
    # What is still gone afterwards, somebody else has taken.
    lost = min(left, read_left()) - least()
    loss.most = max(0, lost, most() - used)


def _usage(cgroup: Path) -> int:
    """Return what a cgroup holds, but for pages of files, which the kernel takes back by itself."""
    usage = int((cgroup / "memory.usage_in_bytes").read_bytes())
    for line in (cgroup / "memory.stat").read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name in {"total_inactive_file", "total_active_file"}:
            usage -= int(value)
    return usage


def _neighbours(own: Path | None) -> int:
    """Return what the processes beside this one's cgroup hold, but for pages of files.

    Nor is the kernel's memory for them counted: MemAvailable has what it can take back of it.
    """
    if own is None:
        return 0

    def held(cgroup: Path) -> int:
        return _usage(cgroup) - int((cgroup / "memory.kmem.usage_in_bytes").read_bytes())

    return held(own.parent) - held(own)


def _available() -> int:
    """Return MemAvailable, and the free pages that the kernel keeps ready for each processor.

    It counts those as taken, and there may be hundreds of MiB of them.
    """
    available = 0
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * _KIB
    with contextlib.suppress(OSError):
        counts = re.findall(
            rb"^ +count: +(\d+)$", Path("/proc/zoneinfo").read_bytes(), re.MULTILINE
        )
        available += sum(map(int, counts)) * resource.getpagesize()
    return available


@contextlib.contextmanager
def _extreme(
    read: Callable[[], int], choose: Callable[[int, int], int]
) -> Iterator[Callable[[], int]]:
    """Read a figure again and again; give what returns the extreme one, once this is over."""
    found = read()
    over = threading.Event()

    def watch() -> None:
        nonlocal found
        while not over.wait(_EVERY_SECONDS):
            found = choose(found, read())

    thread = threading.Thread(target=watch, name="toolrunner-attack-memory", daemon=True)
    thread.start()
    try:
        yield lambda: found
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _own_cgroup() -> Iterator[Path | None]:
    """Put this process into a memory cgroup below its own; give None where it may not."""
    outer = _current()
    if outer is None:
        yield None
        return
    _sweep(outer)
    made = outer / f"{_PREFIX}{os.getpid()}"
    if not _enter(made):
        yield None
        return
    try:
        yield made
    finally:
        _enter(outer)
        _remove(made)


def _sweep(outer: Path) -> None:
    """Remove what processes have left that were killed meanwhile."""
    for left in outer.glob(f"{_PREFIX}*"):
        number = left.name.removeprefix(_PREFIX)
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            _remove(left)


def _remove(cgroup: Path) -> None:
    """Remove a cgroup and those below; one that still holds a process stays."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _current() -> Path | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            _number, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return _V1 / path.lstrip("/")
    return None


def _enter(cgroup: Path) -> bool:
    try:
        cgroup.mkdir(exist_ok=True)
        (cgroup / "cgroup.procs").write_text("0", "ascii")
    except OSError:
        return False
    return True
