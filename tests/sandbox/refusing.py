"""A launcher that takes a kernel feature away, for real, and then becomes another program.

    python refusing.py FEATURE PROGRAM ARGUMENT...

A seccomp filter (for "proc-files" a Landlock ruleset) of its own refuses what the feature needs,
with the error that a kernel or a container without it gives; all descendants inherit that.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

from toolrunner.sandbox.inside import landlock
from toolrunner.sandbox.inside.syscalls import PR_SET_NO_NEW_PRIVS, Kernel, machine

NUMBERS = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "mount": (165, 40),
    "landlock_create_ruleset": (444, 444),
    "prctl": (157, 167),
    "seccomp": (317, 277),
    "prlimit64": (302, 261),
}
NAMESPACE_FLAGS = {
    "namespaces.user": 0x10000000,
    "namespaces.pid": 0x20000000,
    "namespaces.net": 0x40000000,
    "namespaces.ipc": 0x08000000,
    "namespaces.uts": 0x04000000,
}
LOAD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one BPF instruction."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def refuse(call: str, number: int) -> bytes:
    """Refuse a call whatever its arguments."""
    nr = NUMBERS[call][machine() == "aarch64"]
    return instruction(LOAD, 0) + instruction(JEQ, nr, 0, 1) + instruction(RET, ERRNO | number)


def refuse_if(call: str, argument: int, test: int, value: int, number: int) -> bytes:
    """Refuse a call if the low half of an argument passes a test."""
    nr = NUMBERS[call][machine() == "aarch64"]
    return (
        instruction(LOAD, 0)
        + instruction(JEQ, nr, 0, 3)
        + instruction(LOAD, 16 + 8 * argument)
        + instruction(test, value, 0, 1)
        + instruction(RET, ERRNO | number)
    )


def program(feature: str) -> bytes:
    """Return the filter that takes ``feature`` away."""
    if feature in NAMESPACE_FLAGS:
        flag = NAMESPACE_FLAGS[feature]
        return (
            refuse_if("clone", 0, JSET, flag, errno.EPERM)
            + refuse_if("unshare", 0, JSET, flag, errno.EPERM)
            + refuse("clone3", errno.ENOSYS)
        )
    if feature == "namespaces":
        return (
            refuse_if("clone", 0, JSET, 0x7E020000, errno.EPERM)
            + refuse("unshare", errno.EPERM)
            + refuse("clone3", errno.ENOSYS)
        )
    return {
        "namespaces.mount": refuse("mount", errno.EPERM),
        "landlock": refuse("landlock_create_ruleset", errno.ENOSYS),
        "seccomp": refuse_if("prctl", 0, JEQ, 22, errno.EINVAL) + refuse("seccomp", errno.ENOSYS),
        "rlimits": refuse_if("prlimit64", 1, JEQ, 2, errno.EPERM),
    }[feature]


def main() -> None:
    """Take the feature away and become the program."""
    feature, *command = sys.argv[1:]
    kernel = Kernel()
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    if feature == "proc-files":
        rules = [(f"/{name}", landlock.EVERYTHING) for name in os.listdir("/") if name != "proc"]
        ruleset = landlock.build(kernel, 1, rules, network=True)
        landlock.restrict(kernel, ruleset)
    else:
        kernel.seccomp_filter(program(feature) + instruction(RET, ALLOW))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
