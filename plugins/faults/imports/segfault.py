"""Reads memory that is not there while it is imported."""

import ctypes

ctypes.string_at(0)


def run(payload):
    return {"ran": True}
