"""A program that is examined instead of run: what its load and its first calls take, and leave.

Called where a ``Program`` is made. It is run as any other, and replies with what was found.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toolrunner.sandbox.exchange.messages import load_order
from toolrunner.sandbox.profile import Program

_SOURCE = Path(__file__).with_name("inside") / "examination.py"


def examined(program: Program) -> Program:
    """Return a program that loads this one, calls it twice, and returns what that took."""
    order = load_order(program, warms_up=True)
    source = f"{_SOURCE.read_text(encoding='utf-8')}\nbegin({order!r}, {program.source!r})\n"
    return replace(program, entry="", folder="", rehearsal="", source=source.encode())
