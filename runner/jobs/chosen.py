"""Which jobs are meant, in words of SQL that the databases of both stores take.

They differ in how a value is marked: ``mark`` is ``:{}`` or ``%({})s``, for the name of one.
"""

from __future__ import annotations

from typing import Any

from toolrunner.runner.jobs.job import JobFilter

DEAD = "dead_bytes IS NOT NULL"
KEPT = "ended IS NOT NULL AND dead_bytes IS NULL"
# Who holds most loses its oldest, until the rest fits: so no caller pushes out what others have.
# ``held`` is what a caller has left once all that are older than this one have gone, so the jobs
# go in its order, the most first.
_BEYOND = """
SELECT id FROM (
  SELECT id, sum(weight) OVER (ORDER BY held, ended DESC, seq DESC) AS total FROM (
    SELECT id, seq, ended, {weight} AS weight,
      sum({weight}) OVER (PARTITION BY caller ORDER BY ended DESC, seq DESC) AS held
    FROM jobs WHERE {which}
  ) AS one_by_one
) AS all_of_them WHERE total > {most}
"""


def chosen(
    which: JobFilter, limit: int, before: str | None, mark: str
) -> tuple[str, dict[str, Any]]:
    """Return what follows SELECT for these jobs, the newest first, and the values in it."""
    wanted = {
        f"caller = {mark}": ("caller", which.caller),
        f"status = {mark}": ("status", None if which.status is None else str(which.status)),
        f"plugin = {mark}": ("plugin", which.plugin),
        f"ended < {mark}": (
            "ended_before",
            None if which.ended_before is None else which.ended_before.timestamp(),
        ),
        f"seq < (SELECT seq FROM jobs WHERE id = {mark})": ("before", before),  # noqa: S608 - ours alone
    }
    conditions = [
        words.format(name) for words, (name, value) in wanted.items() if value is not None
    ]
    if which.is_dead is not None:  # by itself, so that there can be an index for it
        conditions.append(DEAD if which.is_dead else "dead_bytes IS NULL")
    values = dict(wanted.values()) | {"limit": limit}
    words = f"WHERE {' AND '.join(conditions) or 'TRUE'} ORDER BY seq DESC LIMIT {mark}"
    return words.format("limit"), values


def beyond(which: str, weight: str, mark: str) -> str:
    """Return the query for the ids of such jobs that go, since all weigh more than ``most``."""
    return _BEYOND.format(which=which, weight=weight, most=mark.format("most"))
