#!/usr/bin/env python3
"""Measure what a governed call costs beside a plain subprocess that does the same work.

    python scripts/bench.py [--calls N] [--json]

Both sides import the same libraries, read the same JSON, add the same numbers and write the same
JSON. Calls alternate, so that a noisy machine is noisy for both. The ratio of the medians is the
figure to trust; milliseconds are this machine's at this moment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from runner import PluginRegistry, ToolRunner

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "{name}"
# version = "1.0.0"
# description = "adds numbers"
# input = "json"
# ///
"""
WORK = {
    "stdlib": """\
        def run(payload):
            return {"sum": sum(payload["values"])}
        """,
    "numpy-pillow": """\
        import numpy
        import PIL.Image

        def run(payload):
            return {"sum": int(numpy.sum(numpy.array(payload["values"])))}
        """,
}
SUBPROCESS_TAIL = """
import json
import sys

json.dump(run(json.load(sys.stdin)), sys.stdout)
"""
PAYLOAD = {"values": list(range(1000))}


@dataclass(frozen=True)
class Figure:
    """Milliseconds of one side, and its median's ratio to the plain subprocess's."""

    work: str
    side: str
    p50_ms: float
    p95_ms: float
    ratio: float


def measure(calls: int, sides: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Call the sides in turn; return the milliseconds of each, the first round left out."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(calls + 1):
        for side, call in sides.items():
            started = time.perf_counter()
            answer = call()
            elapsed = (time.perf_counter() - started) * 1000
            if answer != {"sum": sum(PAYLOAD["values"])}:
                sys.exit(f"{side} answered {answer!r}")
            if number:
                taken[side].append(elapsed)
    return taken


def plain(script: Path) -> Callable[[], object]:
    """Return a call that starts a fresh, unconfined interpreter."""
    text = json.dumps(PAYLOAD)

    def call() -> object:
        command = [sys.executable, "-I", str(script)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return call


def governed(tool_runner: ToolRunner, name: str) -> Callable[[], object]:
    """Return a call through ToolRunner."""

    def call() -> object:
        result, error = tool_runner.run(name, PAYLOAD)
        return result if error is None else error

    return call


def bench(calls: int) -> list[Figure]:
    """Measure all work on both sides in one run."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        paths = {}
        for name, body in WORK.items():
            source = textwrap.dedent(body)
            paths[name] = Path(folder, f"{name}.py")
            paths[name].write_text(HEADER.format(name=name) + source)
            Path(folder, f"{name}.plain").write_text(source + SUBPROCESS_TAIL)
        with ToolRunner(PluginRegistry.discover(paths.values())) as tool_runner:
            for name in WORK:
                sides = {
                    "subprocess": plain(Path(folder, f"{name}.plain")),
                    "toolrunner cold": governed(tool_runner, name),
                }
                taken = measure(calls, sides)
                base = statistics.median(taken["subprocess"])
                for side, times in taken.items():
                    p50 = statistics.median(times)
                    p95 = statistics.quantiles(times, n=20)[-1]
                    figures.append(Figure(name, side, p50, p95, p50 / base))
    return figures


def main() -> None:
    """Run the bench and print its figures, ratios first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=40, help="calls of each side (default 40)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.calls < 2:
        parser.error("--calls must be 2 or more")
    figures = bench(arguments.calls)
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    print(f"{'ratio':>6}  {'p50 ms':>8}  {'p95 ms':>8}  work, side")
    for f in figures:
        print(f"{f.ratio:6.2f}  {f.p50_ms:8.1f}  {f.p95_ms:8.1f}  {f.work}, {f.side}")


if __name__ == "__main__":
    main()
