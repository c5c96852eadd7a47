"""What ``toolrunner config show`` prints for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from toolrunner.api.cli.console import plain, table_of


def settings_view(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return a table of settings."""
    table = table_of("setting", "value", "from")
    for row in rows:
        table.add_row(plain(row["setting"], "cyan"), _value(row["value"]), plain(row["source"]))
    return table


def _value(value: object) -> Text:
    if value in ([], {}, ""):
        return Text("none", style="dim")
    match value:
        case list():
            return plain("\n".join(map(str, value)))
        case dict():
            return plain("\n".join(f"{key} = {inner}" for key, inner in value.items()))
        case _:
            return plain(value)
