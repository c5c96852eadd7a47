"""Takes memory that only pipes hold on to, once it is unmapped."""

import fcntl
import mmap
import os
import struct

from hostile import MIB, PAGE, address, called, hold, libc, split

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
HUGE = 2 * MIB
SLOTS = 16


def pipe(kept):
    ends = os.pipe()
    kept.append(ends)
    return ends


def vmsplice(to, start, size):
    vector = bytearray(struct.pack("PP", start, size))
    return called(libc.vmsplice, to, address(vector), 1, 2)  # SPLICE_F_NONBLOCK


def huge_pages(kept):
    while True:
        _, to = pipe(kept)
        for _ in range(SLOTS - 1):
            area = mmap.mmap(-1, 2 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            area.madvise(mmap.MADV_HUGEPAGE)
            start = -(-address(area) // HUGE) * HUGE
            area[start - address(area)] = 1
            vmsplice(to, start, PAGE)
            called(libc.munmap, address(area), 2 * HUGE)
            kept.append(area)
            yield HUGE


def small_pages(kept):
    while True:
        _, to = pipe(kept)
        fcntl.fcntl(to, 1031, MIB)  # F_SETPIPE_SZ
        area = mmap.mmap(-1, MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        area.write(bytes(MIB))
        sent = vmsplice(to, address(area), MIB)
        area.close()
        yield sent


def pages_of_files(kept):
    with open("pages", "w+b", buffering=0) as file:
        while True:
            _, to = pipe(kept)
            file.write(bytes(SLOTS * PAGE))
            file.seek(0)
            yield os.splice(file.fileno(), to, SLOTS * PAGE, flags=2)
            file.seek(0)
            file.truncate()


def written(kept):
    while True:
        _, to = pipe(kept)
        fcntl.fcntl(to, 1031, MIB)
        os.set_blocking(to, False)
        yield os.write(to, bytes(MIB))


VARIANTS = {
    "huge pages": huge_pages,
    "small pages": small_pages,
    "small pages of children": split(small_pages),
    "pages of files": pages_of_files,
    "written": split(written),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
