"""The scanner as a library: loaded by its path, as it is run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache

from tests.governance.edits import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from phase12 import rules, source

__all__ = ["RULES", "found_in", "real", "rules", "source"]

RULES = rules.RULES


@cache
def real() -> source.Sources:
    """The project as it is, parsed once."""
    return source.read(ROOT)


def found_in(texts: Mapping[str, str | None]) -> list[source.Finding]:
    """Return the findings about the project with some files changed, missing or new.

    Only those files are parsed and judged again: what is found in a file depends on it alone.
    """
    changed: dict[str, source.Module] = {}
    unreadable: list[source.Finding] = []
    for path, text in texts.items():
        if text is not None:
            parsed = source.parse(path, text.encode())
            if isinstance(parsed, source.Finding):
                unreadable.append(parsed)
            else:
                changed[path] = parsed
    sources = source.Sources(changed, tuple(unreadable))
    there = {path for path in _paths() if texts.get(path, "") is not None}
    return rules.scan(sources, there=there)


@cache
def _paths() -> frozenset[str]:
    return frozenset(
        path.relative_to(ROOT).as_posix()
        for package in source.PACKAGES
        for path in (ROOT / package).rglob("*.py")
    )
