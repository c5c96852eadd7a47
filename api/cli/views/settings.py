"""What ``toolrunner config show`` prints for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.console import Hanging, plain, table_of
from toolrunner.plugins.errors import shown


def settings_view(
    rows: Iterable[Mapping[str, Any]], file: Path | None, *, is_there: bool
) -> RenderableType:
    """Return the file that settings are read from, and a table of them all."""
    table = table_of("setting", "value", "from")
    for row in rows:
        value = _value(row["value"])
        if "serve" in row:
            value.append_text(plain(f"; of a server: {_number(row['serve'])}"))
        table.add_row(plain(row["setting"], "cyan"), value, plain(row["source"]))
    return Group(Hanging("settings file: ", _file_words(file, is_there=is_there), "  "), table)


def _file_words(file: Path | None, *, is_there: bool) -> str:
    if file is None:
        return "none, as this user has no home; TOOLRUNNER_CONFIG names one"
    return shown(file) if is_there else f"{shown(file)} (it is not there)"


def _value(value: object) -> Text:
    if value is None or value in ([], {}, ""):
        return Text("none", style="dim")
    match value:
        case list():
            return plain("\n".join(map(str, value)))
        case dict():
            return plain("\n".join(f"{key} = {inner}" for key, inner in value.items()))
        case _:
            return plain(_number(value))


def _number(value: object) -> object:
    """Return a value as the operator writes it: a cap of 256 is not one of 256.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
