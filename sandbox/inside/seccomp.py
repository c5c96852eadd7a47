"""The seccomp filters: which system calls a plugin's processes may not make.

A list of denials, not of permissions: numeric libraries use calls that nobody lists, and an
allow-list breaks with their next release. What is denied fails with EPERM; what is newer than
this table, and ``clone3``, fail with ENOSYS, so that libraries fall back. The kernel caches
calls that are allowed whatever their arguments, so length costs little. Numbers: Linux's
unistd_64.h (x86-64) and asm-generic/unistd.h (aarch64).
"""

import errno
import struct

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_NEWEST = 462  # mseal; the table was checked against Linux 6.18
_GAP = {"x86_64": (335, 423), "aarch64": (295, 423)}  # numbers that no call had when checked

_LOAD, _JEQ, _JGE, _JGT, _JSET, _RET = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NUMBER, _ARCH = 0, 4

_CLONE_NEW = 0x7E020080  # NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE_PARENT = 0x8000
_AF_UNIX = 1
_SOCK_STREAM = 1
_SOCK_TYPE_MASK = 0xF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PR_SET_PDEATHSIG = 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902

_ABSENT = -1

# name: (x86-64, aarch64); grouped by what each group would give to a plugin
_PRIVILEGED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "statmount": (457, 457), "listmount": (458, 458), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "perf_event_open": (298, 241), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "acct": (163, 89), "syslog": (103, 116),
    "clock_settime": (227, 112), "settimeofday": (164, 170), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "vhangup": (153, 58), "iopl": (172, _ABSENT),
    "ioperm": (173, _ABSENT), "modify_ldt": (154, _ABSENT), "personality": (135, 92),
    "uselib": (134, _ABSENT), "sysfs": (139, _ABSENT), "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
}  # fmt: skip
_OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30),
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip
_KERNEL_SURFACE = {
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
}  # fmt: skip
_UNMEASURED_MEMORY = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
}  # fmt: skip
# Files that everybody may read tell who reads them, and when.
_WATCHING = {
    "inotify_init": (253, _ABSENT), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
}  # fmt: skip
_NETWORK = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
}  # fmt: skip
# Landlock has no hook for these, and without a mount namespace nothing is mounted read-only.
_UNHOOKED_FILES = {
    "chmod": (90, _ABSENT), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, _ABSENT), "lchown": (94, _ABSENT), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, _ABSENT), "utimes": (235, _ABSENT), "futimesat": (261, _ABSENT),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
_TRUNCATE = {"truncate": (76, 45)}
_SIGNALS_BY_NUMBER = {"kill": (62, 129), "tgkill": (234, 131)}
_OTHER_SIGNALS = {
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}  # fmt: skip
_ALWAYS_DENIED = (
    _PRIVILEGED, _OTHER_PROCESSES, _KERNEL_SURFACE, _UNMEASURED_MEMORY, _WATCHING,
)  # fmt: skip
_BY_ARGUMENT = {
    "clone": (56, 220), "clone3": (435, 435), "fcntl": (72, 25), "ioctl": (16, 29),
    "prctl": (157, 167), "prlimit64": (302, 261), "socketpair": (53, 199),
}  # fmt: skip


