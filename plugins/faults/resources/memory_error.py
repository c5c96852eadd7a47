"""Asks for more memory than there is, and lets the exception pass."""


def run(payload):
    return {"size": len(bytearray(1 << 44))}
