#!/usr/bin/env python3
"""Measure what a governed call costs, beside other ways to run the same work in a process.

    python scripts/bench.py                          # everything that is not asked for below
    python scripts/bench.py compare --rounds 10      # only the comparison, longer
    python scripts/bench.py compare concurrency --json
    python scripts/bench.py soak --calls 20000       # what piles up over many calls
    python scripts/bench.py --markdown --plot docs/performance.svg
    scripts/libraries && .venv-libraries/bin/python scripts/bench.py libraries resident --markdown
    python scripts/bench.py environments             # installs some from the index; needs uv
    python scripts/bench.py cluster                  # starts a PostgreSQL of its own; best as root
    python scripts/bench.py scale --calls 200        # 10 to 10,000 workers, simulated
    python scripts/bench.py page                     # by a browser too, where Chromium is

All sides do the same: JSON in, a NumPy sum, JSON out. Each is measured in a process of its own,
in turns, so that a noisy machine is noisy for all. Trust the ratios; milliseconds are this
machine's at this moment. docs/performance.md and docs/fast-plugins.md explain every figure.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import cluster_section, page_section, plot, scale_section, sides

SECTIONS = (
    "compare", "payload", "concurrency", "http", "plugins", "size", "limits", "intake", "idle",
    "soak", "libraries", "resident", "environments", "cluster", "scale", "page",
)  # fmt: skip
OPTIONAL = (
    "soak",
    "libraries",
    "resident",
    "environments",
    "cluster",
    "scale",
    "page",
)  # measured when they are asked for
PAYLOADS = (1 << 10, 64 << 10, 1 << 20, 10_000_000, 64 << 20)
THREADS = (1, 2, 4, 8, 16, 32)
PLUGINS = (1, 50, 200)
HTTP = {"echo": 4, "bytes": 4, "image": 32}  # what is asked, and by how many clients
HOW = ("in-process", "own", "resident", "cold")
REUSED = ("reused process", "reused pool", "toolrunner warm", "toolrunner resident")
HTTP_LAST = ("reused", "door")  # directly, then over HTTP
PLUGIN_FILES = Path(__file__).parent.parent / "tests/libraries/plugins"
OVER_HTTP = ("opencv_edges", "onnxruntime_direction")
CLUSTER_PARTS = ("accepting", "database", "one_of_each", "at_rest", "short_jobs", "fairness")
NOT_INSTALLED = 3  # exit status of a part that lacks something

Row = dict[str, Any]
Table = tuple[str, list[Row]]


def part(*arguments: object) -> Any:  # noqa: ANN401 - figures as JSON has them
    """Run one part in a process of its own; return its figures, ``None`` if it lacks something."""
    command = [sys.executable, __file__, "--part", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == NOT_INSTALLED:
        return None
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed with status {done.returncode}")
    return json.loads(done.stdout)


def run_part(name: str, value: str, calls: int) -> None:
    """Do what ``part`` asked for, in this process, and print the figures."""
    if name == "side":
        side, size = value.split(",")
        try:
            print(json.dumps(sides.measure(side, size, calls)))
        except sides.NotInstalledError:
            sys.exit(NOT_INSTALLED)
    else:
        # Not above: it imports the project, which the sides that are no part of it must not have.
        from benchmarks import door, environments, growth, intake, libraries, page, reused  # noqa: PLC0415 - see above

        if name in CLUSTER_PARTS:
            from benchmarks import cluster  # noqa: PLC0415 - it needs the extra of that name

            figures = cluster.PARTS[name](int(value), calls)
            print(json.dumps(figures))
            return

        named = {
            "library": libraries.library, "reused": reused.reused, "door": reused.through_http,
            "http": door.door,
        }  # fmt: skip
        if name in named:
            work, side = value.split(",")
            figures = named[name](work, side, calls)
        else:
            parts = {
                **growth.PARTS, **environments.PARTS, "intake": intake.intake, "page": page.page,
            }  # fmt: skip
            figures = parts[name](int(value), calls)
        if figures is None:
            sys.exit(NOT_INSTALLED)
        print(json.dumps(figures))


class Progress:
    """One line on stderr that says what is being measured, if there is somebody to read it."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, words: str) -> None:
        """Show a few words."""
        if self._shown:
            print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave an empty line."""
        self("")


def sampled(
    names: Iterable[str], size: str, rounds: int, calls: int, tell: Progress
) -> dict[str, list[float]]:
    """Return the milliseconds of each side, measured in turns; without those not installed."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for side in list(taken):
            tell(f"{side}, {size}: round {number + 1} of {rounds}")
            slow = side not in ("floor", "toolrunner warm")
            found = part("side", f"{side},{size}", max(2, calls // 5) if slow else calls)
            if found is None:
                del taken[side]
            else:
                taken[side] += [seconds * 1000 for seconds in found]
    return taken


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile of some values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def compare(rounds: int, calls: int, tell: Progress) -> Table:
    """Every side, with its median as a multiple of the floor's."""
    taken = sampled(sides.SIDES, "numpy", rounds, calls, tell)
    base = statistics.median(taken["floor"])
    rows: list[Row] = []
    for side in sides.SIDES:
        if side not in taken:
            rows.append({"side": side, "of_floor": None, "p50_ms": None, "p99_ms": None})
            continue
        p50 = statistics.median(taken[side])
        p99 = percentile(taken[side], 99)
        rows.append({"side": side, "of_floor": p50 / base, "p50_ms": p50, "p99_ms": p99})
    return "compare", rows


def size(rounds: int, calls: int, tell: Progress) -> Table:
    """A warm call beside the floor, for plugins with more and more libraries."""
    rows: list[Row] = []
    for name in ("stdlib", "numpy", "scipy"):
        if name == "scipy" and importlib.util.find_spec("scipy") is None:
            rows.append({"libraries": "scipy", "of_floor": None, "p50_ms": None})
            continue
        taken = sampled(("floor", "toolrunner warm"), name, rounds, calls, tell)
        p50 = statistics.median(taken["toolrunner warm"])
        ratio = p50 / statistics.median(taken["floor"])
        rows.append({"libraries": name, "of_floor": ratio, "p50_ms": p50})
    return "size", rows


def payload(rounds: int, calls: int, tell: Progress) -> Table:
    """What an image adds to a warm call, beside the time to push it through a socketpair."""
    found: dict[int, list[Row]] = {number: [] for number in PAYLOADS}
    for _ in range(rounds):
        for number in PAYLOADS:
            tell(f"payload of {number:,} bytes")
            found[number].append(part("payload", number, max(3, calls // 8)))
    base = statistics.median(row["p50"] for row in found[PAYLOADS[0]])
    rows = []
    for number, measured in found.items():
        added = statistics.median(row["p50"] for row in measured) - base
        push = statistics.median(row["push_p50"] for row in measured)
        rows.append(
            {"bytes": number, "added_of_push": added / push, "added_ms": added, "push_ms": push}
        )
    return "payload", rows[1:]


def concurrency(rounds: int, calls: int, tell: Progress) -> Table:
    """Calls a second by more and more threads, as a multiple of the floor's sequential rate."""
    found: dict[int, list[Row]] = {number: [] for number in THREADS}
    floors: list[float] = []
    for _ in range(rounds):
        tell("the floor")
        floors += part("side", "floor,numpy", calls)
        for number in THREADS:
            tell(f"{number} threads")
            found[number].append(part("concurrency", number, 4 * calls))
    floor_rate = 1 / statistics.mean(floors)
    rows = []
    for number, measured in found.items():
        rate, p50, p99 = (
            statistics.median(row[name] for row in measured)
            for name in ("per_second", "p50", "p99")
        )
        rows.append(
            {"threads": number, "of_floor_rate": rate / floor_rate, "per_second": rate,
             "p50_ms": p50, "p99_of_p50": p99 / p50}
        )  # fmt: skip
    return "concurrency", rows


def http(rounds: int, calls: int, tell: Progress) -> Table:
    """A call through ``toolrunner serve`` beside one of ``ToolRunner.run``."""
    rows = []
    for kind, clients in HTTP.items():
        found = []
        for number in range(rounds):
            tell(f"http, {kind}: round {number + 1} of {rounds}")
            found.append(part("http", f"{kind},{clients}", calls))
        p50 = statistics.median(row["http_p50"] for row in found)
        rows.append({
            "asked": kind,
            "of_run_p50": statistics.median(row["http_p50"] / row["run_p50"] for row in found),
            "p50_ms": p50,
            "clients": clients,
            "of_run_rate": statistics.median(
                row["http_per_second"] / row["run_per_second"] for row in found
            ),
            "per_second": statistics.median(row["http_per_second"] for row in found),
        })  # fmt: skip
    return "http", rows


def plugins(_rounds: int, _calls: int, tell: Progress) -> Table:
    """What it costs to know more and more plugins."""
    rows = []
    for number in PLUGINS:
        tell(f"{number} plugins")
        found = part("plugins", number, 1)
        rows.append({"plugins": number, "ms_each": found["each"], "processes": found["processes"]})
    return "plugins", rows


def limits(rounds: int, calls: int, tell: Progress) -> Table:
    """How exactly two limits are kept."""
    late, bombs = [], []
    for _ in range(rounds):
        tell("limits")
        late.append(part("wall", 0, max(5, calls // 4)))
        bombs.append(part("bomb", 0, max(2, calls // 10)))
    return "limits", [
        {"limit": "wall_seconds: ms late, p50", "figure": max(row["p50"] for row in late)},
        {"limit": "wall_seconds: ms late, p99", "figure": max(row["p99"] for row in late)},
        {
            "limit": "memory_mb = 128: most held, of the limit",
            "figure": max(row["of_the_limit"] for row in bombs),
        },
    ]


def intake(_rounds: int, calls: int, tell: Progress) -> Table:
    """How long another thread waits while a large text is read."""
    tell("large texts")
    figures = part("intake", 0, max(2, calls // 20))
    return "intake", [{"text": name, "longest stop, ms": ms} for name, ms in figures.items()]


def idle(_rounds: int, _calls: int, tell: Progress) -> Table:
    """What a box costs that nobody calls."""
    tell("an idle box")
    return "idle", [part("idle", 0, 1)]


def soak(_rounds: int, calls: int, tell: Progress) -> Table:
    """What is in use after a tenth of the calls, and after all of them."""
    tell(f"{calls} calls")
    found = part("soak", 0, calls)
    return "soak", [
        {"after_calls": calls // 10, **found["first"]},
        {"after_calls": calls, **found["last"]},
    ]


def libraries(rounds: int, calls: int, tell: Progress) -> Table:
    """Plugins on real libraries: in the asking process, warm, resident and cold."""
    plugins = sorted(path.stem for path in PLUGIN_FILES.glob("*.py"))
    return "libraries", [library_row(name, rounds, calls, tell) for name in plugins]


def library_row(name: str, rounds: int, calls: int, tell: Progress) -> Row:
    """One plugin: the median over the rounds of each way to call it.

    Beside that, how its calls start (resident if they cannot be forked), and what such a call
    takes as a part of 1.5 times the one in-process and 5 ms.
    """
    found: dict[str, list[float]] = {how: [] for how in HOW}
    for number in range(rounds):
        for how in HOW:
            tell(f"{name}, {how}: round {number + 1} of {rounds}")
            figures = part("library", f"{name},{how}", calls)
            if figures is not None and figures["ms"] is not None:
                found[how].append(figures["ms"])
    own, warm, resident, cold = (
        statistics.median(found[how]) if found[how] else None for how in HOW
    )
    bound = None if own is None else 1.5 * own + 5
    return {
        "plugin": name,
        "starts": "warm" if warm is not None else "resident",
        "warm_of_bound": warm / bound if warm and bound else "",
        "resident_of_bound": resident / bound if resident and bound else None,
        "in_process_ms": own,
        "warm_ms": warm or "",
        "resident_ms": resident,
        "cold_ms": cold,
    }


def resident(rounds: int, calls: int, tell: Progress) -> Table:
    """Residents beside a process that serves call after call and isolates nothing."""
    works = [("trivial", "reused"), *((name, kind) for name in OVER_HTTP for kind in HTTP_LAST)]
    rows: list[Row] = []
    for work, kind in works:
        sides = [side for side in REUSED if kind == "reused" or side != "reused process"]
        found: dict[str, list[Row]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in sides:
                tell(f"{work}, {side}: round {number + 1} of {rounds}")
                found[side].append(part(kind, f"{work},{side}", calls))
        rows += reused_rows(work if kind == "reused" else f"{work} over HTTP", found)
    return "resident", rows


def reused_rows(work: str, found: dict[str, list[Row]]) -> list[Row]:
    """The sides of one work, as multiples of the first one's median and rate."""
    medians = {
        side: [statistics.median(row[name] for row in measured) for name in ("p50", "per_second")]
        for side, measured in found.items()
    }
    base_p50, base_rate = next(iter(medians.values()))
    return [
        {"work": work, "side": side, "of_reused": p50 / base_p50,
         "of_reused_rate": rate / base_rate, "p50_ms": p50, "per_second": rate}
        for side, (p50, rate) in medians.items()
    ]  # fmt: skip


def environments(rounds: int, calls: int, tell: Progress) -> Table:
    """A list of many plugins in environments, and a call in one beside the runner's packages."""
    tell("installing environments")
    found = part("listed", 0, max(3, rounds))
    rows: list[Row] = [
        {"what": f"plugins list: {found['plugins']} plugins in {found['environments']}",
         "ms": found["list_ms"], "with_the_runners_packages_ms": "", "ratio": ""},
    ]  # fmt: skip
    for start in ("warm", "cold"):
        measured = []
        for number in range(rounds):
            tell(f"a {start} call: round {number + 1} of {rounds}")
            measured.append(part("called", int(start == "cold"), calls))
        medians = {name: statistics.median(row[name] for row in measured) for name in measured[0]}
        rows.append({"what": f"a {start} call", **medians})
    return "environments", rows


def cluster(rounds: int, calls: int, tell: Progress) -> Table:
    """Jobs of several machines: each step, one to three workers, and a caller with many jobs."""
    return "cluster", cluster_section.rows(part, rounds, calls, tell)


def scale(rounds: int, calls: int, tell: Progress) -> Table:
    """Many workers, on paper: what they run, how busy the database is, how long others wait."""
    return "scale", scale_section.rows(part, rounds, calls, tell)


def page(_rounds: int, calls: int, tell: Progress) -> Table:
    """The page of a server with many plugins and jobs, and calls beside it."""
    tell("a server with 200 plugins and 100,000 jobs")
    return "page", page_section.rows(part, calls)


MEASURED = {
    "compare": compare, "payload": payload, "concurrency": concurrency, "http": http,
    "plugins": plugins, "size": size, "limits": limits, "intake": intake,
    "idle": idle, "soak": soak, "libraries": libraries, "resident": resident,
    "environments": environments, "cluster": cluster, "scale": scale,
    "page": page,
}  # fmt: skip


def shown(value: object) -> str:
    """Return a figure as a person reads it."""
    if value is None:
        return "not installed"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value}"


def circumstances() -> str:
    """Say when and on what this is measured."""
    today = datetime.datetime.now(datetime.UTC).date()
    linux = ".".join(platform.release().split(".")[:2])
    python = platform.python_version()
    return f"Measured on {today}: {os.cpu_count()} processors, Linux {linux}, Python {python}."


def text_of(name: str, rows: list[Row], *, markdown: bool) -> str:
    """Return one section as a table."""
    titles = [title.replace("_", " ") for title in rows[0]]
    cells = [titles, *([shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    if markdown:
        lines = [f"| {' | '.join(row)} |" for row in cells]
        lines.insert(1, f"|{'---|' * len(titles)}")
    if markdown:
        lines.append(f"\n{circumstances()}")
    return "\n".join([f"### {name}" if markdown else name.upper(), "", *lines, ""])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [name for name in SECTIONS if name not in OPTIONAL]
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--calls", type=int, default=60, help="calls a turn (default 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the comparison as SVG")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, value, calls = arguments.part
        run_part(name, value, int(calls))
        return
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    if arguments.rounds < 1 or arguments.calls < 10:
        parser.error("--rounds must be 1 or more, --calls 10 or more")
    if importlib.util.find_spec("toolrunner") is None or importlib.util.find_spec("numpy") is None:
        parser.error("this Python does not have the project: install it (scripts/quickstart does)")
    tell = Progress()
    tables: dict[str, list[Row]] = {}
    for section in arguments.sections or default:
        name, rows = MEASURED[section](arguments.rounds, arguments.calls, tell)
        tell.clear()
        tables[name] = rows
        if not arguments.json:
            print(text_of(name, rows, markdown=arguments.markdown), flush=True)
    if arguments.json:
        print(json.dumps(tables, indent=2))
    if arguments.plot is not None:
        if "compare" not in tables:
            parser.error("--plot shows the section compare: measure that as well")
        arguments.plot.write_text(plot.bars(tables["compare"]), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
