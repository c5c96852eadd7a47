"""The section ``cluster`` of ``scripts/bench.py``: what is measured, and the same on paper."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import cluster_model as model
from benchmarks.scale_section import costs_of

COLUMNS = ("what", "measured", "simulated", "of it")


def rows(
    part: Callable[..., Any], rounds: int, calls: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure by parts of ``cluster``, and return a row for each figure.

    What can be simulated stands beside what was measured, with what it is of it.
    """
    found: list[dict[str, Any]] = []

    def add(what: str, measured: float, simulated: float | None = None) -> None:
        beside = ("", "") if simulated is None else (simulated, simulated / measured)
        found.append(dict(zip(COLUMNS, (what, measured, *beside), strict=True)))

    tell("accepting")
    stored = part("accepting", 0, calls)
    for name, ms in stored.items():
        add(f"accepting a job with an image of 100 kB, {name}: ms", ms)
    add("the same, of SQLite's time", stored["postgresql"] / stored["sqlite"])
    tell("the database alone")
    alone = part("database", 0, calls)
    for step in ("accept", "claim", "end"):
        add(f"{step} a job without a file: ms", alone[step])
    add("look for a job, where none waits: ms", alone["look"])
    add("jobs a second that the database gives out and ends", alone["jobs_per_second"])
    costs = costs_of(alone)
    tell("one server, and one worker")
    one = part("one_of_each", 0, calls)
    add("jobs a second that one server accepts over HTTP", one["accepted"])
    add("short jobs a second that one worker runs", one["run"])
    tell("workers with nothing to do")
    rest = part("at_rest", 0, calls)
    add("connections of a worker with nothing to do", rest["connections"])
    add("its transactions a second", rest["per_second"])
    rates: dict[int, float] = {}
    for workers in (1, 2, 3):
        rates_found = []
        for number in range(rounds):
            tell(f"short jobs, {workers} workers: round {number + 1} of {rounds}")
            figures = part("short_jobs", workers, 100 * workers)
            rates_found += [figures["per_second"]] if figures else []
        if rates_found:
            rates[workers] = statistics.median(rates_found)
            runs = 1 / rates[1] - costs.claim - costs.end
            jobs = [model.SimulatedJob("", 0.0, runs) for _ in range(100 * workers)]
            told = model.simulate([jobs], workers, costs).per_second
            add(f"short jobs a second, {workers} workers", rates[workers], told)
    if rates:
        add("three workers, of one", rates[3] / rates[1])
    for workers in (1, 3):
        tell(f"a caller with many jobs, {workers} workers")
        both = part("fairness", workers, calls)
        runs = both["runs_beside"] - costs.end
        told = model.simulated_light_wait(workers, runs, costs)
        add(f"jobs of others, {workers} workers: s until the end", both["alone"])
        add("the same beside a caller with many jobs", both["beside"], told)
        add("the same, of the time without it", both["beside"] / both["alone"])
    return found
