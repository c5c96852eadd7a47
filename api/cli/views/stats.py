"""What ``toolrunner plugins show --stats`` draws for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolrunner.api.cli.console import counted, moment_words, plain, table_of
from toolrunner.api.cli.views.figures import Bar, Line, share_style
from toolrunner.api.known_calls import SUCCESS

_NOTHING = (
    "No call of it is known here: servers count in the state folder (--state), and write each call "
    "that somebody waited for into the audit log."
)


def stats_view(document: Mapping[str, Any]) -> RenderableType:
    """Return what ``stats_document`` says, as figures."""
    counts, calls = document["counts"], document["calls"]
    parts: list[RenderableType] = []
    if not counts["successes"] + counts["errors"] and not calls["known"]:
        parts.append(plain(_NOTHING))
    else:
        parts.append(_counted(counts, calls))
    for heading, table in (
        ("Failures by type", _failures(calls)),
        ("The largest share of each limit that a call is known to have used", _limits(document)),
        ("Last calls", _last(document["last_calls"])),
        ("Failed calls that are kept: toolrunner replay PATH", _kept(document["kept_failures"])),
    ):
        if table is not None:
            parts += [Text(), Text(heading, style="bold"), table]
    parts += [plain(f"Not read: {words}", "yellow") for words in document["not_read"]]
    return Group(*parts)


def _counted(counts: Mapping[str, Any], calls: Mapping[str, Any]) -> Table:
    """Return how many calls there were, how long they took, and when they were."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column()
    grid.add_column()
    all_calls = counts["successes"] + counts["errors"]
    if all_calls:
        part = counts["successes"] / all_calls
        words = f"{all_calls}, of which {counts['errors']} failed"
        grid.add_row("calls", words, Bar(part, "green" if part == 1 else "yellow"))
    if counts["in_flight"]:
        grid.add_row("in flight", str(counts["in_flight"]), "")
    if counts["mean_ms"] is not None:
        words = f"{counts['mean_ms']:.0f} ms at the mean of the last {len(counts['last_ms'])}"
        if not counts["last_ms"]:
            words = f"{counts['mean_ms']:.0f} ms at the mean of the last ones"
        grid.add_row("last times", words, Line(counts["last_ms"]))
    if calls["known"]:
        words = f"p50 {calls['p50_ms']} ms, p99 {calls['p99_ms']} ms"
        grid.add_row("latency", f"{words}, of {counted(calls['known'], 'known call')}", "")
        since, until = (
            moment_words(datetime.fromisoformat(calls[one])) for one in ("first", "last")
        )
        parts = calls["over_time"]
        grid.add_row("over time", f"{since} to {until}", Line([one["calls"] for one in parts]))
        if calls["failed"]:
            line = Line([one["failed"] for one in parts], "red")
            grid.add_row("failed", f"{calls['failed']} of these", line)
    return grid


def _failures(calls: Mapping[str, Any]) -> Table | None:
    if not calls["failures"]:
        return None
    table = table_of("type", "calls", "")
    for kind, number in calls["failures"].items():
        table.add_row(plain(kind), str(number), Bar(number / calls["failed"], "red"))
    return table


def _limits(document: Mapping[str, Any]) -> Table | None:
    if not document["limits"]:
        return None
    table = table_of("limit", "used", "of", "", "")
    for one in document["limits"]:
        fraction = one["fraction"]
        bar = Bar(fraction, share_style(fraction))
        used, most = f"{one['used']:.3g}", f"{one['at_most']:g}"
        table.add_row(one["limit"], used, most, f"{fraction:.0%}", bar)
    return table


def _last(calls: Iterable[Mapping[str, Any]]) -> Table | None:
    table = table_of("when", "by", "ms", "outcome", "caller")
    for one in calls:
        outcome = plain(one["outcome"], "green" if one["outcome"] == SUCCESS else "red")
        when = moment_words(datetime.fromisoformat(one["at"]))
        table.add_row(when, one["door"], str(one["ms"]), outcome, plain(one["caller"]))
    return table if table.row_count else None


def _kept(failures: Iterable[Mapping[str, Any]]) -> Table | None:
    table = table_of("when", "type", "most of", "message", "path")
    for one in failures:
        most = max(one["limits"], key=lambda share: share["fraction"], default=None)
        words = f"{most['limit']} {most['fraction']:.0%}" if most else ""
        kind, path = plain(one["type"], "red"), plain(one["path"])
        table.add_row(plain(one["at"]), kind, words, plain(one["message"]), path)
    return table if table.row_count else None
