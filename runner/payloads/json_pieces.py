"""Large JSON texts, read in pieces: the C parser never sees more than a piece at once.

``strict_json`` calls it for all that is not small. The C parser holds the interpreter's lock while
it works, and so would stop every other call. A text is cut behind commas and opening brackets that
are in no string. Each piece is parsed as a text of its own: the containers that it closes are
opened before it, those that it leaves open are closed behind it, and what it holds is put where it
belongs. What each piece adds to the number of values is counted before it is parsed.
"""

from __future__ import annotations

import re
import secrets
from array import array
from collections.abc import Callable
from enum import Enum, auto
from itertools import accumulate
from typing import Any

from toolrunner.runner.payloads.json_values import (
    JsonError,
    NotJsonError,
    check,
    quote,
    too_deep,
)

PIECE_BYTES = 64 * 1024

# Between two places where a text may be cut there are a key, a value and closing brackets at most,
# each with white space around it. A string that is longer than a piece is met before that.
_WIDTHS = (PIECE_BYTES, 4 * PIECE_BYTES, 16 * PIECE_BYTES)

# The last group is a quote, or what there is at the end of a text in which the string goes on.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)', re.DOTALL)
_IN_STRING = re.compile(rb'(?:[^"\\]+|\\(?:u[^"\\]{4}|[^u]))*', re.DOTALL)
_INSIDE_A_CHARACTER = re.compile(rb"[\x80-\xbf]")
_ESCAPED_CHARACTER = 6  # bytes of one that is written as \ud83d

_MOST_AROUND_A_PIECE = 1000  # what it closes, and what it holds

_BLANK = re.compile(rb"[ \t\n\r]*")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # as signed bytes: +1 and -1
_SPACE = b" \t\n\r"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
# What a container counts as. Each look of the garbage collector goes through all of them, and no
# other thread runs meanwhile.
_CONTAINER = 3
_PLACEHOLDER = '""'  # no character before or behind it can make another value of it

Parse = Callable[[str], object]


class TooManyValuesError(JsonError):
    """A text holds more values than are taken; ``observed`` is how many were counted by then."""

    def __init__(self, most: int, observed: int) -> None:
        super().__init__(f"more than {most:,} values")
        self.most = most
        self.observed = observed


class _After(Enum):
    """What stands before a piece, in the innermost container that is open there."""

    BRACKET = auto()
    COMMA = auto()
    VALUE = auto()


def has_surrogate_escape(data: bytes) -> bool:
    """Tell whether one half of a surrogate pair is written as an escape."""
    return b"\\u" in data and _SURROGATE_ESCAPE.search(data) is not None


def read(data: bytes, parse: Parse, *, max_depth: int, max_values: int) -> object:
    """Return the value of a text; ``parse`` is what a piece of it is given to.

    Raises ``JsonError``, and what ``parse`` raises: ``NotJsonError`` for what is no JSON. A list
    or an object counts as three values, an empty one as four.
    """
    return _Reader(data, parse, max_depth, max_values).read()


