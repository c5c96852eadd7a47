"""What the tools are made of."""


def find(data):
    """Return where things are: here, where bytes are large."""
    return [i for i, byte in enumerate(data[:8]) if byte > 0x7F]
