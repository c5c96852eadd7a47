"""Has the kernel tell it who uses which files."""

import os

from hostile import libc, syscall, tried

IN_ALL_EVENTS = 0xFFF


def run(payload):
    folder = os.path.dirname(payload["foreign"]).encode()

    def inotify():
        descriptor = syscall(294, 26, 0)
        if libc.inotify_add_watch(descriptor, folder, IN_ALL_EVENTS) < 0:
            raise PermissionError

    return tried(inotify=inotify, fanotify=lambda: syscall(300, 262, 0, 0))
