"""What each field of a manifest may hold, beyond its type: one small check a field.

Used by ``manifest`` as validators; each returns the value or raises ValueError with a sentence
that says what to write instead. Nothing here reads files or looks at the host.
"""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from toolrunner.plugins import limit_words
from toolrunner.plugins.errors import suggestion
from toolrunner.sandbox.limits import LIMIT_NAMES, Limits

LAYERS = (
    "namespaces.user",
    "namespaces.mount",
    "namespaces.pid",
    "namespaces.net",
    "namespaces.ipc",
    "namespaces.uts",
    "landlock",
    "seccomp",
    "rlimits",
    "watchdog",
    "cgroup",
    "call_isolation",
)

# Above any machine, and below what overflows a timer or a resource limit further on.
LIMIT_CEILING = 1_000_000
# The parser of markers goes deeper with each; the limit is the same wherever it is called from.
_MOST_PARENTHESES = 16
_MOST_WORDS = 100

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NOT_IN_NAME = re.compile(r"[^a-z0-9-]+")
_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_LANDLOCK = re.compile(r"landlock:[1-9][0-9]{0,2}")


def is_name(text: str) -> bool:
    """Tell whether a plugin may have this name."""
    return _NAME.fullmatch(text) is not None


def is_mime_type(text: str) -> bool:
    """Tell whether a text is one exact MIME type in lower case, without parameters."""
    return _MIME_TYPE.fullmatch(text) is not None


def legal_name(text: str) -> str:
    """Return the name nearest to ``text`` that a plugin may have."""
    return _NOT_IN_NAME.sub("-", text.lower()).lstrip("-")[:64] or "plugin"


def name(text: str) -> str:
    """Accept a legal plugin name."""
    if not is_name(text):
        msg = (
            "must be 1 to 64 lower-case letters, digits and hyphens, and not begin with a hyphen; "
            f"for example {legal_name(text)}"
        )
        raise ValueError(msg)
    return text


def tool_name(text: str) -> str:
    """Accept a legal name of one of a plugin's tools."""
    if not _TOOL_NAME.fullmatch(text):
        msg = (
            "must be 1 to 64 letters, digits, hyphens and underscores, and begin with a letter or "
            "digit; for example detect_edges"
        )
        raise ValueError(msg)
    return text


def one_line(text: str) -> str:
    """Accept text that prints as one line: it ends up in terminals and logs."""
    if not text.isprintable():
        msg = "must be one line of printable text; remove line breaks and control characters"
        raise ValueError(msg)
    return text


def mime_type(text: str) -> str:
    """Accept one exact MIME type."""
    if not is_mime_type(text):
        msg = "must be an exact MIME type in lower case, such as image/png; list each type"
        raise ValueError(msg)
    return text


def absolute_path(text: str) -> str:
    """Accept an absolute path that says where it leads."""
    path = PurePosixPath(one_line(text))
    if not path.is_absolute():
        msg = "must be an absolute path such as /srv/models; ~ and relative paths are not expanded"
        raise ValueError(msg)
    if ".." in path.parts or len(path.parts) == 1:
        msg = "must name a folder or file itself; write the path without .. and not / as a whole"
        raise ValueError(msg)
    return text


def layer(text: str) -> str:
    """Accept the name of a layer of isolation, ``landlock`` optionally with the least ABI."""
    if text not in LAYERS and not _LANDLOCK.fullmatch(text):
        msg = f"unknown layer; {suggestion(text, LAYERS)} (landlock may carry an ABI: landlock:6)"
        raise ValueError(msg)
    return text


def entry(text: str) -> str:
    """Accept "module:object", dots allowed on both sides."""
    module, _, target = text.partition(":")
    names = [*module.split("."), *target.split(".")]
    if not all(part.isidentifier() for part in names):
        msg = 'must be "module:object", such as "main:run" for run in main.py'
        raise ValueError(msg)
    return text


def word(text: str) -> str:
    """Accept one word of a command line."""
    if "\0" in text:
        msg = "must not hold a NUL character, which no program can be given"
        raise ValueError(msg)
    return text


def command(words: tuple[str, ...]) -> tuple[str, ...]:
    """Accept a program and its arguments."""
    if not words or not words[0].strip():
        msg = 'must name a program first, as in ["node", "main.mjs"] or ["./main.sh"]'
        raise ValueError(msg)
    if len(words) > _MOST_WORDS:
        msg = f"must have at most {_MOST_WORDS} words; write a script"
        raise ValueError(msg)
    if words[0].startswith("~"):
        msg = "begins with ~, which is not expanded; write an absolute path, or one in this folder"
        raise ValueError(msg)
    if ".." in words[0].split("/"):
        msg = "leads out of this folder, which is all that calls see; keep the program in it"
        raise ValueError(msg)
    return words


def specifier(text: str) -> str:
    """Accept a version specifier of Python."""
    try:
        SpecifierSet(one_line(text))
    except ValueError:  # InvalidSpecifier, and a number of too many digits
        msg = 'must be a version specifier such as ">=3.11"'
        raise ValueError(msg) from None
    return text


def requirement(text: str) -> str:
    """Accept one requirement of another distribution."""
    try:
        if text.count("(") > _MOST_PARENTHESES:
            raise InvalidRequirement(text)
        Requirement(one_line(text))
    except ValueError:  # InvalidRequirement, and a number of too many digits
        msg = 'must be a requirement such as "numpy>=2"'
        raise ValueError(msg) from None
    return text


def limits(value: object) -> Limits:
    """Turn a table of limits, or limits, into limits whose values were checked."""
    table = asdict(value) if isinstance(value, Limits) else value
    if not isinstance(table, dict):
        msg = "must be a table such as { memory_mb = 512 }"
        raise ValueError(msg)  # noqa: TRY004 - pydantic takes ValueError for a finding
    problems: list[InitErrorDetails] = []
    for key, number in table.items():
        why = _limit_problem(key, number)
        if why:
            finding = PydanticCustomError("limit", "{why}", {"why": why})
            problems.append(InitErrorDetails(type=finding, loc=(key,), input=None))
    if problems:
        title = "limits"
        raise ValidationError.from_exception_data(title, problems)
    exact: dict[str, Any] = {
        key: float(number) if key in _fractional() else number for key, number in table.items()
    }
    return Limits(**exact)


def _limit_problem(key: str, number: object) -> str:
    if key not in LIMIT_NAMES:
        line = limit_words.meant(key, number)
        return f"unknown limit; {f'write {line}' if line else suggestion(key, LIMIT_NAMES)}"
    is_whole = key not in _fractional()
    if isinstance(number, bool) or not isinstance(number, int if is_whole else int | float):
        quotes = ", without quotes" if isinstance(number, str) else ""
        kind = "whole number" if is_whole else "number"
        return f"must be a {kind}{quotes}: write {limit_words.line_for(key, number)}"
    if not 0 < number <= LIMIT_CEILING:  # not-a-number fails too
        line = limit_words.as_bytes(key, number)
        in_bytes = f"; if these are bytes, write {line}" if line else ""
        return f"must be more than 0 and at most {LIMIT_CEILING}{in_bytes}"
    return ""


def _fractional() -> set[str]:
    return {f.name for f in fields(Limits) if isinstance(f.default, float)}
