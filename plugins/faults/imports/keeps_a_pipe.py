"""Opens a pipe while it is imported, for its calls to talk through."""

import os

from hostile import tried

ends = os.pipe()
os.set_blocking(ends[0], False)


def run(payload):
    def read():
        try:
            return os.read(ends[0], 1)
        finally:
            os.write(ends[1], b"x")

    return tried(read_what_another_call_wrote=read)
