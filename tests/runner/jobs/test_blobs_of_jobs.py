"""A store of jobs over blobs elsewhere: a common folder, and a bucket that may be away."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import SECRET, Door
from tests.conftest import MakeRunner, WritePlugin
from tests.runner.jobs.conftest import OpenStore, Server, Store
from tests.runner.jobs.test_blobs import PLACES, place_of
from tests.runner.jobs.test_kept_artifacts import EMPTY, PICTURE, finished, opened
from tests.runner.jobs.test_store import added, claimed, lost, seen
from tests.runner.waiting import spin
from toolrunner.runner.call import Call
from toolrunner.runner.jobs import files
from toolrunner.runner.jobs.blob_choice import open_blobs
from toolrunner.runner.jobs.blobs import AwayError, Blobs
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.files import JobFiles, Owner
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.payloads import let_go
from toolrunner.runner.jobs.store import NotKeptError, StoreError, UnreadableError
from toolrunner.sandbox.artifacts import Artifact

ALL = {"sample": "1"}
READER = """
    def run(payload, context):
        return {"read": [open(file["path"]).read() for file in payload["files"]]}
"""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """What ``blobs`` says of a place that nothing is in."""
    return place_of(request, request.param)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder that ``open_store`` uses."""
    return tmp_path / "state"


def blobs_at(place: str, state: Path) -> Blobs:
    """Return the blobs of a place."""
    found = open_blobs(place, state)
    assert found is not None
    return found


@pytest.fixture
def elsewhere(place: str, state: Path) -> Blobs:
    """The blobs of that place."""
    return blobs_at(place, state)


@pytest.fixture
def store(open_store: OpenStore, elsewhere: Blobs) -> Store:
    """A store of jobs over them."""
    return open_store(blobs=elsewhere)


def names(blobs: Blobs) -> list[str]:
    """Return the names of everything that is kept, with what stands for the ids of jobs."""
    return sorted(re.sub(r"[0-9a-f]{32}", "ID", blob.name) for blob in blobs.listed())


def given(folder: Path) -> dict[str, Any]:
    """Return a payload with files in it."""
    path = folder / "two.txt"
    path.write_bytes(b"two")
    return {"files": [{"name": "one.bin", "data": b"one"}, path, {"name": "none", "data": b""}]}


def test_a_job_has_all_its_things_there(store: Store, elsewhere: Blobs, state: Path) -> None:
    """Nothing of them is in the state folder; they go when they are needed no more."""
    payload = {"image": b"\x00 raw", "mime_type": "image/png"}
    job = added(store, payload=payload)
    claim = claimed(store)
    assert store.payload(claim) == payload
    assert names(elsewhere) == ["payloads/ID"]
    assert store.finish(claim, JobStatus.SUCCESS, result={"n": 1}, artifacts=(PICTURE, EMPTY))
    assert names(elsewhere) == ["artifacts/ID.1", "results/ID.1.json"]
    assert store.result(job.id) == {"n": 1}
    assert [one.name for one in store.artifacts(job.id)] == [PICTURE.name, EMPTY.name]
    with closing(opened(store, job.id, PICTURE.name)) as kept:
        assert kept.read(0, len(PICTURE.data) + 9) == PICTURE.data
        assert kept.read(700, 50) == PICTURE.data[700:750]
    assert store.open_artifact(job.id, "another") is None
    assert store.purge([job.id]) == 1
    assert names(elsewhere) == []
    assert not {"payloads", "results", "artifacts"} & set(os.listdir(state))


def test_files_come_back_as_they_were(
    open_store: OpenStore, elsewhere: Blobs, place: str, state: Path, tmp_path: Path
) -> None:
    """In another process too, and as files; what was fetched has no name and is let go."""
    job, _ = open_store(blobs=elsewhere).add(Submission("sample", given(tmp_path)))
    assert names(elsewhere) == ["payloads/ID", "payloads/ID.files"]
    other = open_store(blobs=blobs_at(place, state))
    before = sorted(os.listdir(state))
    claim = claimed(other)
    found = other.payload(claim)
    read = []
    for one in found["files"]:
        where = one["path"] if "path" in one else f"/proc/self/fd/{one['data'].fileno()}"
        read.append((one["name"], one["mime_type"], Path(where).read_bytes()))
    assert read == [
        ("one.bin", "application/octet-stream", b"one"),
        ("two.txt", "text/plain", b"two"),
        ("none", "application/octet-stream", b""),
    ]
    assert sorted(os.listdir(state)) == before
    let_go(found)
    assert all(one["data"].closed for one in found["files"] if "data" in one)
    assert other.finish(claim, JobStatus.SUCCESS, result={})
    assert [name for name in names(elsewhere) if job.id in name or "payloads" in name] == []


