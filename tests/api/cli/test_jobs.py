"""``toolrunner jobs`` and ``toolrunner webhooks``: what an operator does over a state folder."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli, Finished
from tests.conftest import WritePlugin
from tests.runner.jobs.test_sqlite_file import VERSION_1
from toolrunner.runner.jobs.job import Job, Submission
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings

SAMPLE = """
    import time

    def run(payload, context):
        context.progress(0.5, "so far")
        while payload.get("wait"):
            time.sleep(0.01)
        if payload.get("fail"):
            raise ValueError("as told")
        if payload.get("make"):
            context.artifact("made.txt", b"made", mime_type="text/plain")
        return {"n": payload.get("n")}
"""
URL = "http://127.0.0.1:9/jobs"


@dataclass
class Operated:
    """A server that runs jobs, and the command over its state folder."""

    backend: Backend
    cli: Cli
    folder: Path

    def __call__(self, *arguments: str, **more: Any) -> Finished:
        """Run a command on the folder."""
        return self.cli("--state", self.folder, *arguments, **more)

    def json(self, *arguments: str, **more: Any) -> Any:
        """Return the one document that a command prints."""
        done = self("--json", *arguments, **more)
        assert done.status == 0, done.err
        [document] = done.documents
        return document

    def job(self, payload: dict[str, Any], caller: str = "shop", status: str = "") -> str:
        """Leave a job, and wait until it is so."""
        job, _ = self.backend.analysis.submit(Submission("sample", payload, caller=caller))
        if status:
            self.wait(job.id, status)
        return job.id

    def wait(self, job_id: str, status: str) -> None:
        """Wait until a job is so."""
        self._wait(job_id, lambda job: job.status == status, f"it never was {status}")

    def waits(self, job_id: str) -> None:
        """Wait until a job is known to wait for somebody."""
        self._wait(job_id, lambda job: bool(job.waiting_for), "it never waited")

    def _wait(self, job_id: str, is_so: Callable[[Job], bool], words: str) -> None:
        never = threading.Event()
        for _ in range(12_000):
            job = self.backend.jobs.get_job(job_id, None)
            assert job is not None
            if is_so(job):
                return
            never.wait(0.01)
        pytest.fail(words)


@pytest.fixture
def operated(tmp_path: Path, write_plugin: WritePlugin, cli: Cli) -> Iterator[Operated]:
    """One that runs."""
    settings = Settings.load(state=tmp_path / "of a server", webhooks=[URL], job_threads=2)
    with ExitStack() as stack:
        backend = stack.enter_context(
            Backend(settings, plugin_paths=[str(write_plugin(SAMPLE, name="sample"))])
        )
        backend.start()
        yield Operated(backend, cli, settings.state)


def test_jobs_of_all_callers_are_listed_and_shown(
    operated: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    """By what they are, for people and as JSON; --before goes on where a page ends."""
    done = operated.job({"n": 1, "make": True}, "shop", "SUCCESS")
    with caplog.at_level(logging.WARNING, "toolrunner.calls"):
        failed = operated.job({"fail": True}, "other", "FAILED")
    assert f"call {failed} of sample 1.0.0 (job, caller other) failed: Execution" in caplog.text
    assert [one["id"] for one in operated.json("jobs")] == [failed, done]
    for options, ids in {
        ("--caller", "shop"): [done],
        ("--status", "failed"): [failed],
        ("--dead",): [failed],
        ("--plugin", "sample"): [failed, done],
        ("--plugin", "none"): [],
        ("--before", failed): [done],
        ("--limit", "1"): [failed],
    }.items():
        assert [one["id"] for one in operated.json("jobs", "list", *options)] == ids, options
    people = operated("jobs", "list", "--limit", "1")
    assert failed in people.out
    assert "FAILED (dead)" in people.out
    assert f"--before {failed} lists older ones" in people.err

    [*events] = operated("--json", "jobs", "follow", done).documents
    assert events[0] == {"event": "status", "status": "PENDING"}
    assert {"event": "progress", "fraction": 0.5, "message": "so far"} in events
    followed = operated("jobs", "follow", failed)
    assert followed.status == 1
    assert followed.out.split()[-1] == "FAILED"

    shown = operated.json("jobs", "show", done)
    assert (shown["caller"], shown["dead"], shown["error"]) == ("shop", False, None)
    assert [one["name"] for one in shown["artifacts"]] == ["made.txt"]
    people = operated("jobs", "show", failed)
    assert "ExecutionError" in people.out
    assert "as told" in people.out

    result = operated.json("jobs", "result", done, "--out", "out")
    assert (result["plugin"], result["result"]) == ("sample", {"n": 1})
    assert (operated.folder.parent / result["artifacts"][0]["file"]).read_bytes() == b"made"
    assert "n: 1" in operated("jobs", "result", done).out
    lacking = operated("--json", "jobs", "result", failed)
    assert (lacking.status, lacking.error["type"]) == (1, "ExecutionError")


def test_a_job_of_a_suspended_plugin_says_what_ends_that(operated: Operated) -> None:
    """Without a server's help, in each view, and only as long as it is suspended."""
    assert operated.backend.plugins.suspend("sample")
    job = operated.job({})
    words = (
        "sample to take calls again: it is suspended by the operator "
        "(`toolrunner plugins enable sample` ends it)"
    )
    operated.waits(job)
    assert operated.json("jobs", "show", job)["waiting_for"] == words
    assert [one["waiting_for"] for one in operated.json("jobs")] == [words]
    assert operated.backend.plugins.resume("sample")
    operated.wait(job, "SUCCESS")
    assert operated.json("jobs", "show", job)["waiting_for"] is None


