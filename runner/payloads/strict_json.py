r"""Strict JSON: what every implementation reads alike, and nothing that can hurt the reader.

Validation calls it for payloads, replies and requests: UTF-8 only, no NaN or infinities, no
duplicate keys, no lone surrogates, nesting of 100 at most, no numbers of thousands of digits.
``loads`` reads text, ``check`` looks through Python values. Nothing is changed or converted.
"""

import json
import re
from array import array
from itertools import accumulate
from typing import NoReturn

from toolrunner.runner.payloads import json_pieces
from toolrunner.runner.payloads.json_pieces import (
    PIECE_BYTES,
    TooManyValuesError,
    has_surrogate_escape,
)
from toolrunner.runner.payloads.json_values import (
    MAX_DEPTH,
    MAX_INT_DIGITS,
    JsonError,
    NotJsonError,
    check,
    quote,
    too_deep,
)

__all__ = ["MAX_DEPTH", "MAX_VALUES", "JsonError", "NotJsonError", "TooManyValuesError", "check"]
__all__ += ["loads"]

MAX_VALUES = 1_000_000  # a value takes about 100 bytes once it is read, and two in a text

_BRACKETS_AND_QUOTES = b'[]{}"'
_ALL_OTHERS = bytes(set(range(256)) - set(_BRACKETS_AND_QUOTES))
_STRING = re.compile(rb'"[^"]*"')
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # as signed bytes: +1 and -1
_SHRINKING_PASSES = 4


def loads(data: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> object:
    """Parse strict JSON; raises ``JsonError`` and nothing else.

    Never keeps other threads waiting for long: what is large is read in pieces.
    ``TooManyValuesError`` for a text with more than ``max_values``.
    """
    if len(data) > min(PIECE_BYTES, max_values):
        return json_pieces.read(data, parse_text, max_depth=max_depth, max_values=max_values)
    _check_depth(data, max_depth)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        raise NotJsonError(message) from None
    value = parse_text(text)
    if has_surrogate_escape(data):
        check(value, max_depth=max_depth, what="the text")
    return value


def parse_text(text: str) -> object:
    """Parse a text whose depth and size are known to do no harm; raises ``JsonError``."""
    try:
        value: object = json.loads(
            text,
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        message = f"not JSON: {error}"
        raise NotJsonError(message) from None
    except ValueError:
        message = f"a number has too many digits, more than {MAX_INT_DIGITS}; write it as a string"
        raise JsonError(message) from None
    return value


def _check_depth(data: bytes, max_depth: int) -> None:
    """Refuse nesting that the parser would follow recursively, without following it.

    Exact up to the first syntax error, where the parser stops as well.
    """
    if _has_few(data, b"[", max_depth // 2) and _has_few(data, b"{", max_depth // 2):
        return
    brackets = data
    if b"\\" in brackets:
        brackets = brackets.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = brackets.translate(None, _ALL_OTHERS).replace(b'""', b"")
    brackets = _STRING.sub(b"", brackets).translate(_SQUARE, b'"')
    for _ in range(_SHRINKING_PASSES):
        brackets = brackets.replace(b"][", b"")  # back to the same depth: the deepest stays
    if len(brackets) <= max_depth:
        return
    if any(map(max_depth.__lt__, accumulate(array("b", brackets.translate(_STEPS))))):
        raise JsonError(too_deep(max_depth))


def _has_few(data: bytes, byte: bytes, most: int) -> bool:
    """Tell whether a byte occurs at most so often; much faster than to count it in a long text."""
    position = -1
    for _ in range(most + 1):
        position = data.find(byte, position + 1)
        if position < 0:
            return True
    return False


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        message = f"the number {text[:40]} is too large for a 64-bit float"
        raise JsonError(message)
    return value


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON; use null or leave the value out"
    raise JsonError(message)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            message = f"the key {quote(key)} occurs twice in one object"
            raise JsonError(message)
        seen.add(key)
    return result
