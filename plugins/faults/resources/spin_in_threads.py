"""Uses more processor time than its limit, in several threads outside of Python's lock."""

import hashlib
import threading

from hostile import MIB, obtained

LIMITS = {"wall_seconds": 15, "cpu_seconds": 0.6}


def work():
    block = bytes(4 * MIB)
    for _ in range(1000):
        hashlib.sha256(block)


def run(payload):
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return obtained("the hashes of 16 GiB")
