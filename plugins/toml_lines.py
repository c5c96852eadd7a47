"""The line on which each key of a TOML document stands, which ``tomllib`` does not tell.

Called by ``source`` with text that ``tomllib`` has already accepted, and so judges nothing: on
text it does not understand it stops and returns the keys found so far.
"""

from __future__ import annotations

import bisect
import contextlib
import re
import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolrunner.plugins.errors import KeyPath

# Deeper keys are looked up by their nearest recorded ancestor. Without a bound, one long dotted
# key would cost memory in the square of its length.
_DEEPEST = 16

_SKIP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, of each key, table header and array element."""
    scanner = _Scanner(text)
    with contextlib.suppress(_LostError):
        scanner.scan()
    return scanner.lines


class _LostError(Exception):
    """The text is not the TOML this scanner knows."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._newlines = [m.start() for m in re.finditer("\n", text)]
        self._last_element: dict[KeyPath, int] = {}  # of each array of tables

    def scan(self) -> None:
        table: KeyPath = ()
        while self._next():
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _next(self) -> str:
        """Go to the next character that means something; the empty string at the end."""
        self._take(_SKIP)
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _LostError
        self._at = found.end()
        return found.group()

    def _eat(self, literal: str) -> None:
        if not self._text.startswith(literal, self._at):
            raise _LostError
        self._at += len(literal)

    def _note(self, key: KeyPath, start: int) -> None:
        line = bisect.bisect_left(self._newlines, start) + 1
        for depth in range(1, min(len(key), _DEEPEST + 1)):
            self.lines.setdefault(key[:depth], line)
        if len(key) <= _DEEPEST:
            self.lines[key] = line

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        table: KeyPath = ()
        parts = self._key()
        for part in parts[:-1]:
            table = self._inside_last((*table, part))
        table = (*table, parts[-1])
        if is_array:
            self._last_element[table] = self._last_element.get(table, -1) + 1
        table = self._inside_last(table)
        self._note(table, start)
        self._eat("]]" if is_array else "]")
        return table

    def _inside_last(self, table: KeyPath) -> KeyPath:
        last = self._last_element.get(table)
        return table if last is None else (*table, last)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._take(_BLANK)
            parts.append(_plain(self._take(_KEY_PART)))
            self._take(_BLANK)
            if not self._text.startswith(".", self._at):
                return parts[: _DEEPEST + 1]
            self._at += 1

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        key = (*table, *self._key())
        self._note(key, start)
        self._eat("=")
        self._value(key[: _DEEPEST + 1])

    def _value(self, key: KeyPath) -> None:
        first = self._next()
        if first == "[":
            self._array(key)
        elif first == "{":
            self._inline_table(key)
        else:
            self._take(_STRING if first in {'"', "'"} else _BARE_VALUE)

    def _array(self, key: KeyPath) -> None:
        self._at += 1
        index = 0
        while (first := self._next()) != "]":
            if first == ",":
                self._at += 1
                continue
            element = (*key, index)[: _DEEPEST + 1]
            self._note(element, self._at)
            self._value(element)
            index += 1
        self._at += 1

    def _inline_table(self, key: KeyPath) -> None:
        self._at += 1
        while (first := self._next()) != "}":
            if first == ",":
                self._at += 1
            else:
                self._pair(key)
        self._at += 1


def _plain(key_part: str) -> str:
    if key_part[0] == "'":
        return key_part[1:-1]
    if key_part[0] == '"':
        try:
            return next(iter(tomllib.loads(f"{key_part} = 0")))
        except tomllib.TOMLDecodeError:
            raise _LostError from None
    return key_part
