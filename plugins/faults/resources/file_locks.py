"""Takes the kernel's memory as locks on single bytes of its own file."""

import fcntl
import os
import struct

from hostile import LESS, hold, split

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
LOCK = 200  # bytes, at least
BATCH = 1500
OPEN_FILE = 37  # F_OFD_SETLK


def lock(file, byte, command):
    fcntl.fcntl(file, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, byte, 1, 0))


def refuse_if_free(number):
    """A lock that does nothing takes nothing."""
    if number == 0 and os.fork() == 0:
        try:
            lock(open(f"{os.getppid()}-0", "r+b"), 0, OPEN_FILE)
            os._exit(0)
        finally:
            os._exit(1)
    if number == 0 and os.wait()[1] == 0:
        raise PermissionError("locks do nothing here")


def locks(kept, command=fcntl.F_SETLK):
    """Not too many a file: the kernel looks through all of them for each new one."""
    for number in range(230):
        file = open(f"{os.getpid()}-{number}", "w+b")
        kept.append(file)
        for byte in range(0, 2 * BATCH, 2):
            lock(file, byte, command)
        refuse_if_free(number)
        yield LOCK * BATCH


def of_open_files(kept):
    return locks(kept, OPEN_FILE)


VARIANTS = {
    "of processes": locks,
    "of open files": of_open_files,
    "of children": split(locks, 8, LESS),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]], LESS)
