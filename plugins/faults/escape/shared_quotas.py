"""Takes of what the whole host shares: aio's quota, keys, the page cache, the disks' queues."""

import ctypes
import os

from hostile import syscall, tried

POSIX_FADV_DONTNEED, MADV_PAGEOUT = 4, 21


def run(payload):
    library = os.open(os.__file__, os.O_RDONLY)
    room = ctypes.create_string_buffer(8)

    def dropped():
        """Drop a file from the cache of everybody; the next reader waits for the disk."""
        os.posix_fadvise(library, 0, 0, POSIX_FADV_DONTNEED)
        state = ctypes.create_string_buffer(32)
        extent = ctypes.create_string_buffer((4096).to_bytes(8, "little") * 2)
        syscall(451, 451, library, ctypes.addressof(extent), ctypes.addressof(state), 0)

    return tried(
        asynchronous=lambda: syscall(206, 0, 1024, ctypes.addressof(room)),
        key=lambda: syscall(248, 217, 0, 0, 0, 0, -3),
        cache=dropped,
    )
