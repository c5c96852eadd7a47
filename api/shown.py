"""What of an error may leave the host: no log, no path, no address of an object.

For all doors that others come through.
Knows no framework: processes that serve no HTTP API post what jobs have ended with, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A path of two parts or more, unless it goes on from a word, as in image/png or a URL; also that of
# a file:// URL. Where one is quoted, it may hold anything else.
_PATH = re.compile(r"(?<=')/[^'\n]*/|(?:(?<=\bfile://)|(?<![\w./~-]))/(?:[^\s/'\",:;()<>]+/)+")
# Cut down, it would be another folder of whoever pastes the command.
_STATE = re.compile(r"(?<= plugins install )--state (?:'[^'\n]*'|\S+) ")
# Of an object, as its repr has it: it says where things lie in a process, and nothing to a caller.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OPERATORS_ONLY = {"log_tail"}


def public(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a governed error may leave: no log, no path of the host, and no address."""
    kept = error.get("details", {}).items()  # a row may have been written by somebody else
    details = {key: value for key, value in kept if key not in _OPERATORS_ONLY}
    cleaned = _cleaned({**error, "details": details})
    assert isinstance(cleaned, dict)
    return cleaned


def without_paths(text: str) -> str:
    """Return a text with each path cut down to its last part."""
    return _PATH.sub("", _STATE.sub("", text))


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return _ADDRESS.sub("", without_paths(value))
    if isinstance(value, Mapping):
        return {key: _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value