def test_a_plugin_reads_the_files(
    open_store: OpenStore,
    elsewhere: Blobs,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    tmp_path: Path,
) -> None:
    """Wherever they have lain; afterwards nothing of them is open here."""
    runner = make_runner(write_plugin(READER, input="files"))
    server = Server(open_store(blobs=elsewhere), runner)
    try:
        job_id = server.create(**given(tmp_path))
        assert server.ended(job_id).status is JobStatus.SUCCESS
    finally:
        server.dispatcher.drain(0)
    assert server.store.result(job_id) == {"read": ["one", "two", ""]}
    assert not [name for name in names(elsewhere) if name.startswith("payloads/")]
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    opened_here = [os.readlink(link) for link in links if os.path.lexists(link)]
    assert not [name for name in opened_here if name.startswith(str(tmp_path / "state/#"))]


def test_a_payload_that_is_gone_is_said_to_be_so(
    store: Store, elsewhere: Blobs, tmp_path: Path
) -> None:
    """As one of its files is."""
    added(store)
    store.add(Submission("sample", given(tmp_path)))
    first, second = claimed(store), claimed(store)
    elsewhere.delete(f"payloads/{first.job.id}")
    elsewhere.delete(f"payloads/{second.job.id}.files/1")
    with pytest.raises(UnreadableError):
        store.payload(first)


