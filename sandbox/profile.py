"""What a box is told before it starts: whom it runs as, what it may read, which layers it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

import psutil

from toolrunner.sandbox import interpreter
from toolrunner.sandbox.interpreter import Interpreter
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import Limits

NPROC_SLACK = 256
SCRATCH_PREFIX = "toolrunner-"  # of the folders of boxes without a root of their own
INPUTS_PREFIX = f"{SCRATCH_PREFIX}inputs-"  # of the folders with the files of calls

_SYSTEM = (
    "/usr",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/fonts",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    # How many processors there are: libraries that find none here give up. No more of that folder,
    # whose counters tell of the host's load.
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
)
_NETWORK = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/services",
    "/etc/protocols",
    "/etc/nsswitch.conf",
)
_WITHOUT_PROC = ("/proc/cpuinfo", "/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Program:
    """A plugin as a box sees it.

    ``path``: its file or folder. ``entry``: "module:object", ":object", or "" for the module's
    own ``run`` or ``Plugin``. ``command``: the program that each call starts instead, with its
    arguments. ``source``: a single file's bytes, so that the box need not be able to open it.
    ``folder``: what to put on the module path, or "". ``package``: the name of the package that
    ``path`` is, where it is to be found by that alone, or "". ``read``: more folders
    it may read. ``absent``: what it was to read as well, and cannot be found. ``log_level``:
    which ``logging`` records it sends. ``stamp``: another number when its files have changed.
    ``found``: device and inode of what ``path`` and ``read`` led to when they were checked; the
    box refuses anything else in their place. ``rehearsal``: a request to run once after loading,
    as JSON ``{"payload", "image"}`` with the image in base64, or "".
    ``misses_threads``: threads that its import starts keep it from being forked.
    ``examined``: its calls tell what they take, instead of their result. ``batch``: the most calls
    that a resident serves at once; for ``batch_ms``, more are waited for. ``write``: folders of the
    host that it may write to, which are made the box's user's with all that is in them.
    ``tools``: what a request may name, of a plugin of several.
    ``python``: what runs its boxes, with the packages that it has; ``None`` for the runner's own.
    ``takes_files``: its requests may come with files. ``install``: the command that a person types
    to have the modules that it needs.
    """

    name: str
    path: str
    entry: str = ""
    command: tuple[str, ...] = ()
    source: bytes = b""
    folder: str = ""
    package: str = ""
    read: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: bool = False
    config: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    log_level: int = 20
    stamp: int = 0
    rehearsal: str = ""
    misses_threads: bool = True
    examined: bool = False
    batch: int = 1
    batch_ms: int = 0
    tools: tuple[str, ...] = ()
    python: Interpreter | None = None
    takes_files: bool = False
    install: str = ""
    found: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def interpreter(self) -> Interpreter:
        """What runs its boxes."""
        return self.python or interpreter.own()

    @property
    def module_path(self) -> tuple[str, ...]:
        """Its ``sys.path``."""
        return self.python.module_path if self.python else interpreter.own_module_path()

    @property
    def interpreter_state(self) -> str:
        """A text that is another one for another interpreter, or when packages have changed."""
        return self.python.state if self.python else interpreter.own_state()


def readable_paths(program: Program, layers: Layers, bytecode: str = "") -> list[str]:
    """Return all that the box may read, real paths, outer folders before what lies in them."""
    wanted = [*_SYSTEM, *program.interpreter.needs, program.path, *program.read]
    if bytecode:
        wanted.append(bytecode)
    if program.network:
        wanted += _NETWORK
    if "mount" not in layers.namespaces:
        wanted += _WITHOUT_PROC
    existing = {path for path in wanted if os.path.lexists(path)}
    # A symbolic link is shown by its own name and, for what Landlock sees, by its target's.
    # Of what was looked at before, both names are known; what they lead to now does not count.
    existing |= {os.path.realpath(path) for path in existing if path not in program.found}
    kept: list[str] = []
    for path in sorted(existing):
        if not any(path == other or path.startswith(f"{other}/") for other in kept):
            kept.append(path)
    return kept


def hidden_paths(program: Program) -> list[str]:
    """Return folders in what it may read that the box does not show: packages of others."""
    own = (program.path, *program.read)
    hides = program.python.hides if program.python else ()
    return [path for path in hides if not any(f"{one}/".startswith(f"{path}/") for one in own)]


def nproc_base(layers: Layers, uid: int | None) -> int | None:
    """Return the tasks to add to RLIMIT_NPROC for those that are not the call's own.

    The kernel counts by user and user namespace: in a namespace or under a user of its own that
    is the box. A plain user's other processes count as well; the slack is for those to come.
    """
    if layers.portable:
        return None
    if "user" in layers.namespaces or uid is not None:
        return 8
    own = os.geteuid()
    tasks = 0
    try:
        for process in psutil.process_iter(["uids", "num_threads"]):
            uids = process.info["uids"]
            if uids is not None and uids.real == own:
                tasks += process.info["num_threads"] or 1
    except (psutil.Error, OSError):
        return None  # no /proc to count in: a limit that is too low would fail good calls
    return tasks + NPROC_SLACK


def box_profile(
    program: Program,
    limits: Limits,
    layers: Layers,
    *,
    uid: int | None,
    scratch: str,
    slots: int,
    resident: bool = False,
    bytecode: str = "",
    inputs: str = "",
) -> dict[str, object]:
    """Return the profile that the launcher reads, as JSON-ready values.

    ``bytecode``: a folder with compiled modules. ``inputs``: one with the files of calls.
    """
    namespaces = layers.namespaces - ({"net"} if program.network else set())
    return {
        "portable": layers.portable,
        "namespaces": sorted(namespaces),
        "landlock": layers.landlock,
        "seccomp": layers.seccomp,
        "asks_before_signals": layers.asks_before_signals,
        "hears_kills": layers.hears_kills,
        "rlimits": layers.rlimits,
        "cgroup": layers.cgroup,
        "proc": layers.proc,
        "network": program.network,
        "uid": uid,
        "nproc_base": nproc_base(layers, uid),
        "read": readable_paths(program, layers, bytecode),
        "write": list(program.write),
        "inputs": inputs,
        "hide": hidden_paths(program),
        "found": {path: list(known) for path, known in program.found.items()},
        "scratch": scratch,
        "slots": slots,
        "resident": resident,
        "limits": asdict(limits),
    }
