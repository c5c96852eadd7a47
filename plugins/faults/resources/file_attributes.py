"""Takes the kernel's memory as attributes and access lists of its own files."""

import itertools
import os
import struct

from hostile import LESS, hold

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64}
ENTRIES = 8000
ENTRY = 8


def files():
    for number in itertools.count():
        os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
        yield str(number)


def access_list():
    """Many entries for one user."""
    own = os.getuid()
    entries = [(1, 6, -1), *[(2, 6, own)] * ENTRIES, (4, 6, -1), (16, 6, -1), (32, 6, -1)]
    return struct.pack("=I", 2) + b"".join(
        struct.pack("=HHI", tag, rights, who & 0xFFFFFFFF) for tag, rights, who in entries
    )


def lists(kept):
    value = access_list()
    for name in files():
        os.setxattr(name, "system.posix_acl_access", value)
        yield ENTRIES * ENTRY


def lists_of_folders(kept):
    value = access_list()
    for number in itertools.count():
        os.mkdir(f"folder{number}")
        for kind in ("access", "default"):
            os.setxattr(f"folder{number}", f"system.posix_acl_{kind}", value)
            yield ENTRIES * ENTRY


def attributes(kept):
    value = bytes(60_000)
    for name in files():
        os.setxattr(name, "user.large", value)
        yield len(value)


VARIANTS = {
    "access lists": lists,
    "access lists of folders": lists_of_folders,
    "attributes": attributes,
}


def run(payload):
    return hold(VARIANTS[payload["variant"]], LESS)
