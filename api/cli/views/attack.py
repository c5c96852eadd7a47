"""``toolrunner doctor --attack`` in words and as JSON."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.attack.campaign import Case
from toolrunner.api.cli.console import plain, table_of

_STYLES = {"contained": "green", "degraded": "yellow", "escaped": "bold red"}
_MEANING = (
    "contained: it got nothing and left nothing. degraded: the same, but it cost more than its "
    "own call. escaped: it got what it wanted, harmed others or left something behind."
)


def document(cases: Sequence[Case]) -> dict[str, Any]:
    """Return it all as JSON shows it."""
    return {"cases": [asdict(case) for case in cases]}


def view(cases: Sequence[Case]) -> RenderableType:
    """Return it all for a person, the worst at the end."""
    table = table_of("fault", "outcome", "stopped by", "what came of it")
    for case in sorted(cases, key=lambda case: list(_STYLES).index(case.outcome)):
        outcome = Text(case.outcome, style=_STYLES[case.outcome])
        table.add_row(plain(case.name), outcome, plain(case.layer), plain(case.detail))
    counts = collections.Counter[str](case.outcome for case in cases)
    total = ", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name])
    worst = max(counts, key=lambda name: list(_STYLES).index(name), default="contained")
    return Group(
        table, Text(), Text(f"{len(cases)} cases: {total}.", _STYLES[worst]), Text(_MEANING)
    )
