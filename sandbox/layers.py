"""The layers of confinement: their names, which of them a host has, and the floor under a call.

Pure data and decisions. ``probe`` finds out what a host has; ``box`` applies it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

NAMESPACES = ("user", "mount", "pid", "net", "ipc", "uts")
LAYER_NAMES = (
    *(f"namespaces.{name}" for name in NAMESPACES),
    "landlock",
    "seccomp",
    "rlimits",
    "watchdog",
    "cgroup",
    "call_isolation",
)
SCOPED_SIGNALS_ABI = 6


@dataclass(frozen=True, slots=True)
class Layers:
    """What confines a call on this host.

    ``landlock`` is its ABI, ``cgroup`` its version; 0 for none. ``seccomp_notify``: a filter can
    ask another process. ``proc``: a process file system of the box's own can be mounted.
    ``portable``: not Linux as we know it, so the box is a plain process group.
    """

    namespaces: frozenset[str] = frozenset()
    landlock: int = 0
    seccomp: bool = False
    seccomp_notify: bool = False
    rlimits: bool = False
    watchdog: bool = False
    cgroup: int = 0
    proc: bool = False
    portable: bool = False

    def names(self) -> tuple[str, ...]:
        """Return the layers in force, as an envelope shows them: "landlock:7", "seccomp"."""
        on = [f"namespaces.{name}" for name in NAMESPACES if name in self.namespaces]
        if self.landlock:
            on.append(f"landlock:{self.landlock}")
        if self.seccomp:
            on.append("seccomp:notify" if self.asks_before_signals else "seccomp")
        on += [name for name in ("rlimits", "watchdog") if getattr(self, name)]
        if self.cgroup:
            on.append(f"cgroup:{self.cgroup}")
        return (*on, "call_isolation") if self._isolates_calls() else tuple(on)

    @property
    def asks_before_signals(self) -> bool:
        """Whether the warden decides whom a call may signal, since Landlock cannot."""
        return self.hears_kills and self.landlock < SCOPED_SIGNALS_ABI

    @property
    def hears_kills(self) -> bool:
        """Whether the warden hears of each SIGKILL that a call sends."""
        return self.seccomp and self.seccomp_notify

    def _isolates_calls(self) -> bool:
        """Tell whether calls can neither see nor signal each other's processes."""
        if {"pid", "mount"} <= self.namespaces:
            return True
        return self.landlock >= SCOPED_SIGNALS_ABI or (self.landlock > 0 and self.seccomp)

    def missing(self) -> tuple[str, ...]:
        """Return the layers that are not in force."""
        on = {name.split(":")[0] for name in self.names()}
        return tuple(name for name in LAYER_NAMES if name not in on)

    def without(self, *names: str) -> Layers:
        """Return these layers with some switched off, to see what the others do alone."""
        changes: dict[str, object] = {}
        for name in names:
            if name.startswith("namespaces"):
                gone = set(NAMESPACES) if name == "namespaces" else {name.split(".", 1)[1]}
                left = changes.get("namespaces", self.namespaces)
                assert isinstance(left, frozenset)
                changes["namespaces"] = left - gone
            else:
                changes[name] = 0 if name in {"landlock", "cgroup"} else False
        return replace(self, **changes)  # type: ignore[arg-type]  # names of own fields, checked by replace

    def lacks(self, required: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of ``required`` ("seccomp", "landlock:6") that are not in force."""
        if not required:
            return ()
        on = {name.split(":")[0] for name in self.names()}
        lacking = []
        for name in required:
            base, _, version = name.partition(":")
            found = self.cgroup if base == "cgroup" else self.landlock
            if base not in on or (version and found < int(version)):
                lacking.append(name)
        return tuple(lacking)


def warm_gaps(layers: Layers) -> tuple[str, ...]:
    """Return why the cells of one box could not be kept apart here; empty when they can.

    A cold call has its box for itself; the cells of a warm one share its namespaces.
    """
    gaps = []
    if not layers.landlock:
        gaps.append("this host has no Landlock")
    elif layers.landlock < SCOPED_SIGNALS_ABI and not layers.seccomp_notify:
        gaps.append(
            f"this host has no Landlock of ABI {SCOPED_SIGNALS_ABI} or later, and no seccomp "
            "filter that asks (seccomp_notify)"
        )
    if not layers.seccomp:
        gaps.append("this host has no seccomp")
    return tuple(gaps)


@functools.cache
def floor_gaps(layers: Layers) -> tuple[str, ...]:
    """Return what of the floor these layers cannot promise; empty when a call may run.

    The floor: no network, no foreign files, other processes neither readable nor signalable,
    the whole tree killed, memory and time bounded. Landlock below ABI 6 is made up for by
    seccomp (path ``truncate``, signals), so that any ABI will do with it.
    """
    own_processes = {"pid", "mount"} <= layers.namespaces
    gaps = []
    if not layers.seccomp:
        gaps.append("system calls are not filtered (seccomp): memory could hide from measurement")
    if "net" not in layers.namespaces and not layers.seccomp:
        gaps.append("the network is reachable (needs namespaces.net or seccomp)")
    if "mount" not in layers.namespaces and not layers.landlock:
        gaps.append("foreign files are readable (needs namespaces.mount or landlock)")
    if not own_processes and not layers.landlock:
        gaps.append("other processes are readable (needs namespaces.pid and .mount, or landlock)")
    if "pid" not in layers.namespaces and not layers.seccomp:
        gaps.append("a process could leave the tree (needs namespaces.pid or seccomp)")
    if not layers.rlimits and not layers.watchdog:
        gaps.append("memory and time are not bounded (needs rlimits or the watchdog)")
    return tuple(gaps)
