"""How the result or the error of one call looks, to a person and as a JSON document.

Called by ``commands`` and ``check``. Everything in a result comes from a plugin: it passes
``plain``, and what is endless is cut with a word about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from toolrunner.api.cli.artifacts import Kept
from toolrunner.api.cli.calls import Done, isolation_of
from toolrunner.api.cli.console import Hanging, plain, table_of, unbroken
from toolrunner.runner.environments.choice import INSTALL
from toolrunner.runner.errors import Blame, ErrorType
from toolrunner.runner.tracebacks import Place

MAX_ITEMS = 200
MAX_CHARACTERS = 4000
MAX_LEVELS = 12
MAX_PRINTED = 20
_QUOTES = "; its standard error ends with:\n"  # of a program: see ``sandbox/inside/command.py``
_MAX_COLUMNS = 8
_SHORT_LIST = 80  # characters in which a list of plain values stays on one line

_AT_FAULT = {
    Blame.CALLER: "what was asked for is at fault",
    Blame.HOST: "this host is at fault",
    Blame.PLUGIN: "the plugin or its limits are at fault",
}
# Of a plugin that cannot run here: it may as well lack what the operator has to give it.
_NOT_INSTALLED = "what it needs is not installed here"
_CANNOT_RUN = "it cannot be used here as it is"
_SUSPENDED = "it takes no calls for now"


def document(done: Done, *, debug: bool) -> dict[str, Any]:
    """Return the JSON document for one call."""
    shown: dict[str, Any]
    if done.envelope is None:
        shown = {
            "plugin": done.plugin,
            "result": done.result,
            "usage": asdict(done.call.usage),
            "isolation": isolation_of(done.call),
        }
        if done.kept:
            shown["artifacts"] = [kept.document() for kept in done.kept]
    else:
        shown = {"error": done.envelope["error"]}
        if debug:
            shown["_internal"] = done.envelope["_internal"]
    if done.file is not None:
        shown["file"] = done.file
    return shown


def result_view(done: Done) -> RenderableType:
    """Return a tree of the result, under the file's or the plugin's name."""
    usage = done.call.usage
    title = plain(done.plugin if done.file is None else done.file, "bold")
    title.append(f"  {usage.wall_ms} ms, {usage.peak_memory_bytes / 2**20:.0f} MiB", "dim")
    return tree_of(title, done.result or {}, done.kept)


def tree_of(title: Text, result: Mapping[str, Any], kept: Sequence[Kept]) -> RenderableType:
    """Return a tree of a result, and of what is told of artifacts beside it."""
    tree = Tree(title, guide_style="dim")
    if not result:
        tree.add(Text("an empty result", style="dim"))
    elif table := _table(result):
        tree.add(table)
    else:
        _grow(tree, result, 1)
    if kept:
        _add_artifacts(tree, kept)
    return tree


def _add_artifacts(tree: Tree, artifacts: Sequence[Kept]) -> None:
    is_written = artifacts[0].file is not None
    words = "" if is_written else "  (--out DIR writes them to a folder)"
    branch = tree.add(Text.assemble(("artifacts", "cyan"), (words, "dim")))
    table = table_of("name", "type", "size", *(["file"] if is_written else []))
    for kept in artifacts:
        info = kept.info
        size = plain(f"{info.size_bytes:,} byte{'' if info.size_bytes == 1 else 's'}")
        row = [plain(info.name), plain(info.mime_type), size]
        table.add_row(*row, *([plain(kept.file)] if is_written else []))
    branch.add(table)


def _grow(branch: Tree, value: Mapping[str, Any] | Sequence[Any], level: int) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
    for key, inner in islice(items, MAX_ITEMS):
        name = plain(_cut(str(key)), "cyan")
        line = _line(inner, level)
        if line is not None:
            branch.add(Text.assemble(name, ": ", line))
        elif table := _table(inner):
            branch.add(name).add(table)
        else:
            _grow(branch.add(name), inner, level + 1)
    if len(value) > MAX_ITEMS:
        branch.add(Text(f"… and {len(value) - MAX_ITEMS} more; --json shows all", style="dim"))


def _line(value: object, level: int) -> Text | None:
    """Return a value as one run of text, ``None`` when it needs branches of its own."""
    if not isinstance(value, dict | list):
        return _scalar(value)
    if not value:
        return Text(f"an empty {'object' if isinstance(value, dict) else 'list'}", style="dim")
    if level >= MAX_LEVELS:
        return plain(_cut(json.dumps(value)))
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        short = [_item(item) for item in value[:_SHORT_LIST]]
        if len(value) <= _SHORT_LIST and sum(len(item) + 2 for item in short) <= _SHORT_LIST:
            return Text(", ").join(short)
    return None


def _item(value: object) -> Text:
    """Return a value of a list on one line: a text with what stands between them is quoted."""
    if isinstance(value, str) and ("," in value or value != value.strip()):
        return plain(_cut(json.dumps(value, ensure_ascii=False)))
    return _scalar(value)


def _scalar(value: object) -> Text:
    match value:
        case None:
            return Text("none", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case str():
            return plain(_cut(value)) if value else Text('""', style="dim")
        case _:
            return plain(value)


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[:MAX_CHARACTERS]}… and {len(text) - MAX_CHARACTERS} characters more (see --json)"


def _table(value: object) -> Table | None:
    """Return a table for a list of objects that are all alike and flat, or for what is called one.

    That has ``columns`` and ``rows``, as tables of libraries become in a result.
    """
    columns, cells = _columns_and_rows(value) if isinstance(value, dict) else _alike(value)
    if not 0 < len(columns) <= _MAX_COLUMNS or not 0 < len(cells) <= MAX_ITEMS:
        return None
    lines = [[_line(cell, 1) for cell in row] for row in cells]
    table = table_of()
    for name in map(str, columns):
        table.add_column(plain(_cut(name)))
    for line in lines:
        shown = [cell for cell in line if cell is not None]
        if len(shown) < len(line):
            return None
        table.add_row(*shown)
    return table


def _alike(value: object) -> tuple[list[Any], list[list[Any]]]:
    """Return the keys and values of two objects or more that have the same keys; else nothing."""
    if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], dict):  # noqa: PLR2004
        return [], []
    columns = list(value[0])
    if not all(isinstance(item, dict) and list(item) == columns for item in value):
        return [], []
    return columns, [list(item.values()) for item in value]


def _columns_and_rows(value: Mapping[str, Any]) -> tuple[list[Any], list[list[Any]]]:
    columns, rows = value.get("columns"), value.get("rows")
    if set(value) != {"columns", "rows"} or not isinstance(columns, list):
        return [], []
    if not isinstance(rows, list) or any(isinstance(name, dict | list) for name in columns):
        return [], []
    is_table = all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    return (columns, rows) if is_table else ([], [])


def printed_view(done: Done, *, whole: bool) -> RenderableType:
    """Return what a plugin has printed in a call; its last lines alone, unless it is all wanted."""
    kept, left_out = _last_lines(done.call.log_tail, whole=whole)
    subject = "" if done.file is None else f" for {done.file}"
    words = f"  it printed{subject}:"
    if left_out:
        words = f"  the last that it printed{subject} ({left_out} lines before; -v shows all):"
    return Group(plain(words, "dim"), _quoted(kept, "", "    | "))


def _last_lines(text: str, *, whole: bool) -> tuple[str, int]:
    """Return the end of what was printed, and how many lines were before it."""
    lines = text.rstrip("\n").split("\n")
    kept = lines if whole else [_cut(line) for line in lines[-MAX_PRINTED:]]
    return "\n".join(kept), len(lines) - len(kept)


def _at_fault(error: Mapping[str, Any]) -> str:
    if error["type"] != ErrorType.PLUGIN_UNAVAILABLE:
        return _AT_FAULT[Blame(error["details"]["blame"])]
    if "suspended_by" in error["details"]:
        return _SUSPENDED
    return _NOT_INSTALLED if INSTALL in error["message"] else _CANNOT_RUN


def without_command(reason: str) -> tuple[str, str]:
    """Return why a plugin cannot run, and the command that this ends with for want of libraries."""
    words, _, target = reason.rpartition(f": {INSTALL} ")
    return (words, f"{INSTALL} {target}") if words else (reason, "")


def error_view(
    envelope: Mapping[str, Any],
    *,
    file: str | None,
    debug: bool,
    was_called: bool = True,
    place: Place | None = None,
    advice: str = "",
) -> RenderableType:
    """Return what a person needs to know of an error: what, whose fault, how much, the log.

    ``place``: of the plugin's own code, where it came from. ``advice``: for the plugin's author.
    """
    error = envelope["error"]
    details = error["details"]
    title = Text("✗ ", style="red")
    subject = file if file is not None else error["plugin"]
    if subject:
        title.append_text(plain(f"{subject}: ", "bold"))
    title.append_text(plain(error["type"], "bold red"))
    title.append(f" ({_at_fault(error)})")
    message, command = error["message"], ""
    if error["type"] == ErrorType.PLUGIN_UNAVAILABLE:
        message, command = without_command(message)
    if place:  # which a SyntaxError's own words end with
        message = f"{place.where}: {message.removesuffix(f' ({place.in_words})')}"
    lines: list[RenderableType] = [title, _quoted(message)]
    if place and place.source:
        lines.append(_quoted(f"    {place.source}", "dim"))
    if command:
        lines.append(unbroken(f"  what to do: {command}", "yellow"))
    if advice:
        lines.append(Hanging("  what to do: ", advice, "    ", "yellow"))
    lines += evidence(envelope, debug=debug)
    if was_called:
        lines.append(Text(f"  call {details['call_id']}", style="dim"))
    return Group(*lines)


def evidence(envelope: Mapping[str, Any], *, debug: bool) -> Iterator[RenderableType]:
    """Yield what there is beside an error's message: its limit, the log, and the traceback."""
    error = envelope["error"]
    details = error["details"]
    if limit := details.get("limit"):
        yield Text(f"  {_limit_words(limit)}", style="dim")
    tail = details.get("log_tail")
    is_told = (tail or "").strip() in error["message"] or _QUOTES in error["message"]  # a program's
    if tail and (debug or not is_told):
        kept, _ = _last_lines(tail, whole=debug)
        yield Text("  the last that it printed:", style="dim")
        yield _quoted(kept, "dim", "    | ")
    if debug and (trace := envelope["_internal"]["traceback"]):
        yield Text("  traceback:", style="dim")
        yield _quoted(trace, "dim", "    | ")


def place_view(place: Place) -> RenderableType:
    """Return where in a plugin's own code something happened, whose message stands elsewhere."""
    source = f"\n    {place.source}" if place.source else ""
    return _quoted(f"{place.where}{source}")


def _limit_words(limit: Mapping[str, Any]) -> str:
    observed = limit.get("observed")
    words = f"limit {limit['name']}: at most {limit['configured']:g}"
    if observed is None:
        return words
    if observed < limit["configured"]:  # the kernel refused what would have passed it
        return f"{words}; {observed:g} when more was asked for"
    return f"{words}, observed {observed:g}"


def _quoted(text: str, style: str = "", mark: str = "  | ") -> Hanging:
    """Return words of a plugin's, or of a caller's, every line of which shows that it is theirs."""
    return Hanging(mark, text.rstrip("\n"), mark, style)
