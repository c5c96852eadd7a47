"""Who takes which job: what a process can run, in the version that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.jobs.conftest import OpenStore
from tests.runner.jobs.test_store import added, die_with, lost, seen
from tests.runner.waiting import spin
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus, Submission
from toolrunner.runner.jobs.store import Stranded
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Serve = Callable[..., Backend]
NAMES = 'def run(payload): return {{"by": "{}"}}'


def test_a_process_takes_what_it_can_run(open_store: OpenStore) -> None:
    """Jobs of other plugins, and of other versions, are left to others, however old they are."""
    old, new = open_store(), open_store()
    first = added(old, version="1")
    other = added(old, plugin="another")
    second = added(old, version="2")
    anyhow = added(old)
    taken = []
    while claim := new.claim({"sample": "2"}):
        taken.append(claim.job.id)
    assert taken == [second.id, anyhow.id]
    claim = old.claim({"sample": "1"})
    assert claim is not None
    assert claim.job.id == first.id
    assert old.claim({"sample": "1"}) is None
    assert seen(old, other.id).status is JobStatus.PENDING


def test_what_nobody_can_run_says_so(open_store: OpenStore) -> None:
    """In the job, for as long as that is so; and to one of the processes, who logs it."""
    one, other = open_store(), open_store()
    job = added(one, version="2")
    words = "a server that can run sample 2"
    assert job.waiting_for == words
    for store in (one, other):
        assert store.claim({"sample": "1"}) is None
        assert seen(store, job.id).waiting_for == words
    [listed] = one.listed(JobFilter("", JobStatus.PENDING), limit=9, before=None)
    assert listed.waiting_for == words
    assert one.stranded() + other.stranded() == [Stranded("sample", "2", 1)]
    busy = open_store()
    blocker = added(one, plugin="other")
    assert busy.claim({"sample": "2", "other": ""}) is not None
    busy.close()  # it has taken the older one: so there was somebody
    assert seen(one, blocker.id).waiting_for == "a server that can run other"


def test_who_could_and_died_counts_no_more(open_store: OpenStore) -> None:
    """What it offered goes with it."""
    store = open_store()
    taken = added(store)
    die_with(open_store, 1)
    waiting = added(store)
    assert seen(store, waiting.id).waiting_for == ""
    store.recover(lost)
    assert seen(store, taken.id).status is JobStatus.FAILED
    assert seen(store, waiting.id).waiting_for == "a server that can run sample"


@pytest.fixture
def serve(tmp_path: Path, jobs_url: str) -> Iterator[Serve]:
    """Return a function that starts a server with some plugins over the one store."""
    with ExitStack() as stack:

        def start(*plugins: Path, only: tuple[str, ...] = (), **others: Any) -> Backend:
            shared = {"jobs": jobs_url, "blobs": (tmp_path / "blobs").as_uri()} if jobs_url else {}
            settings = Settings.load(state=tmp_path / "state", **shared, **others)
            paths = [str(path) for path in plugins]
            backend = Backend(settings, plugin_paths=paths, only=only)
            stack.callback(backend.close)
            backend.start()
            return backend

        yield start


def job_of(backend: Backend, job_id: str) -> Job:
    """Return a job that has to be there."""
    job = backend.jobs.get_job(job_id)
    assert job is not None
    return job


def test_two_servers_of_different_plugins_fail_no_job_of_the_other(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in any deployment that adds a plugin or a version: each does its own, or it waits."""
    first = write_plugin(NAMES.format("one"))
    second = tmp_path / "second.py"
    second.write_text(first.read_text().replace("1.0.0", "2.0.0").replace("one", "two"))
    more = write_plugin(NAMES.format("more"), name="more")
    old, new = serve(first), serve(second, more)
    jobs = {}
    asked = ((old, "sample", "one"), (new, "sample", "two"), (new, "more", "more"))
    for server, plugin, by in asked:
        for _ in range(4):
            jobs[server.analysis.submit(Submission(plugin, {}))[0].id] = by
    for job_id, by in jobs.items():
        spin(lambda job_id=job_id: job_of(old, job_id).status.has_ended)  # type: ignore[misc]
        assert (job_of(old, job_id).status, job_of(old, job_id).attempts) == (JobStatus.SUCCESS, 1)
        assert new.jobs.job_result(job_id) == {"by": by}
    new.close()
    with caplog.at_level(logging.WARNING, "toolrunner.jobs"):
        waiting, _ = old.analysis.submit(Submission("more", {}, version="1.0.0"))
        other, _ = old.analysis.submit(Submission("sample", {}, version="9.9.9"))
        spin(lambda: caplog.text.count("jobs wait for") == 2)
    for words in (
        "jobs wait for more 1.0.0, which no server can run now (1 so far); it takes no calls here",
        "jobs wait for sample 9.9.9, which no server can run now (1 so far); 1.0.0 is here",
        "(`toolrunner jobs cancel --all --plugin more --status PENDING`, with those for other",
    ):
        assert words in caplog.text
    found = {(one.plugin, one.version, one.jobs) for one in old.stranded()}
    assert found == {("more", "1.0.0", 1), ("sample", "9.9.9", 1)}
    old.jobs.cancel_job(other.id)
    waits = job_of(old, waiting.id)
    assert (waits.status, waits.attempts) == (JobStatus.PENDING, 0)
    assert waits.waiting_for == "a server that can run more 1.0.0"
    again = serve(more)
    spin(lambda: job_of(again, waiting.id).status is JobStatus.SUCCESS)
    assert job_of(again, waiting.id).waiting_for == ""
    assert caplog.text.count("jobs wait for") == 2


