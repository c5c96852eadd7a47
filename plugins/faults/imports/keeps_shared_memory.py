"""Maps memory while it is imported, for its calls to share."""

import mmap

from hostile import tried

area = mmap.mmap(-1, 4096)


def run(payload):
    def read():
        before = area[:4].rstrip(b"\0")
        area[:4] = b"here"
        if not before:
            raise LookupError("nobody was here before")
        return before

    return tried(read_what_another_call_wrote=read)
