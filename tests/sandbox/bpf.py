"""Runs seccomp programs as the kernel does, for architectures that are not this one."""

from __future__ import annotations

import struct
from collections.abc import Iterable

ALLOWED, ASKED = -1, -2
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}
LOAD, AND, JEQ, JGE, JGT, JSET, RET = 0x20, 0x54, 0x15, 0x35, 0x25, 0x45, 0x06
JUMPS = {
    JEQ: lambda a, k: a == k, JGE: lambda a, k: a >= k, JGT: lambda a, k: a > k,
    JSET: lambda a, k: a & k != 0,
}  # fmt: skip
ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000


def run(programs: Iterable[bytes], arch: str, number: int, arguments: list[int]) -> int:
    """Return what filters, the oldest first, answer to a call: its errno, ``ALLOWED`` or ``ASKED``.

    Of several the strictest decides, and of two as strict the newer.
    """
    values = [argument % (1 << 64) for argument in [*arguments, *[0] * 6][:6]]
    data = struct.pack("=IIQ6Q", number, ARCHES[arch], 0, *values)
    answers = [one(program, data) for program in programs]
    denied = [answer for answer in answers if answer != ALLOWED]
    return denied[-1] if denied else ALLOWED


def one(program: bytes, data: bytes) -> int:
    """Run one program to its return."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == RET:
            if operand == NOTIFY:
                return ASKED
            assert operand == ALLOW or operand >> 16 == ERRNO >> 16, hex(operand)
            return ALLOWED if operand == ALLOW else operand & 0xFFFF
        if code == LOAD:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == AND:
            value &= operand
        else:
            at += if_true if JUMPS[code](value, operand) else if_false
