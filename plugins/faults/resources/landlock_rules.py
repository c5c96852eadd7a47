"""Takes the kernel's memory as Landlock rulesets that it never uses."""

import itertools
import os
import queue
import struct
import threading
import time

from hostile import LESS, LONG, address, hold, split, syscall

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
RULE = 64  # bytes, at least
BATCH = 1024


def ruleset(kept, *rights):
    attributes = bytearray(struct.pack("QQ", *rights))
    descriptor = syscall(444, 444, address(attributes), len(attributes), 0)
    kept.append(descriptor)
    return descriptor


def ports(kept):
    while True:
        rules = ruleset(kept, 0, 1)
        for first in range(0, 1 << 16, BATCH):
            for port in range(first, first + BATCH):
                rule = bytearray(struct.pack("QQ", 1, port))
                syscall(445, 445, rules, 2, address(rule), 0)
            yield RULE * BATCH


def folders(kept):
    for number in range(2000):
        os.mkdir(str(number))
    while True:
        rules = ruleset(kept, 4, 0)
        for number in range(2000):
            folder = os.open(str(number), os.O_PATH)
            rule = bytearray(struct.pack("=Qi", 4, folder))
            syscall(445, 445, rules, 1, address(rule), 0)
            os.close(folder)
        yield RULE * 2000


def copies(kept):
    """Each thread that confines itself by the same rules has a copy of them."""
    for _ in itertools.islice(ports(kept), (1 << 16) // BATCH):
        pass
    rules = kept[0]
    done = queue.SimpleQueue()

    def work():
        try:
            syscall(446, 446, rules, 0)
            done.put(RULE << 16)
            time.sleep(LONG)
        except OSError as error:
            done.put(error)

    for _ in range(50):
        threading.Thread(target=work, daemon=True).start()
        more = done.get()
        if isinstance(more, OSError):
            raise more
        yield more


VARIANTS = {
    "for ports": ports,
    "for folders": folders,
    "of threads": copies,
    "of children": split(ports, 4, LESS),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]], LESS)
