"""Takes the kernel's memory as entries of epoll, one for each file and each number it ever had."""

import os
import select

from hostile import LESS, hold, split

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
ITEM = 128  # bytes, at least
SETS, FILES = 60, 60


def items(kept):
    sets = [select.epoll() for _ in range(SETS)]
    files = [os.eventfd(0) for _ in range(FILES)]
    kept += [sets, files]
    low = max(files) + 1
    for number in range(low, 256):
        for file in files:
            os.dup2(file, number)
            for one in sets:
                one.register(number, 0)
        os.close(number)
        yield ITEM * SETS * FILES


def of_pipes(kept):
    ends = [end for _ in range(FILES // 2) for end in os.pipe()]
    sets = [select.epoll() for _ in range(SETS)]
    kept += [sets, ends]
    for number in range(max(one.fileno() for one in sets) + 1, 256):
        for end in ends:
            os.dup2(end, number)
            for one in sets:
                one.register(number, 0)
        os.close(number)
        yield ITEM * SETS * FILES


VARIANTS = {"for events": items, "for pipes": of_pipes, "of children": split(items, 4, LESS)}


def run(payload):
    return hold(VARIANTS[payload["variant"]], LESS)
