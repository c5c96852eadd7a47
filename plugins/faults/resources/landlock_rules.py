"""Takes the kernel's memory as Landlock rulesets that it never uses."""

import os
import struct

from hostile import address, hold, split, syscall

LIMITS = {"wall_seconds": 5, "cpu_seconds": 5, "memory_mb": 64}
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
    for number in range(200):
        os.mkdir(str(number))
        kept.append(os.open(str(number), os.O_PATH))
    names = list(kept)
    while True:
        rules = ruleset(kept, 4, 0)
        for name in names:
            rule = bytearray(struct.pack("=Qi", 4, name))
            syscall(445, 445, rules, 1, address(rule), 0)
        yield RULE * len(names)


VARIANTS = {"for ports": ports, "for folders": folders, "of children": split(ports)}


def run(payload):
    return hold(VARIANTS[payload["variant"]], 200 << 20)
