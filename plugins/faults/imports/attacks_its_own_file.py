"""Writes to, removes and renames the file that it is imported from."""

import os

from hostile import tried


def append():
    with open(__file__, "a") as file:
        file.write("#")


answers = tried(
    write=append, remove=lambda: os.unlink(__file__), rename=lambda: os.rename(__file__, "x")
)


def run(payload):
    return answers
