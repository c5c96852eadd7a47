"""Takes the kernel's memory as long filters of system calls, which let everything through."""

import struct
import threading
import time

from hostile import LESS, LONG, address, called, hold, libc, split

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
LENGTH = 4096
# A filter is kept as it was given, translated, and compiled.
FILTER = 2 * 8 * LENGTH


def install():
    code = bytearray(struct.pack("=HBBI", 0x20, 0, 0, 0) * (LENGTH - 1))
    code += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    program = bytearray(struct.pack("HP", LENGTH, address(code)))
    called(libc.prctl, 22, 2, address(program), 0, 0)


def one_process(kept):
    while True:
        install()
        yield FILTER


def threads(kept):
    """Each thread has filters of its own."""

    def work():
        try:
            while True:
                install()
                kept.append(FILTER)
        except OSError:
            time.sleep(LONG)

    for _ in range(50):
        before = len(kept)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.02)
        yield FILTER * (len(kept) - before)


VARIANTS = {
    "in a process": one_process,
    "in threads": threads,
    "in children": split(one_process, 28, LESS),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]], LESS)