def test_strays_go_after_a_while(
    store: Store, elsewhere: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server has written that died before it had accepted the job: not what is new."""
    store.add(Submission("sample", given(tmp_path)))
    dying = JobFiles(elsewhere)
    dying.write_files("0" * 32, given(tmp_path))
    dying.write_payload("1" * 32, b"payload")
    dying.write_result("2" * 32, 1, {}, (PICTURE,))
    mine = ["payloads/ID", "payloads/ID.files"]
    left = ["artifacts/ID.1", *sorted([*mine, *mine]), "results/ID.1.json"]
    store.clean()
    assert names(elsewhere) == left
    monkeypatch.setattr(files, "_STRAY_SECONDS", -10.0)
    store._files._next_sweep = 0.0
    store.clean()
    assert names(elsewhere) == mine


def test_a_bucket_is_not_searched_each_minute(
    open_store: OpenStore, bucket: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each list of it costs somebody something."""
    elsewhere = blobs_at(bucket, state)
    store = open_store(blobs=elsewhere)
    monkeypatch.setattr(files, "_STRAY_SECONDS", -10.0)
    store.clean()
    JobFiles(elsewhere).write_payload("1" * 32, b"payload")
    store.clean()
    assert names(elsewhere) == ["payloads/ID"]


def test_two_stores_do_not_share_a_place(
    store: Store, elsewhere: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would sweep the other's blobs away: the second one is refused, and touches nothing."""
    added(store)
    kept = names(elsewhere)
    monkeypatch.setattr(files, "_STRAY_SECONDS", -10.0)
    other = JobFiles(elsewhere, owner=Owner(lambda: "another", lambda: nullcontext(True)))
    for step in (
        other.make,
        other.check,
        lambda: other.write_payload("0" * 32, b"x"),
        lambda: other.write_files("0" * 32, given(tmp_path)),
        lambda: other.drop_strays(lambda _job_id: False),
    ):
        with pytest.raises(StoreError, match="is another job store's: name another place"):
            step()
    assert names(elsewhere) == kept
    store.check()


def test_a_place_that_is_not_mounted_is_not_taken_for_a_new_one(
    open_store: OpenStore, elsewhere: Blobs, state: Path, tmp_path: Path
) -> None:
    """Its jobs would fail for want of payloads that lie elsewhere, and others' be lost there."""
    store = open_store(blobs=elsewhere)
    job = added(store)
    empty = blobs_at((tmp_path / "not-mounted").as_uri(), state)
    other = open_store(blobs=empty)
    for step in (partial(added, other), other._files.check):
        with pytest.raises(StoreError, match="has no file `owner`, but blobs of this job store"):
            step()
    assert names(empty) == []
    empty.put("owner", elsewhere.get("owner"))
    assert added(other).id != job.id


def test_an_attempt_that_was_lost_leaves_nothing(
    open_store: OpenStore, elsewhere: Blobs, place: str, state: Path
) -> None:
    """Its process died between its blobs and the word that it has ended."""
    mine, end = open_store.apart(blobs=elsewhere)
    other = open_store(blobs=blobs_at(place, state))
    job = added(mine, retries=1)
    claim = claimed(mine)
    mine._files.write_result(job.id, claim.number, {}, (PICTURE,))
    end()
    mine.close()
    assert other.recover(lost) == 1
    assert names(elsewhere) == ["payloads/ID"]
    assert seen(other, job.id).status is JobStatus.PENDING


def test_a_failed_job_is_dead_with_its_payload(open_store: OpenStore, elsewhere: Blobs) -> None:
    """Until it is run again."""
    store = open_store(blobs=elsewhere, keep_dead=9, keep_dead_bytes=1 << 20)
    job = added(store)
    error = {"type": "PluginCrashed", "details": {"blame": "plugin"}}
    assert store.finish(claimed(store), JobStatus.FAILED, error=error)
    assert seen(store, job.id).is_dead
    assert names(elsewhere) == ["payloads/ID"]
    assert store.retry(job.id) is not None
    assert store.payload(claimed(store)) == {"n": 1}


@pytest.fixture
def door(s3_address: str) -> Iterator[Door]:
    """A way to the server of buckets."""
    made = Door(s3_address)
    made.open()
    yield made
    made.close()


@pytest.fixture
def behind(door: Door, bucket: str, s3_address: str) -> str:
    """A bucket that can only be got at while the door is open."""
    return bucket.replace(s3_address, door.address)


AWAY = r"s3://test-\w+/some/where at http://127\.0\.0\.1:\d+ cannot be used now \(no answer\)"


def test_while_a_bucket_is_away_jobs_are_refused(
    open_store: OpenStore, behind: str, door: Door, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In words that say what to do and hold no secret; nothing is lost, and later they go on."""
    elsewhere = blobs_at(behind, state)
    store = open_store(blobs=elsewhere)
    first = added(store)
    door.close()
    claim = claimed(store)
    for step in (
        store.check,
        lambda: added(store),
        lambda: store.payload(claim),
        store.clean,
        lambda: store.finish(claim, JobStatus.SUCCESS, result={}, artifacts=(PICTURE,)),
    ):
        with pytest.raises(AwayError, match=f"{AWAY}: start it, or mend the way there") as caught:
            step()
        assert SECRET not in str(caught.value)
    assert seen(store, first.id).status is JobStatus.RUNNING
    assert store.counts()[JobStatus.PENDING] == 0
    refusals = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.getMessage().partition(":")[0] for one in refusals] == ["jobs are refused"]
    assert SECRET not in caplog.text
    door.open()
    assert store.finish(claim, JobStatus.SUCCESS, result={}, artifacts=(PICTURE,))
    added(store)
    store.check()
    assert names(elsewhere) == ["artifacts/ID.1", "payloads/ID", "results/ID.1.json"]


class Departs:
    """Stands for the services: while a call runs, the bucket goes away."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.calls = 0

    def analyze(self, _name: str, _payload: Mapping[str, Any], *, call: Call | None = None) -> Any:
        """Answer."""
        assert call is not None
        self.calls += 1
        self.door.close()
        return {"n": self.calls}, None

    def runnable(self) -> dict[str, str]:
        """Say what can be run."""
        return ALL

    def unfit(self, _plugin_name: str) -> str:
        """Say that all may."""
        return ""

    def suspended(self, _plugin_name: str, _version: str | None) -> str:
        """Say that nothing is."""
        return ""


def test_what_has_run_is_kept_until_a_bucket_is_back(
    open_store: OpenStore,
    behind: str,
    door: Door,
    state: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A job that ends meanwhile is RUNNING, and then has the result of its only attempt."""
    store = open_store(blobs=blobs_at(behind, state))
    job = added(store)
    analysis = Departs(door)
    dispatcher = JobDispatcher(store, analysis, threads=1)
    dispatcher.start()
    try:
        spin(lambda: f"job {job.id} could not be ended; it will be when it can be" in caplog.text)
        assert seen(store, job.id).status is JobStatus.RUNNING
        door.open()
        spin(lambda: seen(store, job.id).status.has_ended)
    finally:
        dispatcher.drain(0)
    assert store.result(job.id) == {"n": 1}
    assert analysis.calls == 1
    assert SECRET not in caplog.text


def test_a_new_store_waits_for_its_bucket(
    open_store: OpenStore, behind: str, door: Door, state: Path
) -> None:
    """It says so at every step, and works when the bucket is there."""
    door.close()
    store = open_store(blobs=blobs_at(behind, state))
    with pytest.raises(StoreError, match=AWAY):
        added(store)
    door.open()

    def is_usable() -> bool:
        with suppress(StoreError):  # the database is opened no more often than once a second
            store.check()
            return True
        return False

    spin(is_usable)
    added(store)


def test_a_bucket_that_refuses_is_not_waited_for(
    open_store: OpenStore, bucket: str, state: Path
) -> None:
    """What was to be kept there is given up with the reason, and what to do."""
    store = open_store(blobs=blobs_at(bucket, state))
    added(store)
    claim = claimed(store)
    gone = bucket.replace("s3://test-", "s3://none-")
    store._files.blobs = blobs_at(gone, state)
    words = "the bucket is not there: make it, or name another one in `blobs`"
    with pytest.raises(NotKeptError, match=words) as caught:
        store.finish(claim, JobStatus.SUCCESS, result={})
    assert caught.value.remedy == "mend that"
    with pytest.raises(StoreError, match=words):
        store.check()
    with pytest.raises(StoreError, match=words):
        added(store)


def test_who_reads_what_is_deleted_learns_that(
    open_store: OpenStore, bucket: str, state: Path
) -> None:
    """A bucket keeps nothing open: there is less then than was promised, and an error."""
    store = open_store(blobs=blobs_at(bucket, state))
    large = Artifact("large", "application/octet-stream", bytes(1 << 20))
    job_id = finished(store, large)
    with closing(opened(store, job_id, "large")) as kept:
        assert kept.read(0, 10) == bytes(10)
        store.purge([job_id])
        with pytest.raises(FileNotFoundError, match="there is no such blob"):
            kept.read(1 << 19, 10)