def test_jobs_of_a_suspended_plugin_wait(
    serve: Serve, write_plugin: WritePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who takes a plugin out of service loses no job of it."""
    server = serve(write_plugin(NAMES.format("one")))
    assert server.plugins.suspend("sample")
    assert "sample" not in server.analysis.runnable()
    job, _ = server.analysis.submit(Submission("sample", {}))
    spin(lambda: job_of(server, job.id).waiting_for != "")
    words = (
        "sample to take calls again: it is suspended by the operator "
        "(`toolrunner plugins enable sample` ends it)"
    )
    assert job_of(server, job.id).waiting_for == words
    assert job_of(server, job.id).attempts == 0
    assert [one.waiting_for for one in server.jobs.list_jobs()] == [words]
    # What its end would not help waits for more than that.
    other, _ = server.analysis.submit(Submission("sample", {}, version="9.9.9"))
    assert job_of(server, other.id).waiting_for == "a server that can run sample 9.9.9"
    with caplog.at_level(logging.WARNING, "toolrunner.jobs"):
        spin(lambda: "jobs wait for sample 1.0.0" in caplog.text)
    assert "it is suspended by the operator (`toolrunner plugins enable sample` ends" in caplog.text
    server.jobs.cancel_job(other.id)
    assert server.plugins.resume("sample")
    spin(lambda: job_of(server, job.id).status is JobStatus.SUCCESS)


def test_what_may_not_run_here_is_left_to_others(
    serve: Serve, write_plugin: WritePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """For want of a layer that the plugin requires, of a network that the operator allows, of room.

    So no job fails by a host that could not run it, where another may.
    """
    confined = write_plugin(NAMES.format("x"), name="confined", require='["landlock:99"]')
    online = write_plugin(NAMES.format("x"), name="online", network="true")
    wanted, others = write_plugin(NAMES.format("x"), name="wanted"), write_plugin(NAMES.format("x"))
    server = serve(confined, online, wanted, others, only=("confined", "online", "wanted"))
    left = [
        server.analysis.submit(Submission(name, {}))[0].id
        for name in ("confined", "online", "sample", "wanted")
    ]
    with caplog.at_level(logging.WARNING, "toolrunner.jobs"):
        spin(lambda: job_of(server, left[-1]).status is JobStatus.SUCCESS)
        spin(lambda: caplog.text.count("jobs wait for") == 3)
    for job_id in left[:-1]:
        job = job_of(server, job_id)
        assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
        assert job.waiting_for == f"a server that can run {job.plugin} 1.0.0"
    assert "the plugin requires landlock:99, which this host does not have; or start" in caplog.text
    assert 'add "online" to allow_network in the settings' in caplog.text
    assert "(1 so far); it takes no calls here: start one that can" in caplog.text  # as it was told
    again = serve(online, others, allow_network=["online"])
    for job_id in left[1:3]:
        spin(lambda job_id=job_id: job_of(again, job_id).status is JobStatus.SUCCESS)  # type: ignore[misc]


def test_a_server_takes_jobs_for_those_who_can_run_them(
    serve: Serve, write_plugin: WritePlugin
) -> None:
    """For the version that they have; of a plugin that nobody has it takes none, and runs none."""
    door = serve(job_threads=0)
    assert not door.jobs.takes("sample")
    able = serve(write_plugin(NAMES.format("one")))
    spin(lambda: door.jobs.takes("sample"))
    job, _ = door.analysis.submit(Submission("sample", {}))
    assert job.version == "1.0.0"
    spin(lambda: job_of(door, job.id).status is JobStatus.SUCCESS)
    able.close()
    assert not door.jobs.takes("sample")
    kept, _ = door.analysis.submit(Submission("text-stats", {"text": "Here."}))
    assert kept.waiting_for == f"a server that can run text-stats {kept.version}"
    assert door.stranded() == [Stranded("text-stats", kept.version, 1)]


def test_who_cannot_run_anything_takes_nothing(
    make_runner: MakeRunner, write_plugin: WritePlugin
) -> None:
    """Below the floor of isolation, or without what a plugin depends on; and says why."""
    paths = (write_plugin(NAMES.format("x")), write_plugin(NAMES.format("x"), name="bare"))
    bare = make_runner(*paths, layers=Layers(rlimits=True, watchdog=True))
    assert bare.runnable() == {}
    assert "foreign files are readable" in bare.unfit("sample")
    lacking = write_plugin(NAMES.format("x"), name="lacking", dependencies='["no-such-thing"]')
    runner = make_runner(lacking, paths[0])
    assert "lacking" not in runner.runnable()
    assert runner.runnable()["sample"] == "1.0.0"
    assert runner.unfit("lacking").startswith("it cannot run here: ")
    assert "no-such-thing" in runner.unfit("lacking")
    assert runner.unfit("sample") == runner.unfit("nothing") == ""
