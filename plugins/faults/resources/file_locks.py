"""Takes the kernel's memory as locks on single bytes of its own file."""

import fcntl
import struct

from hostile import MIB, hold, split

LIMITS = {"wall_seconds": 5, "cpu_seconds": 5, "memory_mb": 64}
LOCK = 192  # bytes, at least
BATCH = 1000
OPEN_FILE = 37  # F_OFD_SETLK


def locks(kept, command=fcntl.F_SETLK):
    file = open("locked", "w+b")
    kept.append(file)
    # Backwards: the kernel looks through those that lie before.
    for at in range(1 << 40, 0, -2 * BATCH):
        for byte in range(at, at - 2 * BATCH, -2):
            fcntl.fcntl(file, command, struct.pack("hhqqi", fcntl.F_WRLCK, 0, byte, 1, 0))
        yield LOCK * BATCH


def of_open_files(kept):
    return locks(kept, OPEN_FILE)


VARIANTS = {
    "of the process": locks,
    "of the open file": of_open_files,
    "of children": split(of_open_files, 4),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]], 200 * MIB)