class _Program:
    """BPF instructions, with the number of each call looked up for one architecture."""

    def __init__(self, arch: str) -> None:
        self._column = list(_AUDIT_ARCH).index(arch)
        self._code = bytearray()

    def emit(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self._code += struct.pack("=HBBI", code, if_true, if_false, value)

    def deny(self, calls: dict[str, tuple[int, int]], number: int = errno.EPERM) -> None:
        for numbers in calls.values():
            if numbers[self._column] != _ABSENT:
                self.emit(_JEQ, numbers[self._column], 0, 1)
                self.emit(_RET, _ERRNO | number)

    def when(self, name: str, *body: tuple[int, int, int, int]) -> None:
        """Run ``body`` for the call ``name``; a body ends in a return on every path."""
        table = _BY_ARGUMENT if name in _BY_ARGUMENT else _SIGNALS_BY_NUMBER
        self.emit(_JEQ, table[name][self._column], 0, len(body))
        for code, value, if_true, if_false in body:
            self.emit(code, value, if_true, if_false)

    def bytes(self) -> bytes:
        return bytes(self._code)


def _low(argument: int) -> tuple[int, int, int, int]:
    """Load the low half of an argument: the kernel takes these arguments as 32 bits.

    What it then sees is what it will act on, whatever stands in the high half.
    """
    return (_LOAD, 16 + 8 * argument, 0, 0)


_DENY = (_RET, _ERRNO | errno.EPERM, 0, 0)
_PASS = (_RET, _ALLOW, 0, 0)


def _prologue(program: _Program, arch: str) -> None:
    program.emit(_LOAD, _ARCH)
    program.emit(_JEQ, _AUDIT_ARCH[arch], 1, 0)
    program.emit(_RET, _ERRNO | errno.EPERM)
    program.emit(_LOAD, _NUMBER)
    if arch == "x86_64":
        program.emit(_JGE, _X32_BIT, 0, 1)
        program.emit(_RET, _ERRNO | errno.EPERM)
    program.emit(_JGT, _NEWEST, 0, 1)
    program.emit(_RET, _ERRNO | errno.ENOSYS)
    first, last = _GAP[arch]
    program.emit(_JGE, first, 0, 2)
    program.emit(_JGT, last, 1, 0)
    program.emit(_RET, _ERRNO | errno.ENOSYS)


def zygote_filter(arch: str, *, network: bool, mount_namespace: bool, landlock_abi: int) -> bytes:
    """Return the filter that the zygote installs before the first line of plugin code.

    ``mount_namespace`` and ``landlock_abi`` (0: none) say which other layers there are: what
    they would not stop is denied here.
    """
    program = _Program(arch)
    _prologue(program, arch)
    for group in _ALWAYS_DENIED:
        program.deny(group)
    if not network:
        program.deny(_NETWORK)
        # A datagram socketpair can send to a path; a stream pair only to its other end.
        program.when(
            "socketpair",
            _low(0), (_JEQ, _AF_UNIX, 0, 4),
            _low(1), (0x54, _SOCK_TYPE_MASK, 0, 0), (_JEQ, _SOCK_STREAM, 0, 1),
            _PASS, _DENY,
        )  # fmt: skip
    if not mount_namespace:
        program.deny(_UNHOOKED_FILES)
        if landlock_abi < 3:
            program.deny(_TRUNCATE)
    program.deny({"clone3": _BY_ARGUMENT["clone3"]}, errno.ENOSYS)
    program.when("clone", _low(0), (_JSET, _CLONE_NEW, 0, 1), _DENY, _PASS)
    program.when("ioctl", _low(1), (_JEQ, _TIOCSTI, 1, 0), (_JEQ, _TIOCLINUX, 0, 1), _DENY, _PASS)
    program.when("prlimit64", _low(0), (_JEQ, 0, 1, 0), _DENY, _PASS)
    program.emit(_RET, _ALLOW)
    return program.bytes()


def cell_filter(arch: str, *, own_pid: int, scoped_signals: bool) -> bytes:
    """Return what a cell installs on top, once it is in its place.

    Without ``scoped_signals`` (a pid namespace or Landlock's scope) it may signal only itself
    and its group, by number.
    """
    program = _Program(arch)
    _prologue(program, arch)
    program.when("clone", _low(0), (_JSET, _CLONE_PARENT, 0, 1), _DENY, _PASS)
    # It dies with its warden, and may not ask for anything else.
    program.when("prctl", _low(0), (_JEQ, _PR_SET_PDEATHSIG, 0, 1), _DENY, _PASS)
    if not scoped_signals:
        program.deny(_OTHER_SIGNALS)
        # A descriptor can be made to send SIGIO, or any other signal, to its owner.
        program.when(
            "fcntl",
            _low(1), (_JEQ, _F_SETOWN, 2, 0), (_JEQ, _F_SETSIG, 1, 0), (_JEQ, _F_SETOWN_EX, 0, 1),
            _DENY, _PASS,
        )  # fmt: skip
        program.when(
            "ioctl", _low(1), (_JEQ, _FIOSETOWN, 1, 0), (_JEQ, _SIOCSPGRP, 0, 1), _DENY, _PASS
        )
        for name in _SIGNALS_BY_NUMBER:
            program.when(name, _low(0), (_JEQ, own_pid, 2, 0), (_JEQ, 0, 1, 0), _DENY, _PASS)
    program.emit(_RET, _ALLOW)
    return program.bytes()


def denied_calls(arch: str) -> dict[str, int]:
    """Return the calls that no plugin may make, by name, with their numbers on ``arch``."""
    column = list(_AUDIT_ARCH).index(arch)
    return {
        name: numbers[column]
        for group in _ALWAYS_DENIED
        for name, numbers in group.items()
        if numbers[column] != _ABSENT
    }
