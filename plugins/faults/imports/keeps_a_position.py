"""Opens a file for reading while it is imported, for its calls to share a position and flags."""

import fcntl
import os

from hostile import tried

file = open(os.__file__, "rb", buffering=0)  # noqa: SIM115 - kept open is the point


def run(payload):
    def read():
        before = file.tell(), fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
        file.seek(7)
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        if before == (0, 0):
            raise LookupError("nobody was here before")
        return before

    return tried(read_what_another_call_wrote=read)
