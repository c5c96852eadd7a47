"""Holds up whoever opens a file, by a lease on it, and sizes its pipes beyond any count."""

import fcntl
import os

from hostile import tried

F_SETLEASE, F_SETPIPE_SZ, F_SETDELEG = 1024, 1031, 1040


def run(payload):
    with open("own", "w") as own:
        own.write("x")
    mine = os.open("own", os.O_RDONLY)
    library = os.open(os.__file__, os.O_RDONLY)
    _, pipe = os.pipe()
    return tried(
        own_file=lambda: fcntl.fcntl(mine, F_SETLEASE, fcntl.F_RDLCK),
        own_file_to_write=lambda: fcntl.fcntl(mine, F_SETLEASE, fcntl.F_WRLCK),
        library=lambda: fcntl.fcntl(library, F_SETLEASE, fcntl.F_RDLCK),
        delegation=lambda: fcntl.fcntl(mine, F_SETDELEG, bytes(8)),
        large_pipe=lambda: fcntl.fcntl(pipe, F_SETPIPE_SZ, 1 << 20),
    )
