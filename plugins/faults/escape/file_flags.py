"""Changes flags, versions and blocks of files by ioctl, where no other layer looks."""

import array
import fcntl
import os

from hostile import tried

FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR = 0x40086602, 0x40087602, 0x401C5820
FICLONE, FS_IOC_ENABLE_VERITY = 0x40049409, 0x40806685
FS_NODUMP = array.array("l", [0x40, 0, 0, 0])


def run(payload):
    with open("own", "w") as own:
        own.write("x")

    def change(name, request):
        fcntl.ioctl(os.open(name, os.O_RDONLY), request, FS_NODUMP)

    def clone():
        with open("copy", "w") as copy, open("own") as own:
            fcntl.ioctl(copy, FICLONE, own.fileno())

    foreign = payload["foreign"]
    return tried(
        flags=lambda: change(foreign, FS_IOC_SETFLAGS),
        version=lambda: change(foreign, FS_IOC_SETVERSION),
        project=lambda: change(foreign, FS_IOC_FSSETXATTR),
        own_flags=lambda: change("own", FS_IOC_SETFLAGS),
        own_version=lambda: change("own", FS_IOC_SETVERSION),
        own_project=lambda: change("own", FS_IOC_FSSETXATTR),
        clone=clone,
        verity=lambda: change("own", FS_IOC_ENABLE_VERITY),
    )
