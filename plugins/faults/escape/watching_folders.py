"""Has the kernel signal it who uses which folders and descriptors."""

import array
import fcntl
import os
import signal

from hostile import tried

F_NOTIFY, DN_ACCESS, DN_MULTISHOT = 1026, 1, 0x80000000 - (1 << 32)
F_SETOWN_EX, FIOASYNC, FIOSETOWN = 15, 0x5452, 0x8901


def run(payload):
    folder = os.open("/usr/lib", os.O_RDONLY | os.O_DIRECTORY)
    own = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    reader, _ = os.pipe()
    me = array.array("i", [os.getpid()])
    return tried(
        library=lambda: fcntl.fcntl(folder, F_NOTIFY, DN_ACCESS | DN_MULTISHOT),
        own=lambda: fcntl.fcntl(own, F_NOTIFY, DN_ACCESS | DN_MULTISHOT),
        owner=lambda: fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid()),
        owner_of_a_kind=lambda: fcntl.fcntl(reader, F_SETOWN_EX, bytes(8)),
        signal=lambda: fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGUSR1),
        asynchronous=lambda: fcntl.ioctl(reader, FIOASYNC, array.array("i", [1])),
        owner_by_request=lambda: fcntl.ioctl(reader, FIOSETOWN, me),
    )
