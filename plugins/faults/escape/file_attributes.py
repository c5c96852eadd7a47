"""Changes the mode, times, owner, attributes and size of a file of others."""

import os

from hostile import tried


def run(payload):
    file = payload["foreign"]

    def through_a_descriptor():
        os.chmod(f"/proc/self/fd/{os.open(file, os.O_PATH)}", 0o600)

    return tried(
        mode=lambda: os.chmod(file, 0o600),
        times=lambda: os.utime(file, (1, 1)),
        size=lambda: os.truncate(file, 0),
        attribute=lambda: os.setxattr(file, "user.x", b"y"),
        owner=lambda: os.chown(file, os.getuid(), os.getgid()),
        through_a_descriptor=through_a_descriptor,
    )
