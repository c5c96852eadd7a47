"""Types into the terminal of whoever started the service."""

import ctypes
import os

from hostile import syscall, tried

TIOCSTI, TIOCLINUX, HIGH_BITS = 0x5412, 0x541C, 1 << 32


def run(payload):
    buffer = ctypes.create_string_buffer(b"x")
    byte = ctypes.addressof(buffer)
    return tried(
        terminal=lambda: os.open("/dev/tty", os.O_RDWR),
        type_in=lambda: syscall(16, 29, 0, TIOCSTI, byte),
        type_in_with_high_bits=lambda: syscall(16, 29, 0, HIGH_BITS | TIOCSTI, byte),
        console=lambda: syscall(16, 29, 0, TIOCLINUX, byte),
        own_terminal=os.openpty,
    )
