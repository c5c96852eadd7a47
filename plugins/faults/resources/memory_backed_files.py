"""Takes memory that belongs to no process: memfd, secret memory, System V, message queues."""

import os

from hostile import syscall, tried


def run(payload):
    return tried(
        memfd=lambda: os.memfd_create("x"),
        secret=lambda: syscall(447, 447, 0),
        segment=lambda: syscall(29, 194, 0, 4096, 0o1600),
        semaphores=lambda: syscall(64, 190, 0, 1, 0o1600),
        messages=lambda: syscall(68, 186, 0, 0o1600),
    )
