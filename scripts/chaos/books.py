"""Holds what a cluster's database says against what its callers were told: ``soak.py --cluster``.

Read from PostgreSQL itself, so that nothing is believed because a server says it. Changes nothing,
but for ``age``.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

_ENDS = frozenset({"SUCCESS", "FAILED", "CANCELLED"})
_ROWS = """
SELECT jobs.*, coalesce((SELECT array_agg(data::json ->> 'status' ORDER BY number) FROM events
  WHERE events.job = jobs.seq AND kind = 'status'), '{}') AS told
FROM jobs
"""
# What holds nothing any more once all jobs are purged and every process has ended.
_TABLES = ("jobs", "events", "procrastinate_jobs", "workers", "offers")
_OWNER = "owner"
_AGE_SECONDS = 2 * 3600.0  # beyond the time for which files of no job are left alone


@dataclass(frozen=True)
class Left:
    """A job as its caller left it: what it is given, and in which part of the soak."""

    number: int
    caller: str
    retries: int
    phase: str


@dataclass(frozen=True)
class Row:
    """A job as the database has it. ``told``: its statuses, in the order in which it had them."""

    caller: str
    status: str
    claims: int
    given_back: int
    deaths: int
    seconds: float
    told: tuple[str, ...]


def rows(url: str) -> dict[str, Row]:
    """Return all jobs, by their ids."""
    with psycopg.connect(
        url, options="-c search_path=toolrunner", row_factory=dict_row
    ) as database:
        return {
            row["id"]: Row(
                row["caller"],
                row["status"],
                row["attempts"],
                row["given_back"],
                row["deaths"],
                (row["ended"] or time.time()) - row["created"],
                tuple(row["told"]),
            )
            for row in database.execute(_ROWS)
        }


def ended(url: str) -> int:
    """Return how many jobs have ended."""
    with psycopg.connect(url, options="-c search_path=toolrunner") as database:
        found = database.execute("SELECT count(*) FROM jobs WHERE ended IS NOT NULL").fetchone()
    return 0 if found is None else int(found[0])


def unbalanced(left: Mapping[str, Left], found: Mapping[str, Row]) -> Iterator[str]:
    """Yield where the database does not say what the callers were told."""
    for job in found.keys() - left.keys():
        yield f"job {job} of {found[job].caller}: nobody was told of it"
    for job, asked in left.items():
        row = found.get(job)
        if row is None:
            yield f"job {job} is lost"
        else:
            yield from (f"job {job} {words}" for words in _wrong(asked, row))


def _wrong(asked: Left, row: Row) -> Iterator[str]:
    begun = row.claims - row.given_back
    if row.caller != asked.caller:
        yield f"is {row.caller}'s, and was left by {asked.caller}"
    if row.status not in _ENDS:
        yield f"is {row.status}"
    ends = [status for status in row.told if status in _ENDS]
    if len(ends) != 1 or row.told[-1] != row.status:
        yield f"has ended {len(ends)} times: {', '.join(row.told)}"
    if row.told.count("RUNNING") != row.claims:
        yield f"was claimed {row.claims} times, and told so {row.told.count('RUNNING')} times"
    # Nothing that the jobs do fails but by a lost attempt.
    if row.status == "FAILED" and row.deaths != asked.retries + 1:
        yield f"has failed after {row.deaths} lost attempts, with {asked.retries} retries"
    if row.status == "SUCCESS" and row.deaths > asked.retries:
        yield f"has succeeded after {row.deaths} lost attempts, with {asked.retries} retries"
    if begun != row.deaths + (row.status == "SUCCESS"):
        yield f"has begun {begun} times, and lost {row.deaths} attempts: {row.status}"


def typical_seconds(
    left: Mapping[str, Left], found: Mapping[str, Row], callers: Iterable[str], phase: str
) -> float:
    """Return the median of the time from a job's row to its end; 0 where there is none."""
    seconds = [
        found[job].seconds
        for job, asked in left.items()
        if job in found and asked.phase == phase and asked.caller in set(callers)
    ]
    return round(statistics.median(seconds), 3) if seconds else 0.0


def wanted_blobs(found: Mapping[str, Row]) -> set[str]:
    """Return the results that have to be there, and no other."""
    return {
        f"results/{job}.{row.claims}.json" for job, row in found.items() if row.status == "SUCCESS"
    }


def blobs(folder: Path) -> set[str]:
    """Return what lies in a folder of blobs, without the word whose they are."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in files} - {_OWNER}


def age(url: str, folder: Path) -> None:
    """Let two hours go by for all blobs: those of no job may be deleted then."""
    with psycopg.connect(url, options="-c search_path=toolrunner") as database:
        database.execute("UPDATE notes SET value = value - %s WHERE name = 'made'", (_AGE_SECONDS,))
    then = time.time() - _AGE_SECONDS + 60
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def left_over(url: str, folder: Path) -> Iterator[str]:
    """Yield what is there after all jobs were purged and every process has ended."""
    with psycopg.connect(url, options="-c search_path=toolrunner") as database:
        for table in _TABLES:
            found = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - see above
            if found is not None and found[0]:
                yield f"{found[0]} rows of {table}"
    kept = sorted(blobs(folder))
    if kept:
        yield f"{len(kept)} blobs, such as {kept[0]}"
