"""The section ``page`` of ``scripts/bench.py``: a row for each view, and for calls beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PLUGINS = 200  # with 500 jobs each


def rows(part: Callable[..., Any], calls: int) -> list[dict[str, Any]]:
    """Measure by the part ``page``, and return the rows.

    A view's second figure is its worst, that of calls their 99th percentile.
    """
    found = part("page", PLUGINS, calls)
    table: list[dict[str, Any]] = []
    for view, (p50, worst) in found["answered"].items():
        opened = found["opened"].get(view)
        table.append({"what": view, "p50_ms": p50, "p99_ms": worst, "in_a_browser_ms": opened})
    for what, (p50, p99) in found["calls"].items():
        table.append({"what": what, "p50_ms": p50, "p99_ms": p99, "in_a_browser_ms": ""})
    return table
