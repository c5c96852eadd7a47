"""Makes caches while it is imported, for its calls to leave messages in them."""

import contextlib
import os

from hostile import tried

place = os.path.expanduser("~/.cache/library")
os.makedirs(place)
with open(f"{place}/list", "w"):
    pass


def run(payload):
    def read():
        before = os.listdir(place), os.stat(f"{place}/list").st_size
        with contextlib.suppress(OSError), open(f"{place}/list", "a") as file:
            file.write("a call was here")
        with contextlib.suppress(OSError):
            os.mkdir(f"{place}/a call was here")
        if before == (["list"], 0):
            raise LookupError("nobody was here before")
        return before

    return tried(read_what_another_call_wrote=read)
