"""System calls that Python does not offer, by ctypes. The only module of the project with ctypes.

Everything goes through ``PyDLL``, which holds the GIL: a clone made without it can leave the
child with a lock that no thread of it will ever release. Used by launcher, warden and zygote.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_GET_TID_ADDRESS = 40
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
_SECCOMP_SET_MODE_FILTER, _SECCOMP_NEW_LISTENER = 1, 8
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1

CLONE_PARENT = 0x8000
CLONE_CHILD_CLEARTID = 0x200000
CLONE_CHILD_SETTID = 0x1000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD = -100
AT_RECURSIVE = 0x8000

CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522
_ALL_SECUREBITS_LOCKED = 0x2F  # NOROOT, NO_SETUID_FIXUP, both locked, KEEP_CAPS locked off

# number of a call: (x86-64, aarch64); from Linux's unistd tables
_NUMBERS = {
    "clone": (56, 220),
    "pivot_root": (155, 41),
    "mount_setattr": (442, 442),
    "seccomp": (317, 277),
    "tgkill": (234, 131),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "kcmp": (312, 272),
}
_KCMP_FILE = 0
ARCHITECTURES = ("x86_64", "aarch64")


class SyscallError(OSError):
    """A system call failed; ``operation`` names it as a person would look it up."""

    def __init__(self, number: int, operation: str) -> None:
        super().__init__(number, f"{operation}: {os.strerror(number)}")
        self.operation = operation


def machine() -> str:
    """Return the architecture whose system call numbers apply, or "" for one we do not know."""
    name = os.uname().machine
    if sys.platform != "linux" or name not in ARCHITECTURES or sys.maxsize < 2**32:
        return ""
    return name


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Rights:
    """What this process may do: by libc's own functions, and so on a Linux of any architecture."""

    def __init__(self) -> None:
        self._libc = ctypes.PyDLL(None, use_errno=True)

    def _check(self, result: int, operation: str) -> int:
        if result < 0:
            raise SyscallError(ctypes.get_errno(), operation)
        return result

    def prctl(self, option: int, *args: int) -> int:
        """Call prctl(2) with up to four integer arguments."""
        values = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)[:4]]
        return self._check(self._libc.prctl(option, *values), f"prctl({option})")

    def capabilities(self) -> dict[str, int]:
        """Return the bit masks of this process's sets of capabilities, by the set's name.

        The ambient set is not among them: it is never more than the permitted one.
        """
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)()
        self._check(self._libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
        names = ("effective", "permitted", "inheritable")
        sets = {name: data[i] | data[i + 3] << 32 for i, name in enumerate(names)}
        bounding = (
            capability
            for capability in range(64)
            if self._libc.prctl(PR_CAPBSET_READ, ctypes.c_ulong(capability), 0, 0, 0) == 1
        )
        return {**sets, "bounding": sum(1 << capability for capability in bounding)}

    def hold_capabilities(self, capabilities: int) -> None:
        """Give up every capability that is not in the bit mask ``capabilities``."""
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
        data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
        self._check(self._libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")

    def lock_privileges(self) -> None:
        """Make sure that nothing below can gain a capability: bounding set, securebits."""
        for capability in range(64):
            if self._libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
                break
        self.prctl(PR_SET_SECUREBITS, _ALL_SECUREBITS_LOCKED)


class Kernel(Rights):
    """The calls, bound once: ``libc.syscall`` and a few libc functions that check their errno."""

    def __init__(self) -> None:
        super().__init__()
        self._python = ctypes.pythonapi
        column = ARCHITECTURES.index(machine())
        self._number = {name: numbers[column] for name, numbers in _NUMBERS.items()}
        self._aarch64 = column == 1

    def _syscall(self, name: str, *args: object) -> int:
        values = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
        result: int = self._libc.syscall(ctypes.c_long(self._number[name]), *values)
        return result

    def die_with_parent(self, number: int = signal.SIGKILL) -> None:
        """Have this process get a signal when the thread that made it ends."""
        self.prctl(PR_SET_PDEATHSIG, number)

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        """Call mount(2); empty strings stand for NULL."""
        result = self._libc.mount(
            source.encode() or None,
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
        self._check(result, f"mount({kind or source!r} on {target!r})")

    def unmount(self, target: str, *, detach: bool = True) -> None:
        """Detach the mount at ``target``; or remove it, which fails while it is used."""
        flags = MNT_DETACH if detach else 0
        self._check(self._libc.umount2(os.fsencode(target), flags), f"umount2({target!r})")

    def restrict_mount(self, path: str, flags: int, *, recursive: bool) -> None:
        """Set read-only, nosuid, nodev or noexec on a mount, with all below it if ``recursive``."""
        attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
        result = self._syscall(
            "mount_setattr",
            AT_FDCWD,
            os.fsencode(path),
            AT_RECURSIVE if recursive else 0,
            ctypes.byref(attributes),
            ctypes.sizeof(attributes),
        )
        self._check(result, f"mount_setattr({path!r})")

    def pivot_root_here(self) -> None:
        """Make the working directory, a mount, the root, and let the old root go."""
        self._check(self._syscall("pivot_root", b".", b"."), "pivot_root")
        self.unmount(".")

    def landlock_abi(self) -> int:
        """Return the kernel's Landlock ABI, 1 or more."""
        result = self._syscall(
            "landlock_create_ruleset", ctypes.c_void_p(), 0, LANDLOCK_CREATE_RULESET_VERSION
        )
        return self._check(result, "landlock_create_ruleset(VERSION)")

    def landlock_ruleset(self, attributes: bytes) -> int:
        """Return the descriptor of a new ruleset."""
        result = self._syscall("landlock_create_ruleset", attributes, len(attributes), 0)
        return self._check(result, "landlock_create_ruleset")

    def landlock_allow(self, ruleset: int, path_beneath: bytes, path: str) -> None:
        """Add one rule, a packed ``struct landlock_path_beneath_attr``."""
        result = self._syscall(
            "landlock_add_rule", ruleset, LANDLOCK_RULE_PATH_BENEATH, path_beneath, 0
        )
        self._check(result, f"landlock_add_rule({path!r})")

    def landlock_restrict(self, ruleset: int) -> None:
        """Put this thread, and all it creates, under ``ruleset``; needs no_new_privs."""
        self._check(self._syscall("landlock_restrict_self", ruleset, 0), "landlock_restrict_self")

    def is_same_open_file(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        """Tell whether two descriptors, each a process and a number, are one open file."""
        values = (one[0], other[0], _KCMP_FILE, one[1], other[1])
        return self._check(self._syscall("kcmp", *values), "kcmp") == 0

    def seccomp_filter(self, program: bytes) -> None:
        """Install a BPF program, eight bytes an instruction; needs no_new_privs."""
        prog = _Program(len(program) // 8, program)
        result = self._libc.prctl(
            PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(prog), 0, 0
        )
        self._check(result, "prctl(PR_SET_SECCOMP)")

    def seccomp_listener(self, program: bytes) -> int:
        """Install a BPF program; return the descriptor on which it asks before a call goes on."""
        prog = _Program(len(program) // 8, program)
        result = self._syscall(
            "seccomp", _SECCOMP_SET_MODE_FILTER, _SECCOMP_NEW_LISTENER, ctypes.byref(prog)
        )
        return self._check(result, "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)")

    def is_thread_of(self, thread: int, process: int) -> bool:
        """Tell whether ``thread`` is one of a process's that this one may signal."""
        return self._syscall("tgkill", process, thread, 0) == 0

    def flush(self) -> None:
        """Write out what C code has printed."""
        self._libc.fflush(None)

    def clone(self, flags: int) -> int:
        """Fork with ``flags`` as well, keeping Python's own fork hooks; return as ``os.fork``.

        The child's thread id is stored where libc keeps it, since this is not libc's fork:
        without that, ``pthread_kill`` of the child's main thread fails.
        """
        address = ctypes.c_void_p()
        result = self._libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
        self._check(result, "prctl(PR_GET_TID_ADDRESS)")
        flags |= signal.SIGCHLD
        if address.value:
            flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
        tid, tls = address, ctypes.c_void_p()
        last = (tls, tid) if self._aarch64 else (tid, tls)
        self._python.PyOS_BeforeFork()
        pid = self._syscall("clone", flags, ctypes.c_void_p(), ctypes.c_void_p(), *last)
        if pid == 0:
            self._python.PyOS_AfterFork_Child()
            return 0
        number = ctypes.get_errno()
        self._python.PyOS_AfterFork_Parent()
        if pid < 0:
            raise SyscallError(number, f"clone({flags:#x})")
        return pid
