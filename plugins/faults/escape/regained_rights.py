"""Takes back the rights that its box gave up."""

import os

from hostile import found, tried


def run(payload):
    return tried(
        user=lambda: os.setuid(0),
        group=lambda: os.setgid(0),
        groups=lambda: os.setgroups([0]),
        effective_user=lambda: os.seteuid(0),
        is_root=lambda: found([n for n in (os.getuid(), os.geteuid()) if n == 0]),
    )
