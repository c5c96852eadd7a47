"""The cluster on paper follows its rules, and the benchmark measures what it is compared with."""

from __future__ import annotations

import json
import statistics

import pytest
from benchmarks import scale_section
from benchmarks.cluster_model import Costs, SimulatedJob, simulate

from tests.postgres import programs
from tests.test_bench import bench, part

FREE = Costs(accept=0.0, claim=0.0, end=0.0)


def jobs(number: int, seconds: float, caller: str = "") -> list[SimulatedJob]:
    """Return jobs that are left as soon as it can be."""
    return [SimulatedJob(caller, 0.0, seconds) for _ in range(number)]


def test_workers_share_the_work() -> None:
    """Three do in a third of the time what one does."""
    assert simulate([jobs(30, 1.0)], 1, FREE).seconds == pytest.approx(30.0)
    assert simulate([jobs(30, 1.0)], 3, FREE).seconds == pytest.approx(10.0)


def test_each_step_of_a_job_takes_its_time() -> None:
    """One worker waits for the database before and after each job."""
    costs = Costs(accept=0.0, claim=0.25, end=0.5)
    run = simulate([jobs(4, 1.0)], 1, costs)
    assert run.seconds == pytest.approx(4 * 1.75 - 0.25)
    assert run.database_busy == pytest.approx(0.75 / 1.75)


@pytest.mark.parametrize(("at_once", "seconds"), [(1.0, 2.0), (1.6, 1.25), (4.0, 0.5), (9.0, 0.5)])
def test_a_database_does_so_much_at_once(at_once: float, seconds: float) -> None:
    """Of four steps of half a second each that are asked for at the same time."""
    costs = Costs(accept=0.0, claim=0.0, end=0.5, at_once=at_once)
    run = simulate([jobs(1, 1.0) for _ in range(4)], 4, costs)
    assert run.seconds == pytest.approx(1.0 + seconds)


def test_a_client_leaves_one_job_after_the_other() -> None:
    """The next is not there before the last is accepted."""
    left = jobs(3, 0.1)
    simulate([left], 3, Costs(accept=1.0, claim=0.0, end=0.0))
    assert [job.started_at for job in left] == pytest.approx([1.0, 2.0, 3.0])


def test_who_has_few_jobs_waits_for_one_of_a_caller_with_many() -> None:
    """And not for all that came before."""
    heavy = jobs(100, 1.0, "heavy")
    light = [SimulatedJob("light", 10.5, 1.0)]
    simulate([heavy, light], 2, FREE)
    assert light[0].started_at == pytest.approx(11.0)
    assert max(job.ended_at for job in heavy) == pytest.approx(51.0)


def test_a_database_that_is_busy_all_the_time_bounds_the_cluster() -> None:
    """More workers are of no use then, and a second database is."""
    costs = Costs(accept=0.002, claim=0.001, end=0.002)
    one = scale_section.row(1000, 1.0, 1, costs)
    many = scale_section.row(1000, 1.0, 10, costs)
    assert one["jobs_a_second"] == pytest.approx(200, rel=0.05)
    assert one["database_busy"] > 0.97
    assert many["jobs_a_second"] > 900
    assert many["beside_a_heavy_one"] < 0.1


def test_times_of_jobs_spread_around_what_is_said() -> None:
    """None is like another, and together they take as long."""
    found = scale_section._spread(2.0, 1000)
    assert statistics.mean(found) == pytest.approx(2.0, rel=0.01)
    assert len(set(found)) == 1000
    assert min(found) >= 1.0
    assert max(found) <= 3.0


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("database", {"accept", "claim", "end", "look", "at_once", "jobs_per_second"}),
        ("one_of_each", {"accepted", "run"}),
        ("at_rest", {"connections", "per_second"}),
    ],
)
def test_each_part_has_its_figures(name: str, names: set[str]) -> None:
    """On a PostgreSQL that it starts and ends."""
    programs()
    found = part(name, "0", "3")
    assert set(found) == names
    assert all(figure > 0 for figure in found.values())


def test_clusters_on_paper_stand_in_a_table() -> None:
    """With the database that is measured."""
    programs()
    done = bench("scale", "--calls", "10", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["scale"]
    assert [(row["workers"], row["databases"]) for row in found] == [
        (workers, databases) for workers, _, databases in scale_section.CLUSTERS
    ]
