"""Takes memory as page tables, by reading a page of every two MiB that it has mapped."""

import ctypes
import mmap

from hostile import MIB, PAGE, called, hold, libc, mapped, split

LIMITS = {"wall_seconds": 60, "memory_mb": 64}
REACH = 2 * MIB  # what one page of the lowest table covers
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE


def read_over(size):
    start = mapped(size, mmap.PROT_READ, FLAGS)
    called(libc.madvise, start, size, 15)  # MADV_NOHUGEPAGE
    for at in range(start, start + size, REACH):
        ctypes.string_at(at, 1)


def one_map(kept, size=REACH * 4096):
    while True:
        read_over(size)
        yield size // REACH * PAGE


def many_maps(kept):
    return one_map(kept, REACH * 16)


def shared_page(kept):
    size = REACH * 1024
    with open("page", "wb") as file:
        file.write(bytes(PAGE))
    with open("page", "rb") as file:
        while True:
            start = mapped(size, 0, FLAGS)
            for at in range(start, start + size, REACH):
                called(libc.mmap, at, PAGE, mmap.PROT_READ, 0x11, file.fileno(), 0)  # fixed, shared
                ctypes.string_at(at, 1)
                yield PAGE


VARIANTS = {
    "one map": one_map,
    "many maps": many_maps,
    "in children": split(one_map),
    "one page of a file": shared_page,
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
