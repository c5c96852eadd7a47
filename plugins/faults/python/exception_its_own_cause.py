"""Raises an exception that is the cause of its own cause."""


def run(payload):
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    raise first
