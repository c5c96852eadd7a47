"""The seccomp filters: which system calls a plugin's processes may not make.

A list of denials, not of permissions: numeric libraries use calls that nobody lists, and an
allow-list breaks with their next release. What is denied fails with EPERM; what is newer than
the table fails with ENOSYS, so that libraries fall back. Of the calls that are dozens of calls each
(fcntl, ioctl, prctl), what may be asked for is listed.

The kernel caches which calls are allowed whatever their arguments, so length costs those little.
Others go through all of a filter's instructions before their own, so these stand first.
"""

import errno
import struct

from .seccomp_table import (
    ABSENT,
    ALWAYS_DENIED,
    ATTRIBUTES,
    BY_ARGUMENT,
    FCNTL,
    FCNTL_LOCKS,
    GAP,
    IOCTL,
    IOCTL_NETWORK,
    MADVISE_DENIED,
    MADVISE_WITHOUT_EFFECT,
    NETWORK,
    NEWEST,
    OTHER_SIGNALS,
    PR_SET_DUMPABLE,
    PRCTL,
    PRCTL_OF_SETUP,
    RESTRICT,
    SIGNALS_BY_NUMBER,
    SOCKET_BUFFERS,
    SOCKET_PROGRAMS,
    SOL_SOCKET,
    TRUNCATE,
    UNHOOKED_FILES,
    UNHOOKED_NAMES,
    UNKNOWN,
    WITHOUT_EFFECT,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Instruction = tuple[int, int, int, int]

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_LOAD, _AND, _JEQ, _JGE, _JGT, _JSET, _RET = 0x20, 0x54, 0x15, 0x35, 0x25, 0x45, 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOTIFY = 0x7FC00000
_NUMBER, _ARCH = 0, 4

_CLONE_NEW = 0x7E020080  # NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE_PARENT = 0x8000
_SIGKILL = 9
# Which argument of a call that sends a signal says which.
SIGNAL_ARGUMENT = {
    "kill": 1, "tgkill": 2, "tkill": 1, "rt_sigqueueinfo": 1, "rt_tgsigqueueinfo": 2,
    "pidfd_send_signal": 1,
}  # fmt: skip
_AF_UNIX = 1
_SOCK_STREAM = 1
_SOCK_TYPE_MASK = 0xF
# Of MAP_SHARED (1) and MAP_SHARED_VALIDATE (3) the lowest bit; MAP_PRIVATE and others lack it.
_SHARED_AND_ANONYMOUS = 0x01 | 0x20


def _answer(number: int) -> "Instruction":
    """Answer with an errno; 0 is a success without the call."""
    return (_RET, _ERRNO | number, 0, 0)


_DENY = _answer(errno.EPERM)
_DONE = _answer(0)
_PASS = (_RET, _ALLOW, 0, 0)
_ASK = (_RET, _NOTIFY, 0, 0)


def _low(argument: int) -> "Instruction":
    """Load the low half of an argument: the kernel takes these arguments as 32 bits.

    What it then sees is what it will act on, whatever stands in the high half.
    """
    return (_LOAD, 16 + 8 * argument, 0, 0)


def _high(argument: int) -> "Instruction":
    """Load the high half of an argument."""
    return (_LOAD, 20 + 8 * argument, 0, 0)


def _one_of(values: "Sequence[int]", answer: "Instruction") -> "list[Instruction]":
    """Give ``answer`` if what was loaded is one of ``values``, or go on behind it."""
    last = len(values) - 1
    code = [(_JEQ, v & 0xFFFFFFFF, last - i, int(i == last)) for i, v in enumerate(values)]
    return [*code, answer]


class _Program:
    """BPF instructions, with the number of each call looked up for one architecture."""

    def __init__(self, arch: str) -> None:
        self._column = list(_AUDIT_ARCH).index(arch)
        self._code = bytearray()

    def emit(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self._code += struct.pack("=HBBI", code, if_true, if_false, value)

    def deny(self, calls: dict[str, tuple[int, int]], number: int = errno.EPERM) -> None:
        for numbers in calls.values():
            if numbers[self._column] != ABSENT:
                self.emit(_JEQ, numbers[self._column], 0, 1)
                self.emit(*_answer(number))

    def when(self, numbers: tuple[int, int], *body: "Instruction | Iterable[Instruction]") -> None:
        """Run ``body`` for the call of these numbers; a body ends in a return on every path."""
        code: list[Instruction] = []
        for part in body:
            if isinstance(part, tuple):
                code.append(part)
            else:
                code += part
        self.emit(_JEQ, numbers[self._column], 0, len(code))
        for instruction in code:
            self.emit(*instruction)

    def bytes(self) -> bytes:
        return bytes(self._code)


def _prologue(program: _Program, arch: str) -> None:
    program.emit(_LOAD, _ARCH)
    program.emit(_JEQ, _AUDIT_ARCH[arch], 1, 0)
    program.emit(*_DENY)
    program.emit(_LOAD, _NUMBER)
    if arch == "x86_64":
        program.emit(_JGE, _X32_BIT, 0, 1)
        program.emit(*_DENY)


def _refuse_unknown(program: _Program, arch: str) -> None:
    program.emit(_JGT, NEWEST, 0, 1)
    program.emit(*_answer(errno.ENOSYS))
    first, last = GAP[arch]
    program.emit(_JGE, first, 0, 2)
    program.emit(_JGT, last, 1, 0)
    program.emit(*_answer(errno.ENOSYS))


def zygote_filter(
    arch: str,
    *,
    network: bool,
    mount_namespace: bool,
    landlock_abi: int,
    counted_memory: bool = False,
    alone: bool = False,
    asks: bool = False,
    hears_kills: bool = False,
    keeps_modes: bool = False,
) -> bytes:
    """Return the filter that the zygote installs before the first line of plugin code.

    ``mount_namespace`` and ``landlock_abi`` (0: none) say which other layers there are: what
    they would not stop is denied here. ``counted_memory``: the kernel itself counts the memory of
    the box, and so what no figure of a process shows. ``alone``: the box has one cell. ``asks``:
    it is installed with a listener, which is asked who may be signalled. ``hears_kills``: the
    listener only hears of each SIGKILL before it is sent. ``keeps_modes``: where a
    file's mode, owner or times could be anybody's file's, changing them succeeds without effect.
    """
    program = _Program(arch)
    _prologue(program, arch)
    _by_request(program, network=network, landlock_abi=landlock_abi, counted_memory=counted_memory)
    _sockets(program, network=network, mount_namespace=mount_namespace)
    _refuse_unknown(program, arch)
    for group in ALWAYS_DENIED:
        program.deny(group)
    program.deny(UNKNOWN, errno.ENOSYS)
    program.deny(ATTRIBUTES, errno.ENOTSUP)
    program.deny(WITHOUT_EFFECT, 0)
    if asks:
        _ask_before_signals(program)
    elif hears_kills:
        for name, numbers in (SIGNALS_BY_NUMBER | OTHER_SIGNALS).items():
            program.when(numbers, _low(SIGNAL_ARGUMENT[name]), _one_of([_SIGKILL], _ASK), _PASS)
    if keeps_modes and not mount_namespace:
        # Programs that unpack archives give up where they may not; whoever takes the files over
        # gives them modes of its own.
        program.deny(UNHOOKED_NAMES, 0)
        program.deny(UNHOOKED_FILES, 0)
        program.when(BY_ARGUMENT["utimensat"], _DONE)
    if not (alone and mount_namespace):
        program.deny(UNHOOKED_NAMES)
        if mount_namespace:
            # Without a name it is about an open file. A pointer is 64 bits: both halves count.
            program.when(
                BY_ARGUMENT["utimensat"],
                _low(1), (_JEQ, 0, 1, 0), _DENY, _high(1), (_JEQ, 0, 1, 0), _DENY, _PASS,
            )  # fmt: skip
    if not mount_namespace:
        program.when(BY_ARGUMENT["utimensat"], _DENY)
        program.deny(UNHOOKED_FILES)
    if landlock_abi < 3 and not (alone and mount_namespace):
        program.deny(TRUNCATE)
    program.emit(*_PASS)
    return program.bytes()


def _ask_before_signals(program: _Program) -> None:
    """Let a process signal its own group; ask about other targets, but for everybody."""
    everybody = -1
    program.when(
        SIGNALS_BY_NUMBER["kill"],
        _low(1), (_JEQ, _SIGKILL, 3, 0), _low(0), (_JEQ, 0, 0, 1), _PASS,
        _low(0), _one_of([everybody], _DENY), _ASK,
    )  # fmt: skip
    asked = ("tgkill", "tkill")
    for name, numbers in (SIGNALS_BY_NUMBER | OTHER_SIGNALS).items():
        if name in asked:
            program.when(numbers, _ASK)
    program.deny({name: OTHER_SIGNALS[name] for name in OTHER_SIGNALS if name not in asked})


def _by_request(
    program: _Program, *, network: bool, landlock_abi: int, counted_memory: bool
) -> None:
    """Emit the calls that are looked at by argument, those made most often first."""
    call = BY_ARGUMENT
    if not counted_memory:
        program.when(
            call["mmap"],
            _low(3), (_AND, _SHARED_AND_ANONYMOUS, 0, 0), (_JEQ, _SHARED_AND_ANONYMOUS, 0, 1),
            _DENY, _PASS,
        )  # fmt: skip
    program.when(
        call["madvise"],
        _low(2), _one_of(MADVISE_WITHOUT_EFFECT, _DONE),
        _one_of(MADVISE_DENIED, _answer(errno.EINVAL)), _PASS,
    )  # fmt: skip
    program.when(call["fcntl"], _low(1), _one_of(FCNTL, _PASS), _one_of(FCNTL_LOCKS, _DONE), _DENY)
    ioctl = IOCTL + (IOCTL_NETWORK if network else ())
    program.when(call["ioctl"], _low(1), _one_of(ioctl, _PASS), _answer(errno.ENOTTY))
    prctl = PRCTL_OF_SETUP + (() if landlock_abi else (PR_SET_DUMPABLE,)) + PRCTL
    program.when(call["prctl"], _low(0), _one_of(prctl, _PASS), _answer(errno.EINVAL))
    program.when(call["clone"], _low(0), (_JSET, _CLONE_NEW, 0, 1), _DENY, _PASS)
    program.when(call["prlimit64"], _low(0), (_JEQ, 0, 1, 0), _DENY, _PASS)
    program.when(
        call["setsockopt"],
        _low(1), (_JEQ, SOL_SOCKET, 1, 0), _PASS,
        _low(2), _one_of(SOCKET_BUFFERS, _DONE), _one_of(SOCKET_PROGRAMS, _DENY), _PASS,
    )  # fmt: skip


def _sockets(program: _Program, *, network: bool, mount_namespace: bool) -> None:
    if network and mount_namespace:
        return
    if network:
        # By a path, a socket of any service of the host: Landlock has no hook for that.
        program.when(NETWORK["socket"], _low(0), (_JEQ, _AF_UNIX, 0, 1), _DENY, _PASS)
    else:
        program.deny(NETWORK)
    # A datagram socketpair can send to a path; a stream pair only to its other end.
    program.when(
        BY_ARGUMENT["socketpair"],
        _low(0), (_JEQ, _AF_UNIX, 0, 4),
        _low(1), (_AND, _SOCK_TYPE_MASK, 0, 0), (_JEQ, _SOCK_STREAM, 0, 1),
        _PASS, _DENY,
    )  # fmt: skip


def cell_filter(
    arch: str, *, spared: "Sequence[int]" = (), only: "Sequence[int] | None" = None
) -> bytes:
    """Return what a cell installs on top of its zygote's, once it is in its place.

    Whom it may signal, where Landlock has no scope for that: nobody but ``only`` (0: its group),
    or everybody but ``spared``, numbers of the supervisors that share a pid namespace with it.
    It is short, since every call installs it: what the zygote's denies is denied by that.
    """
    program = _Program(arch)
    program.emit(_LOAD, _NUMBER)
    program.when(BY_ARGUMENT["clone"], _low(0), (_JSET, _CLONE_PARENT, 0, 1), _DENY, _PASS)
    # It dies with its warden, stays readable to who measures it, and adds no filter to its own.
    denied = (*PRCTL_OF_SETUP, PR_SET_DUMPABLE)
    program.when(BY_ARGUMENT["prctl"], _low(0), _one_of(denied, _DENY), _PASS)
    program.deny(RESTRICT)
    if only is not None:
        program.deny(OTHER_SIGNALS)
        for numbers in SIGNALS_BY_NUMBER.values():
            program.when(numbers, _low(0), _one_of(only, _PASS), _DENY)
    elif spared:
        program.deny({"pidfd_send_signal": OTHER_SIGNALS["pidfd_send_signal"]})
        # Their groups too. That of process 1 is -1, which to kill(2) is everybody.
        targets = [*spared, *(-number for number in spared)]
        for name, numbers in (SIGNALS_BY_NUMBER | OTHER_SIGNALS).items():
            if name != "pidfd_send_signal":
                program.when(numbers, _low(0), _one_of(targets, _DENY), _PASS)
    program.emit(*_PASS)
    return program.bytes()


def denied_calls(arch: str) -> dict[str, int]:
    """Return the calls that no plugin may make, by name, with their numbers on ``arch``."""
    column = list(_AUDIT_ARCH).index(arch)
    return {
        name: numbers[column]
        for group in ALWAYS_DENIED
        for name, numbers in group.items()
        if numbers[column] != ABSENT
    }
