"""The section ``scale`` of ``scripts/bench.py``: clusters that no one machine holds, on paper.

The database is as fast as the one that is measured here; workers run one job at a time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import cluster_model as model

# Workers, seconds that a job takes, and databases among which they and the callers are split.
CLUSTERS = (
    (10, 1.0, 1), (100, 1.0, 1), (1000, 1.0, 1), (1000, 1.0, 10),
    (10, 10.0, 1), (100, 10.0, 1), (1000, 10.0, 1), (1000, 10.0, 4), (10_000, 10.0, 40),
)  # fmt: skip
# A caller with so many jobs for each worker, left by as many clients as servers would be.
_HEAVY_JOBS, _CLIENTS = 20, 8
# Callers who leave a hundredth of what all workers can run, each, for as long as that takes.
_LIGHT_CALLERS = 10
_GOLDEN = 0.6180339887498949


def rows(
    part: Callable[..., Any], _rounds: int, calls: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure the database, and return a row for each cluster on paper."""
    tell("the database alone")
    costs = costs_of(part("database", 0, calls))
    return [row(*cluster, costs) for cluster in CLUSTERS]


def costs_of(alone: dict[str, float]) -> model.Costs:
    """Return what the part ``database`` has measured, in seconds."""
    return model.Costs(
        accept=alone["accept"] / 1000,
        claim=alone["claim"] / 1000,
        end=alone["end"] / 1000,
        look=alone["look"] / 1000,
        at_once=max(1.0, alone["at_once"]),
    )


def row(workers: int, seconds: float, databases: int, costs: model.Costs) -> dict[str, Any]:
    """Return what becomes of a cluster: of its parts, which are alike, one is simulated."""
    of_one = workers // databases
    alone = _light(of_one, seconds)
    model.simulate(alone, of_one, costs)
    light = _light(of_one, seconds)
    run = model.simulate([*_heavy(of_one, seconds), *light], of_one, costs)
    return {
        "workers": workers,
        "seconds_a_job": seconds,
        "databases": databases,
        "jobs_a_second": run.per_second * databases,
        "of_the_workers": run.per_second * seconds / of_one,
        "database_busy": run.database_busy,
        "others_begin_after": _median_wait(alone),
        "beside_a_heavy_one": _median_wait(light),
    }


def _light(workers: int, seconds: float) -> list[list[model.SimulatedJob]]:
    every = seconds * 100 / workers
    return [
        [
            model.SimulatedJob(f"light-{caller}", (number + caller / _LIGHT_CALLERS) * every, lasts)
            for number, lasts in enumerate(_spread(seconds, _HEAVY_JOBS * workers // 100))
        ]
        for caller in range(_LIGHT_CALLERS)
    ]


def _heavy(workers: int, seconds: float) -> list[list[model.SimulatedJob]]:
    jobs = [
        model.SimulatedJob("heavy", 0.0, lasts) for lasts in _spread(seconds, _HEAVY_JOBS * workers)
    ]
    return [jobs[client::_CLIENTS] for client in range(_CLIENTS)]


def _spread(seconds: float, number: int) -> list[float]:
    """Return times from half to one and a half of it, none like another: all would end at once."""
    return [seconds * (0.5 + place * _GOLDEN % 1.0) for place in range(number)]


def _median_wait(callers: list[list[model.SimulatedJob]]) -> float:
    return statistics.median(job.started_at - job.left_at for jobs in callers for job in jobs)
