"""Calls itself without an end."""


def run(payload):
    return run(payload)
