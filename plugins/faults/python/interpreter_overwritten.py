"""Overwrites the interpreter's own memory."""

import ctypes


def run(payload):
    ctypes.memset(id(run), 0, 64)
    return run(payload)
