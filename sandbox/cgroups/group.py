"""One cgroup: what it uses, and its ceilings."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass

from toolrunner.sandbox.cgroups.files import OpenFiles, read, remove_tree, write
from toolrunner.sandbox.cgroups.peak import Peak
from toolrunner.sandbox.cgroups.place import Place, hand_down
from toolrunner.sandbox.limits import MIB

_RESIDUE_BYTES = 2 * MIB  # what may stay charged to a slot after its cell, as inodes do
_REMOVAL_SECONDS = 0.5
_CHARGED_AT_ONCE = 1 * MIB  # the kernel charges a processor's share of pages at a time


@dataclass(frozen=True, slots=True)
class Figures:
    """What a group uses: bytes without the page cache, seconds of processor time if known.

    ``kills``: how many of its processes the kernel has ended for want of memory;
    ``at_ceiling``: whether its own was met, or there was none left for all.
    """

    memory_bytes: int
    cpu_seconds: float | None
    kills: int
    at_ceiling: bool = False


class Group:
    """One cgroup, in as many hierarchies as its version has."""

    def __init__(
        self,
        place: Place,
        path: str,
        files: OpenFiles,
        *,
        inherited_bytes: int = 0,
        supervisors: int = 0,
    ) -> None:
        """Make it; ``path`` is relative to the place, ``files`` are the runner's.

        ``inherited_bytes``: what its processes share with the one that they are forked from, which
        is charged elsewhere. ``supervisors``: how many of its processes run no call.
        """
        self._files = files
        self._supervisors = supervisors
        self.inherited_bytes = inherited_bytes
        self._version = place.version
        self._folders = {name: f"{folder}/{path}" for name, folder in place.folders.items()}
        self._base = Figures(0, 0.0, 0)
        self._ceiling = self._met = 0
        self.has_opened = False  # the warden has its doors
        for folder in self._distinct():
            os.mkdir(folder)
        self._peak = Peak(self._folders["memory"]) if place.version > 1 else None

    def _distinct(self) -> list[str]:
        return list(dict.fromkeys(self._folders.values()))

    def hand_down(self) -> None:
        """Let it have cgroups in it, and no process."""
        if self._version == 2:  # noqa: PLR2004 - a version of the kernel's interface
            hand_down(self._folders["memory"])

    def limit(self, memory_bytes: int, tasks: int) -> None:
        """Set the kernel's ceilings."""
        memory = self._folders["memory"]
        self._ceiling = memory_bytes
        if self._version == 1:
            write(f"{memory}/memory.limit_in_bytes", str(memory_bytes))
            with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
                write(f"{memory}/memory.memsw.limit_in_bytes", str(memory_bytes))
        else:
            write(f"{memory}/memory.max", str(memory_bytes))
            with contextlib.suppress(FileNotFoundError):
                write(f"{memory}/memory.swap.max", "0")
        write(f"{self._folders['pids']}/pids.max", str(tasks))

    def join(self, pid: int) -> None:
        """Put a process in it; ``OSError`` if there is none, as for a number that was not found."""
        if pid <= 0:
            raise ProcessLookupError(errno.ESRCH, "no such process")  # to the kernel, 0 is us
        for folder in self._distinct():
            write(f"{folder}/cgroup.procs", str(pid))

    def doors(self) -> list[int]:
        """Return descriptors through which the warden puts a process in it; close them after use.

        The right to do that is of him who opened them.
        """
        doors: list[int] = []
        try:
            for folder in self._distinct():
                doors.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - those opened before one fails are closed
        except OSError:
            for door in doors:
                os.close(door)
            raise
        return doors

    def begin(self) -> bool:
        """Count from here on; false when too much of those before is charged to it still."""
        if self._peak is None:
            self._files.write(f"{self._folders['memory']}/memory.max_usage_in_bytes", "0")
        else:
            self._peak.begin()
        memory, kills = self._memory(), self._kills()
        if kills > self._base.kills and self._peak is not None:  # else it is not asked for
            self._met = self._times_at_ceiling()
        self._base = Figures(memory, self._cpu_seconds(), kills)
        return memory < _RESIDUE_BYTES

    def figures(self) -> Figures:
        """Return what has been used since ``begin``."""
        memory = max(0, self._memory() - self._base.memory_bytes)
        return self._with_kills(memory)

    def take_back(self, memory_bytes: int) -> Figures:
        """Have the kernel give up what it only remembers, down to so much; return the figures then.

        Version 1 does not tell what it holds for names of files that were looked for.
        """
        if self._version == 1 and self._ceiling:
            ceiling = f"{self._folders['memory']}/memory.limit_in_bytes"
            try:
                write(ceiling, str(memory_bytes + self._base.memory_bytes))
            except OSError as error:
                if error.errno != errno.EBUSY:  # it holds more than that in use
                    raise
            finally:
                write(ceiling, str(self._ceiling))
        return self.figures()

    def last_figures(self) -> Figures:
        """Return the same of a call that is over, with the most memory that it held."""
        return self._with_kills(self.peak_bytes())

    def _with_kills(self, memory_bytes: int) -> Figures:
        kills = self._kills() - self._base.kills
        return Figures(memory_bytes, self.cpu_seconds(), kills, kills > 0 and self._met_ceiling())

    def peak_bytes(self) -> int:
        """Return the most memory that was held since ``begin``; 0 where the kernel does not tell.

        The page cache of now is taken off, as if it had been there then.
        """
        if self._peak is None:
            path = f"{self._folders['memory']}/memory.max_usage_in_bytes"
            most = int(self._files.read(path, os.O_RDWR))
        else:
            most = self._peak.most_bytes()
        return max(0, most - self._page_cache()[0] - self._base.memory_bytes) if most else 0

    def processes(self) -> int:
        """Return how many processes of a call are in it."""
        folder = self._folders["pids"]
        if int(self._files.read(f"{folder}/pids.current")) == 1 + self._supervisors:
            return 1  # with one thread
        return len(read(f"{folder}/cgroup.procs").split()) - self._supervisors

    def _page_cache(self) -> tuple[int, int]:
        """Return bytes of files that the kernel can drop, and bytes that are swapped out."""
        text = self._files.read(f"{self._folders['memory']}/memory.stat")
        if self._version == 1:
            cache, shared, swapped = _numbers(text, "cache", "shmem", "swap")
            return cache - shared, swapped
        files, shared, slab = _numbers(text, "file", "shmem", "slab_reclaimable")
        return files - shared + slab, 0

    def _memory(self) -> int:
        memory = self._folders["memory"]
        name = "memory.usage_in_bytes" if self._version == 1 else "memory.current"
        held = int(self._files.read(f"{memory}/{name}"))
        cache, swapped = self._page_cache()
        return max(0, held - cache + swapped)

    def _kills(self) -> int:
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        return _numbers(self._files.read(f"{self._folders['memory']}/{name}"), "oom_kill")[0]

    def _met_ceiling(self) -> bool:
        """Tell whether its processes have wanted more than its ceiling since ``begin``."""
        if self._version == 1:
            path = f"{self._folders['memory']}/memory.max_usage_in_bytes"
            most = int(self._files.read(path, os.O_RDWR))
            return most + _CHARGED_AT_ONCE >= self._ceiling
        return self._times_at_ceiling() > self._met

    def _times_at_ceiling(self) -> int:
        events = self._files.read(f"{self._folders['memory']}/memory.events")
        return _numbers(events, "oom")[0]

    def _cpu_seconds(self) -> float | None:
        folder = self._folders.get("cpu")
        if folder is None:
            return None
        if self._version == 1:
            return int(self._files.read(f"{folder}/cpuacct.usage")) / 1e9
        return _numbers(self._files.read(f"{folder}/cpu.stat"), "usage_usec")[0] / 1e6

    def cpu_seconds(self) -> float | None:
        """Return the processor time since ``begin``, if the kernel knows it."""
        seconds = self._cpu_seconds()
        return None if seconds is None else seconds - (self._base.cpu_seconds or 0.0)

    def rest(self) -> None:
        """Let go of descriptors that can be opened anew."""
        for folder in self._distinct():
            self._files.forget(f"{folder}/")

    def close(self) -> None:
        """Let go of descriptors; it has no peak any more."""
        self.rest()
        if self._peak is not None:
            self._peak.close()

    def remove(self) -> None:
        """Remove it, with what is in it; a process that is about to end holds that up a little."""
        deadline = time.monotonic() + _REMOVAL_SECONDS
        try:
            for folder in reversed(self._distinct()):
                _remove(folder, deadline)
        finally:
            self.close()


def _remove(folder: str, deadline: float) -> None:
    while True:
        try:
            return remove_tree(folder)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.001)


def _numbers(text: str, *names: str) -> list[int]:
    """Return some of the numbers in a file with a name and a number on each line; 0 for none.

    Each call asks for a few of many, several times.
    """
    found = []
    for name in names:
        _, _, rest = f"\n{text}".partition(f"\n{name} ")
        found.append(int(rest.partition("\n")[0] or 0))
    return found
