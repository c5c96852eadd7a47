"""Reads memory that is not there."""

import ctypes


def run(payload):
    return {"read": str(ctypes.string_at(0))}
