"""Lists of jobs are found by an index, and sort nothing, however many jobs there are."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from toolrunner.runner.jobs.chosen import chosen
from toolrunner.runner.jobs.job import JobFilter, JobStatus
from toolrunner.runner.jobs.sqlite_rows import SELECT_JOBS, STEPS

FILTERS = [
    JobFilter(None),
    JobFilter("caller"),
    JobFilter(None, JobStatus.FAILED),
    JobFilter("caller", JobStatus.FAILED),
    JobFilter(None, plugin="plugin"),
    JobFilter("caller", JobStatus.SUCCESS, "plugin"),
    JobFilter(None, is_dead=True),
]


@pytest.mark.parametrize("before", [None, "job"])
@pytest.mark.parametrize("which", FILTERS, ids=str)
def test_no_list_looks_at_all_jobs(which: JobFilter, before: str | None) -> None:
    """But for the newest of all, which come in their order already."""
    with closing(sqlite3.connect(":memory:")) as database:
        for step in STEPS:
            database.executescript(step)
        words, values = chosen(which, 50, before, ":{}")
        plan = database.execute(f"EXPLAIN QUERY PLAN {SELECT_JOBS} {words}", values).fetchall()
    steps = [str(row[3]) for row in plan]
    assert not [step for step in steps if "TEMP B-TREE" in step]
    looked = [step for step in steps if step == "SCAN jobs"]
    assert looked == (["SCAN jobs"] if which == JobFilter(None) and before is None else [])