class _Reader:
    """A text on its way; ``_open`` are the containers that are not closed yet.

    The outermost of them is a list of ours, whose one item becomes the text's own value.
    """

    def __init__(self, data: bytes, parse: Parse, max_depth: int, max_values: int) -> None:
        self._data = data
        self._parse = parse
        self._max_depth = max_depth
        self._max_values = max_values
        self._values = 1
        self._root: list[Any] = []
        self._open: list[list[Any] | dict[str, Any]] = [self._root]
        self._after = _After.BRACKET
        # Stands for a key before a piece. No text can hold it by intention.
        self._mark = secrets.token_hex(16)

    def read(self) -> object:
        at = 0
        while at < len(self._data):
            at = self._next(at)
        if len(self._open) > 1 or self._after is _After.COMMA or not self._root:
            message = "not JSON: the text ends too early"
            raise NotJsonError(message)
        return self._root[0]

    def _next(self, at: int) -> int:
        """Read on from a place between two tokens; return where the next piece begins."""
        data = self._data
        start, at = at, _end(_BLANK, data, at, min(at + _WIDTHS[-1], len(data)))
        if at - start == _WIDTHS[-1]:
            return at
        for width in _WIDTHS:
            limit = min(at + width, len(data))
            bare = _without_strings(data[at:limit])
            string = bare.find(b'"')
            if limit == len(data) and (string < 0 or limit - at < PIECE_BYTES):
                self._take(at, data[at:], bare)
                return limit
            bare = bare if string < 0 else bare[:string]
            cut = max(bare.rfind(b","), bare.rfind(b"["), bare.rfind(b"{")) + 1
            if cut:
                self._take(at, data[at : at + cut], bare[:cut])
                return at + cut
            if string >= 0:
                return self._take_long_string(at, at + string)
        message = f"a number or white space of more than {_WIDTHS[-1] // 1024} KiB"
        raise JsonError(message)

    def _take_long_string(self, at: int, start: int) -> int:
        """Read on over a string that is longer than a piece."""
        before = self._data[at:start]
        is_key = isinstance(self._open[-1], dict) and self._after is not _After.VALUE
        if is_key and not before:
            message = f"a key of more than {PIECE_BYTES // 1024} KiB"
            raise JsonError(message)
        self._take(at, before + _PLACEHOLDER.encode(), _without_strings(before))
        text, end = self._long_string(start + 1)
        container: Any = self._open[-1]
        container[_last_key(container)] = text
        return end

    def _long_string(self, at: int) -> tuple[str, int]:
        """Return a string that begins before ``at``, and where its text ends."""
        data, parts = self._data, []
        while data[at : at + 1] != b'"':
            end = _end(_IN_STRING, data, at, min(at + PIECE_BYTES, len(data)))
            while end > at + 1 and _INSIDE_A_CHARACTER.match(data, end):
                end -= 1  # not between the bytes of one character
            if end == at:
                message = f"not JSON: a string that does not end, or an escape that is none: {at}"
                raise NotJsonError(message)
            part = self._parsed(at, '"', data[at:end], '"')
            assert isinstance(part, str)
            if "\ud800" <= part[-1] <= "\udbff" and end - at > _ESCAPED_CHARACTER:
                # The other half of the pair may follow.
                part, end = part[:-1], end - _ESCAPED_CHARACTER
            _check_surrogates(part)
            parts.append(part)
            at = end
        return "".join(parts), at + 1

    def _take(self, at: int, piece: bytes, bare: bytes) -> None:
        """Parse a piece, and put what it holds where it belongs; ``bare``: without its strings."""
        closing, opening = self._structure(bare)
        body, after = piece, _After.VALUE
        if piece.endswith(b","):
            body, after = piece[:-1], _After.COMMA
        elif piece.endswith((b"[", b"{")):
            after = _After.BRACKET
        self._check_commas(at, body, after)
        left = len(self._open) - closing
        if left < 1:
            message = f"not JSON: a bracket too many before byte {at + len(piece)}"
            raise NotJsonError(message)
        behind = opening.translate(bytes.maketrans(b"[{", b"]}"))[::-1].decode()
        behind += _closed(self._open[left - 1])
        self._put(self._parsed(at, self._before(left), body, behind), left)
        del self._open[left:]
        for _ in opening:
            container: Any = self._open[-1]
            self._open.append(container[_last_key(container)])
        self._after = after
        if len(self._root) > 1 or (len(self._open) == 1 and after is _After.COMMA):
            message = f"not JSON: more than one value, before byte {at + len(piece)}"
            raise NotJsonError(message)

    def _structure(self, bare: bytes) -> tuple[int, bytes]:
        """Return how many containers a piece closes, and the brackets of those it leaves open."""
        structure = bare.translate(None, _NOT_STRUCTURE)
        opened = structure.count(b"[") + structure.count(b"{")
        self._values += _CONTAINER * opened + structure.count(b",")
        if self._values > self._max_values:
            raise TooManyValuesError(self._max_values, self._values)
        brackets = structure.translate(None, b",")
        depth = len(self._open) - 1
        if depth + opened > self._max_depth:
            steps = array("b", brackets.translate(_SQUARE).translate(_STEPS))
            if depth + max(accumulate(steps)) > self._max_depth:
                raise JsonError(too_deep(self._max_depth))
        length = len(brackets) + 1
        while len(brackets) < length:  # as often as they are nested, at most
            length = len(brackets)
            brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        opening = brackets.lstrip(b"]}")
        if opening.strip(b"[{"):
            message = "not JSON: brackets that do not match"
            raise NotJsonError(message)
        return len(brackets) - len(opening), opening

    def _check_commas(self, at: int, body: bytes, after: _After) -> None:
        """Refuse what would be right in a piece alone: nothing before or behind a comma."""
        stripped = body.strip(_SPACE)
        first, last = stripped[:1], stripped[-1:]
        is_bad = self._after is _After.COMMA and first in {b"", b"]", b"}"}
        if after is _After.COMMA:
            is_bad |= last in {b"[", b"{"} or (not last and self._after is not _After.VALUE)
        if is_bad:
            message = f"not JSON: expecting a value around byte {at + len(body)}"
            raise NotJsonError(message)

    def _before(self, left: int) -> str:
        """Return what opens the containers from the one that stays open to the innermost."""
        opened = []
        innermost = len(self._open) - 1
        for index in range(left - 1, len(self._open)):
            is_dict = isinstance(self._open[index], dict)
            opened.append("{" if is_dict else "[")
            if is_dict and (index < innermost or self._after is _After.VALUE):
                opened.append(f'"{self._mark}":')
        if self._after is _After.VALUE:
            opened.append(_PLACEHOLDER)
        return "".join(opened)

    def _parsed(self, at: int, before: str, body: bytes, behind: str) -> Any:  # noqa: ANN401 - JSON
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            offset = at + error.start
            message = f"not UTF-8: byte 0x{body[error.start]:02x} at offset {offset}"
            raise NotJsonError(message) from None
        try:
            value = self._parse(before + text + behind)
        except NotJsonError as error:
            message = f"{str(error).partition(': line')[0]} around byte {at}"
            raise NotJsonError(message) from None
        if has_surrogate_escape(body) and before != '"':
            _check_surrogates(value)
        return value

    def _put(self, part: Any, left: int) -> None:  # noqa: ANN401 - a JSON value
        """Add what a piece holds to the containers that were open before it."""
        innermost = len(self._open) - 1
        for index in range(left - 1, len(self._open)):
            container, inner = self._open[index], None
            has_stand_in = index < innermost or self._after is _After.VALUE
            if isinstance(container, dict):
                if has_stand_in:
                    inner = part.pop(self._mark)
                if not container.keys().isdisjoint(part):
                    key = next(key for key in part if key in container)
                    message = f"the key {quote(key)} occurs twice in one object"
                    raise JsonError(message)
                container.update(part)
            else:
                if has_stand_in:
                    inner = part.pop(0)
                container += part
            part = inner


def _end(pattern: re.Pattern[bytes], data: bytes, at: int, limit: int) -> int:
    """Return where a pattern that may match nothing ends."""
    match = pattern.match(data, at, limit)
    assert match is not None
    return match.end()


def _without_strings(data: bytes) -> bytes:
    """Return a text of the same length, in which the strings hold nothing.

    One that does not end in it is all quotes, and no other quote is left.
    """
    return _STRING.sub(_blanked, data) if b'"' in data else data


def _blanked(string: re.Match[bytes]) -> bytes:
    start, end = string.span()
    return (b" " if string[1] == b'"' else b'"') * (end - start)


def _last_key(container: list[Any] | dict[str, Any]) -> str | int:
    return next(reversed(container)) if isinstance(container, dict) else -1


def _closed(container: list[Any] | dict[str, Any]) -> str:
    return "}" if isinstance(container, dict) else "]"


def _check_surrogates(value: object) -> None:
    try:
        check(value, max_depth=_MOST_AROUND_A_PIECE)
    except JsonError:
        message = "a lone surrogate in a string; write the other half of the pair"
        raise JsonError(message) from None
