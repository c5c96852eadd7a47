"""The errors of this package, and the words they are put in.

Raised by the readers of manifests and by discovery; caught by discovery (a broken plugin is a
value there) and by the registry. Never formats a traceback and never holds plugin code.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_KEY = 64


class ManifestError(ValueError):
    """A plugin's manifest cannot be used; the message names the file, the line and the key.

    ``stated`` holds what could still be read of ``name``, ``description`` and ``version``.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | None = None,
        line: int | None = None,
        key: str = "",
        stated: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.key = key
        self.stated = stated


class NoManifest(ManifestError):  # noqa: N818 - a kind of ManifestError, named for what it means
    """The file carries no manifest at all: perhaps it is not a plugin but a helper."""


class DiscoveryError(ValueError):
    """A path that the operator named cannot be searched for plugins."""


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be printed and encoded, whatever bytes its name holds."""
    name = os.fsencode(path).decode("utf-8", "backslashreplace")
    return name if name.isprintable() else ascii(name)[1:-1]


def dotted(key: KeyPath) -> str:
    """Return a key as an author would write it: ``tool.toolrunner.read[1]``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _key_part(part)
    return text


def _key_part(part: str) -> str:
    if _BARE_KEY.fullmatch(part):
        return part
    quoted = json.dumps(part[:_LONGEST_KEY])
    return quoted if len(part) <= _LONGEST_KEY else quoted[:-1] + '…"'


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word: the likely one meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word[:_LONGEST_KEY], names)
    if close:
        # A letter more or less tells nobody which of the two was meant.
        pair = [one for one in close if one.rstrip("sS") == close[0].rstrip("sS")]
        return f"did you mean {' or '.join(pair)}?"
    parts = {part: name for name in reversed(names) for part in re.split("[-:]", name)}
    close = difflib.get_close_matches(word[:_LONGEST_KEY], parts, n=1)
    if close:
        return f"did you mean {parts[close[0]]}?"
    return f"use one of: {', '.join(names)}"
