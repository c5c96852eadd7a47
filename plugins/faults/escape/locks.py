"""Locks files that other calls can open too, so that they see it or wait for it."""

import fcntl
import os
import struct

from hostile import child, tried, wait

F_OFD_SETLK = 37
ALL = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
COMMON = "/dev/null"


def seen(look):
    """Raise where no other process can see the lock."""
    ours, theirs = os.pipe()
    wait(child(lambda: os.write(theirs, b"y" if look() else b"n")))
    if os.read(ours, 1) == b"n":
        raise PermissionError


def flock_is_held():
    try:
        fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def record_is_locked():
    answer = fcntl.fcntl(os.open(COMMON, os.O_RDWR), fcntl.F_GETLK, ALL)
    return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK


def run(payload):
    library = os.open(os.__file__, os.O_RDONLY)
    device = os.open(COMMON, os.O_RDWR)

    def lock(command):
        fcntl.fcntl(device, command, ALL)
        seen(record_is_locked)

    def whole_file():
        fcntl.flock(library, fcntl.LOCK_EX)
        seen(flock_is_held)

    return tried(
        whole_file=whole_file,
        record=lambda: lock(fcntl.F_SETLK),
        own_open_file=lambda: lock(F_OFD_SETLK),
    )