def test_jobs_are_cancelled_retried_and_purged(operated: Operated) -> None:
    """A server that runs sees it within a moment."""
    runs = operated.job({"wait": True}, "shop", "RUNNING")
    early = operated("jobs", "result", runs)
    assert early.status == 2
    assert f"toolrunner jobs follow {runs}" in early.err
    assert operated("jobs", "purge", runs).status == 2
    [cancelled] = operated.json("jobs", "cancel", runs)
    assert cancelled["status"] == "CANCELLED"
    again = operated("jobs", "cancel", runs)
    assert f"Job {runs} had ended already: it stays CANCELLED." in again.out + again.err
    refused = operated("jobs", "retry", runs)
    assert (refused.status, refused.out) == (2, "")
    assert "only one that has failed is retried" in " ".join(refused.err.split())
    assert "There is no such job." not in refused.err
    later = [operated.job({"wait": True}, "shop", "RUNNING") for _ in range(2)]
    later += [operated.job({"wait": True}, caller) for caller in ("shop", "other")]
    chosen = operated.json("jobs", "cancel", "--all", "--status", "pending", "--caller", "other")
    assert [(one["id"], one["status"]) for one in chosen] == [(later[3], "CANCELLED")]
    assert operated.json("jobs", "cancel", "--all", "--plugin", "another") == []
    chosen = operated.json("jobs", "cancel", "--all", "--plugin", "sample")
    assert {one["id"] for one in chosen} == set(later[:3])
    assert {one["status"] for one in chosen} == {"CANCELLED"}
    operated("jobs", "purge", *later)

    dead = [operated.job({"fail": True}, caller, "FAILED") for caller in ("shop", "other")]
    [retried] = operated.json("jobs", "retry", dead[0])
    assert (retried["id"], retried["status"]) == (dead[0], "PENDING")
    operated.wait(dead[0], "FAILED")
    assert [one["id"] for one in operated.json("jobs", "retry", "--all", "--caller", "other")] == [
        dead[1]
    ]
    operated.wait(dead[1], "FAILED")
    assert operated.json("jobs", "purge", "--older-than", "1") == {"purged": 0}
    assert operated.json("jobs", "purge", "--caller", "other") == {"purged": 1}
    assert operated.json("jobs", "purge") == {"purged": 1}
    assert [one["id"] for one in operated.json("jobs")] == [runs]
    assert operated.json("jobs", "purge", "--all") == {"purged": 1}
    assert "There is no such job." in operated("jobs").err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "nobody"), "there is no job 'nobody'"),
        (("cancel",), "name a job"),
        (("retry",), "name a job"),
        (("retry", "nobody", "--all"), "not both"),
        (("retry", "--caller", "me"), "choose among all"),
        (("cancel", "--plugin", "sample"), "give --all, and name no job"),
        (("cancel", "nobody", "--all"), "not both"),
        (("purge", "nobody", "--plugin", "sample"), "choose among all"),
        (("list", "--before", "nobody"), "there is no job 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    """With what to do instead; and nothing is made where no jobs are kept."""
    state = tmp_path / "none"
    empty = cli("--state", state, "jobs", *words)
    assert (empty.status, "no jobs are kept in" in empty.err) == (2, True)
    assert not state.exists()
    with Backend(Settings.load(state=state)):
        refused = cli("--state", state, "jobs", *words)
    assert refused.status == 2
    assert complaint in " ".join(refused.err.split())


def test_webhooks_show_what_was_not_taken(operated: Operated) -> None:
    """With the reason, and the secret that a receiver needs."""
    operated.job({"n": 1}, "shop", "SUCCESS")
    never = threading.Event()
    for _ in range(12_000):
        [one] = operated.backend.webhooks()
        if one.reason:
            break
        never.wait(0.01)
    shown = operated.json("webhooks", TOOLRUNNER_WEBHOOKS=f"{URL},https://new.example/")
    assert [one["url"] for one in shown["webhooks"]] == [URL, "https://new.example/"]
    assert (shown["webhooks"][0]["waiting"], shown["webhooks"][0]["failed"]) == (1, 0)
    assert "refused" in shown["webhooks"][0]["reason"]
    text = operated("webhooks").out
    assert URL in text
    assert text.splitlines()[0].split()[-1] == "reason"
    assert operated.json("webhooks", "retry") == {"messages": 1}
    assert operated("webhooks", "retry", "https://none.example/").status == 2


def test_secrets_are_shown_made_and_taken(cli: Cli, tmp_path: Path) -> None:
    """The command has what servers sign with, before there is any."""
    state = ("--state", tmp_path / "folder", "webhooks")
    url = "https://receiver.example/"
    none = cli(*state)
    assert "There is no webhook" in none.err
    mistyped = cli(*state, "secret", f"{url}x", TOOLRUNNER_WEBHOOKS=url)
    assert (mistyped.status, mistyped.out) == (2, "")
    assert f"did you mean {url}?" in " ".join(mistyped.err.split())
    assert 'set webhooks = ["https' in " ".join(cli(*state, "secret", url, "--rotate").err.split())
    assert not (tmp_path / "folder").exists()
    first = cli(*state, "secret", url, TOOLRUNNER_WEBHOOKS=url)
    assert first.err == ""
    assert "not among webhooks in the settings" in cli(*state, "secret", url).err
    secret = first.out.strip()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    known = cli(*state, "secret", url, TOOLRUNNER_WEBHOOKS=url)
    assert (known.out.strip(), known.err) == (secret, "")
    rotated = cli(*state, "secret", url, "--rotate")
    assert "The one before it still signs too" in rotated.err
    [both] = cli(*state, "secret", url, "--json").documents
    assert both == {"url": url, "secrets": [rotated.out.strip(), secret]}
    given = "whsec_" + base64.b64encode(b"g" * 24).decode()
    assert cli(*state, "secret", url, "--set", "-", stdin=given.encode()).out.strip() == given
    alone = cli(*state, "secret", url, "--forget-old", "--json")
    assert json.loads(alone.out)["secrets"] == [given]
    for words, complaint in {
        ("--set", given): "on standard input",
        ("--set", "-"): "a secret is whsec_",
        ("--rotate", "--forget-old"): "choose one of",
    }.items():
        refused = cli(*state, "secret", url, *words)
        assert (refused.status, complaint in refused.err) == (2, True), refused.err
    assert "must begin with https" in cli(*state, "secret", "http://receiver.example/").err


def test_secrets_that_cannot_be_read_are_why_messages_wait(cli: Cli, tmp_path: Path) -> None:
    """The list says so of each address, with the file and what to do."""
    state = tmp_path / "folder"
    state.mkdir()
    (state / "webhook-secrets.json").write_text("none")
    [shown] = cli("--state", state, "--json", "webhooks", TOOLRUNNER_WEBHOOKS=URL).documents
    [reason] = [one["reason"] for one in shown["webhooks"]]
    assert f"{state / 'webhook-secrets.json'} is not what toolrunner has written" in reason
    assert "mend it, or remove it" in reason


def test_a_file_of_an_older_version_stays_as_it_is(cli: Cli, tmp_path: Path) -> None:
    """A server of that version may run: what commands do not read they refuse, with what to do."""
    state = tmp_path / "folder"
    state.mkdir()
    with closing(sqlite3.connect(state / "jobs.sqlite3")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(VERSION_1)
    for words in (("jobs",), ("jobs", "show", "done"), ("jobs", "purge", "--all"), ("webhooks",)):
        refused = cli("--state", state, *words)
        said = " ".join(refused.err.split())
        assert (refused.status, refused.out) == (3, ""), said
        assert f"{state / 'jobs.sqlite3'} is of version 1" in said
        assert "toolrunner serve" in said
    assert [path.name for path in state.glob("jobs.sqlite3.*")] == []
    with closing(sqlite3.connect(state / "jobs.sqlite3")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    with Backend(Settings.load(state=state)):
        pass
    assert cli("--state", state, "jobs", "show", "done").status == 0
