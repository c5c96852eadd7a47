"""Looks through what a program has printed as its answer: one JSON object, or words with the place.

Called by ``command``, in the cell. The parent reads what passes once more, strictly.
"""

from __future__ import annotations

import json
import re

from .jsonable import NotJsonError

_CHECKED_BYTES, _CHECKED_VALUES = 4 << 20, 250_000  # an answer beyond is read by the parent alone
_LINE_WIDTH = 60  # characters of the line that is shown
_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_BRACKETS = {"{": "object", "[": "list"}
# How a console shows a value of JavaScript or of Python, in the place where JSON has an error.
_OF_JAVASCRIPT = re.compile(r"[A-Za-z_$][\w$]*:|undefined\b|(?:Object|Array)\]|<ref")
_OF_PYTHON = re.compile(r"(?:True|False|None)\b")
# What makes JSON in the language that a program is written in, as far as its command says that.
_LANGUAGES = (
    (
        re.compile(r"\b(?:node|nodejs|deno|bun|tsx|ts-node)\b|\.[cm]?[jt]s\b"),
        "print JSON.stringify(value), not the value itself",
    ),
    (
        re.compile(r"\b(?:python|pypy)[\d.]*\b|\.pyz?\b"),
        "print json.dumps(value), not the value itself",
    ),
    (
        re.compile(r"\b(?:ba|da|z|k)?sh\b|\bbusybox\b"),
        'names and texts stand in double quotes, as by `printf \'{"lines": %d}\' "$lines"`',
    ),
)
_QUOTE = 'print the value as JSON: names and texts stand in double quotes, as in {"lines": 3}'
_ONLY_JSON = "print one JSON object there and nothing else; messages belong to standard error"


def check(answer: bytearray, command: str = "") -> None:
    """Refuse what is no JSON object, with its place; ``command``: what has printed it, in words."""
    bare = answer.strip()
    if not bare:
        raise NotJsonError("standard output is empty; print one JSON object there, {} at least")
    values = bare.count(b",") + bare.count(b"[") + bare.count(b"{")
    if len(bare) > _CHECKED_BYTES or values > _CHECKED_VALUES:
        # Too large to be read twice. Words before or behind it are what is most often wrong.
        if not (bare.startswith(b"{") and bare.endswith(b"}")):
            raise NotJsonError(
                f"standard output is no JSON object: it begins with {quoted(bare[:40])} and ends "
                f"with {quoted(bare[-40:])}; {_ONLY_JSON}"
            )
        return
    try:
        text = answer.decode()
    except UnicodeDecodeError as error:
        line = answer.count(b"\n", 0, error.start) + 1
        raise NotJsonError(
            f"standard output is not UTF-8: byte 0x{answer[error.start]:02x} in line {line}; "
            "write text as UTF-8, and bytes as base64"
        ) from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(no_json(error, command)) from None
    except (ValueError, RecursionError):
        return  # numbers of too many digits, nesting: the parent has words for these
    if not isinstance(value, dict):
        raise NotJsonError(
            f"standard output holds {_KINDS.get(type(value), 'a number')}; print a JSON object, "
            'such as {"value": 1}'
        )


def no_json(error: json.JSONDecodeError, command: str) -> str:
    """Return what is wrong with an answer, and where, with the line that it stands in."""
    rest = error.doc[error.pos :].lstrip()
    position = len(error.doc) - len(rest) if rest else len(error.doc.rstrip())
    what, advice = f"is no JSON: {error.msg}", instead(error.doc, position, command)
    if error.msg == "Extra data":
        second = rest.startswith(("{", "["))
        what = f"has {'a second JSON document' if second else 'more'} behind its first one"
        advice = ""
    elif not rest and error.doc.lstrip()[0] in _BRACKETS:
        what = f"is no JSON: it ends before the {_BRACKETS[error.doc.lstrip()[0]]} is closed"
    line, column = place_of(error.doc, position)
    return (
        f"standard output {what} (line {line}, column {column}):\n"
        f"{shown(error.doc, position)}\n{advice}{_ONLY_JSON}"
    )


def instead(text: str, position: int, command: str) -> str:
    """Return what to print with, where a value stands as a console shows it."""
    bare = text.strip()
    is_value = bare in {"undefined", "[object Object]"}
    if not is_value and bare[:1] in _BRACKETS:
        forms = (_OF_JAVASCRIPT, _OF_PYTHON)
        is_value = text.startswith("'", position) or any(
            form.match(text, position) for form in forms
        )
    if not is_value:
        return ""
    return next((f"{how}; " for known, how in _LANGUAGES if known.search(command)), f"{_QUOTE}; ")


def quoted(part: bytearray) -> str:
    """Return a part of an answer as it is named in a message."""
    return json.dumps(part.decode("utf-8", "replace"), ensure_ascii=False)


def place_of(text: str, position: int) -> tuple[int, int]:
    """Return the line and the column of a place in a text, both from 1."""
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def shown(text: str, position: int) -> str:
    """Return the line around a place, and a mark below it."""
    start = max(text.rfind("\n", 0, position) + 1, position - _LINE_WIDTH // 2)
    end = text.find("\n", position)
    line = text[start : len(text) if end < 0 else end][:_LINE_WIDTH]
    printable = "".join(char if char.isprintable() else "?" for char in line)
    return f"  {printable}\n  {' ' * (position - start)}^"
