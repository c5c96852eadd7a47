"""scripts/soak.py --cluster: a small one is clean; what may not be would be noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import soak_cluster
from chaos.books import Left, Row, unbalanced

from tests.postgres import programs


def test_whatever_is_killed_each_job_ends_once() -> None:
    """Workers, servers and PostgreSQL, while jobs run; nothing is lost, doubled or left over."""
    programs()
    report = soak_cluster.soak(jobs=120, kills=4, stop_seconds=0, seed=4, workers=2)
    assert (report.wrong, report.leaked) == ([], [])
    assert sum(report.jobs.values()) == 120
    assert sum(report.killed.values()) == 4


GOOD = Row("a", "SUCCESS", 1, 0, 0, 0.1, ("PENDING", "RUNNING", "SUCCESS"))
TWICE = ("PENDING", "RUNNING", "PENDING", "RUNNING", "SUCCESS")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"claims": 2, "deaths": 1, "told": TWICE}, ""),
        ({"claims": 2, "given_back": 1, "told": TWICE}, ""),
        ({"caller": "b"}, "is b's"),
        ({"status": "RUNNING", "told": ("PENDING", "RUNNING")}, "is RUNNING"),
        ({"told": (*GOOD.told, "SUCCESS")}, "has ended 2 times"),
        ({"told": (*GOOD.told, "PENDING")}, "has ended 1 times"),
        ({"claims": 2, "deaths": 1}, "was claimed 2 times, and told so 1 times"),
        ({"claims": 2, "told": TWICE}, "has begun 2 times, and lost 0 attempts"),
        ({"deaths": 2, "claims": 3}, "has succeeded after 2 lost attempts, with 1 retries"),
        ({"status": "FAILED", "deaths": 1}, "has failed after 1 lost attempts, with 1 retries"),
    ],
)
def test_what_does_not_balance_is_told(changes: dict[str, object], words: str) -> None:
    """Of each job, its ends, its attempts and its owner."""
    row = replace(GOOD, **changes)  # type: ignore[arg-type]
    found = list(unbalanced({"x": Left(1, "a", 1, "heavy")}, {"x": row}))
    assert any(words in one for one in found) if words else not found


def test_a_job_that_is_lost_or_that_nobody_knows_is_told() -> None:
    """By its id."""
    found = list(unbalanced({"x": Left(1, "a", 1, "heavy")}, {"y": GOOD}))
    assert found == ["job y of a: nobody was told of it", "job x is lost"]


def test_a_report_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json."""
    report = soak_cluster.Report(3, 1.5, {"SUCCESS": 7}, killed={"postgres": 1})
    soak_cluster.show(report)
    words = capsys.readouterr().out
    assert "killed: postgres 1" in words
    assert report.is_clean
    assert not soak_cluster.Report(3, unfair=["slow"]).is_clean
