"""``toolrunner webhooks`` and ``toolrunner jobs follow`` where machines share their jobs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.api.conftest import Cli
from tests.runner.waiting import spin
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.postgres.store import PostgresJobStore
from toolrunner.runner.settings.database_url import DatabaseUrl

URL = "https://receiver.example/jobs"
LISTENING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
)


@pytest.fixture
def shared(database: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a cluster."""
    return {"TOOLRUNNER_JOBS": database, "TOOLRUNNER_BLOBS": (tmp_path / "blobs").as_uri()}


def test_secrets_are_those_of_all_machines(
    cli: Cli, tmp_path: Path, shared: dict[str, str]
) -> None:
    """Whichever asks, from whichever state folder; and no file has them."""
    one, other = (("--state", tmp_path / name, "webhooks", "secret", URL) for name in "ab")
    first = cli(*one, TOOLRUNNER_WEBHOOKS=URL, **shared)
    assert first.status == 0, first.err
    secret = first.out.strip()
    assert cli(*other, TOOLRUNNER_WEBHOOKS=URL, **shared).out.strip() == secret
    rotated = cli(*other, "--rotate", **shared)
    assert rotated.out.strip() != secret
    assert "not among webhooks in the settings" in " ".join(rotated.err.split())
    assert cli(*one, **shared).out == rotated.out
    assert not list(tmp_path.glob("*/webhook-secrets.json"))


def test_an_address_that_no_settings_name_is_dropped(
    cli: Cli, tmp_path: Path, shared: dict[str, str], database: str
) -> None:
    """With what waits for it; one that they name is not, as servers would post to it again."""
    webhooks = ("--state", tmp_path / "a", "--json", "webhooks")
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO toolrunner.webhooks (url) VALUES (%s)", (URL,))
    [shown] = cli(*webhooks, **shared).documents
    assert [(one["url"], one["waiting"]) for one in shown["webhooks"]] == [(URL, 0)]
    named = cli(*webhooks, "drop", URL, TOOLRUNNER_WEBHOOKS=URL, **shared)
    assert (named.status, "take it out there first" in named.err) == (2, True)
    assert cli(*webhooks, "drop", f"{URL}x", **shared).status == 2
    assert cli(*webhooks, "drop", URL, **shared).documents == [{"dropped": URL}]
    assert cli(*webhooks, **shared).documents == [{"webhooks": [], "failed": []}]


def test_a_job_that_another_machine_runs_is_followed(
    cli: Cli, tmp_path: Path, shared: dict[str, str], database: str
) -> None:
    """To its end, of which the command is told."""
    bounds: dict[str, Any] = {"max_pending": 9, "keep_seconds": 3600.0, "keep_bytes": 1 << 30}
    store = PostgresJobStore(DatabaseUrl(database), tmp_path / "blobs", **bounds)
    job, _ = store.add(Submission("sample", {}))
    claim = store.claim({"sample": ""})
    assert claim is not None

    def end() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            spin(lambda: connection.execute(LISTENING).fetchone())
        store.progress(claim, 0.5, "half")
        store.finish(claim, JobStatus.SUCCESS, result={"n": 1})

    thread = threading.Thread(target=end)
    thread.start()
    done = cli("--state", tmp_path / "a", "--json", "jobs", "follow", job.id, **shared)
    thread.join()
    store.close()
    assert done.status == 0, done.err
    assert [event.get("status") or event["fraction"] for event in done.documents] == [
        "PENDING",
        "RUNNING",
        0.5,
        "SUCCESS",
    ]
