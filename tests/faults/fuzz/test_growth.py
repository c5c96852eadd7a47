"""Twice the input is at most twice the steps: counted lines of Python, never a clock.

What C code does in one step is not seen here; that of the parsers is linear by itself, and the
caps bound it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.faults.fuzz.test_frames import frame
from toolrunner.plugins.source import blocks
from toolrunner.plugins.toml_lines import key_lines
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.payloads.strict_json import JsonError, loads
from toolrunner.runner.payloads.validation import validate_json_payload
from toolrunner.sandbox.frames import FrameError, FrameReader, ReplyTooLargeError
from toolrunner.sandbox.inside import protocol

SMALL, SLACK = 400, 200


def steps(function: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs, all that it calls included."""
    taken = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal taken
        taken += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return taken


def feed(chunks: list[bytes]) -> None:
    """Read a stream to its end, or to what is wrong with it."""
    reader = FrameReader(1 << 20)
    try:
        for chunk in chunks:
            list(reader.feed(chunk))
    except (FrameError, ReplyTooLargeError):
        return


def parse(data: bytes) -> None:
    """Read JSON text."""
    try:
        loads(data)
    except JsonError:
        return


def check(payload: dict[str, Any]) -> None:
    """Check a payload of Python values."""
    try:
        validate_json_payload(payload)
    except GovernedError:
        return


FAMILIES: dict[str, Callable[[int], object]] = {
    "small frames at once": lambda n: feed([frame(protocol.LOADED, b"") * n]),
    "a frame byte by byte": lambda n: feed([b"%c" % b for b in frame(protocol.RETURNED, b"x" * n)]),
    "reports byte by byte": lambda n: feed([b"%c" % b for b in frame(protocol.PROGRESS, b"") * n]),
    "opening brackets": lambda n: parse(b"[" * n),
    "brackets in turn": lambda n: parse(b"[" + b"[]," * n + b"[]]"),
    "escaped quotes": lambda n: parse(b'["' + b'\\"[' * n + b'"]'),
    "pairs": lambda n: parse(b"{" + b",".join(b'"%d":1' % i for i in range(n)) + b"}"),
    "a key over and over": lambda n: parse(b"{" + b",".join([b'"a":1'] * n) + b"}"),
    "lists in a payload": lambda n: check({"a": [[i] for i in range(n)]}),
    "one list many times": lambda n: check({"a": [[1, 2]] * n}),
    "a bad value last": lambda n: check({"a": [*range(n), b""]}),
    "opening lines": lambda n: list(blocks("# /// script\n" * n)),
    "whole blocks": lambda n: list(blocks("# /// a\n# b\n# ///\n\n" * n)),
    "tables": lambda n: key_lines("".join(f"[a{i}]\nb = 1\n" for i in range(n))),
    "arrays of tables": lambda n: key_lines("[[a.b.c]]\n" * n),
    "elements": lambda n: key_lines("a = [" + "1, " * n + "]"),
    "keys in a deep table": lambda n: key_lines("[a" + ".a" * n + "]\n" + "b = 1\n" * n),
    "dotted keys": lambda n: key_lines("a" + ".a" * n + " = 1"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_the_input_takes_at_most_twice_the_steps(family: str) -> None:
    """Nobody's bytes hold up the runner for longer than they took to send."""
    run = FAMILIES[family]
    run(SMALL)  # what is imported or cached the first time does not count
    once, twice = steps(lambda: run(SMALL)), steps(lambda: run(2 * SMALL))
    assert once > 0
    assert twice <= 2 * once + SLACK


def test_steps_that_grow_faster_are_seen() -> None:
    """The measure itself, on work that grows with the square."""

    def work(size: int) -> None:
        for _ in range(size):
            for _ in range(size):
                pass

    assert steps(lambda: work(200)) > 3 * steps(lambda: work(100))
