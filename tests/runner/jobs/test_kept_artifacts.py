"""Artifacts of jobs: kept beside the result, as long as it, and never in part."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.runner.jobs.conftest import FORK, OpenStore, Store
from tests.runner.jobs.test_store import added, claimed, lost, seen
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.store import ArtifactReader, NotKeptError
from toolrunner.sandbox.artifacts import Artifact

PICTURE = Artifact("picture.png", "image/png", bytes(range(256)) * 300)
EMPTY = Artifact("empty.txt", "text/plain", b"")
TABLE = Artifact("index", "text/csv", b"a,b\n")


def finished(store: Store, *artifacts: Artifact) -> str:
    """Let a job succeed with some artifacts; return its id."""
    job = added(store)
    assert store.finish(claimed(store), JobStatus.SUCCESS, result={}, artifacts=artifacts)
    return job.id


def opened(store: Store, job_id: str, name: str) -> ArtifactReader:
    """Return an artifact that has to be there."""
    found = store.open_artifact(job_id, name)
    assert found is not None
    return found


def files(folder: Path) -> list[str]:
    """Return the names of everything that is kept of results and artifacts."""
    state = folder / "state"
    return [path.name for name in ("results", "artifacts") for path in (state / name).iterdir()]


def test_what_a_plugin_made_comes_back_as_it_was(store: Store) -> None:
    """All of it, in its order, told of without its bytes and read byte by byte."""
    made = (PICTURE, EMPTY, TABLE)
    job_id = finished(store, *made)
    assert [one.document() for one in store.artifacts(job_id)] == [
        {
            "name": one.name,
            "mime_type": one.mime_type,
            "bytes": len(one.data),
            "sha256": hashlib.sha256(one.data).hexdigest(),
        }
        for one in made
    ]
    for one in made:
        with closing(opened(store, job_id, one.name)) as kept:
            assert kept.info.size_bytes == len(one.data)
            assert kept.read(0, len(one.data) + 10) == one.data
            assert kept.read(100, 50) == one.data[100:150]
    assert store.open_artifact(job_id, "another") is None


@pytest.mark.parametrize("name", ["..", "../../jobs.sqlite3", "", "picture.png\0", "/etc/passwd"])
def test_a_name_is_looked_up_and_is_no_path(store: Store, name: str) -> None:
    """Whatever somebody asks for, there is what the plugin made, or nothing."""
    assert store.open_artifact(finished(store, PICTURE), name) is None


def test_a_job_that_made_nothing_has_none(store: Store, tmp_path: Path) -> None:
    """No file is kept for it; neither does one have any that runs, has failed, or is unknown."""
    job_id = finished(store)
    assert store.artifacts(job_id) == []
    running = added(store)
    claim = claimed(store)
    assert store.artifacts(running.id) == []
    store.finish(claim, JobStatus.FAILED, error={"type": "PluginCrashed"})
    assert store.artifacts(running.id) == store.artifacts("nobody") == []
    assert store.open_artifact("nobody", "x") is None
    assert files(tmp_path) == [f"{job_id}.1.json"]


def test_they_go_with_their_result(open_store: OpenStore, tmp_path: Path) -> None:
    """Whoever reads one just then reads it to its end."""
    store = open_store(keep_seconds=0)
    job_id = finished(store, PICTURE)
    with closing(opened(store, job_id, PICTURE.name)) as kept:
        assert store.clean() == 1
        assert files(tmp_path) == []
        assert kept.read(0, len(PICTURE.data)) == PICTURE.data
    assert store.artifacts(job_id) == []
    assert store.open_artifact(job_id, PICTURE.name) is None


def test_their_size_counts_as_their_results_does(open_store: OpenStore) -> None:
    """The oldest go first, beyond what may be kept of both together."""
    store = open_store(keep_bytes=2 * len(PICTURE.data) + 100)
    jobs = [finished(store, PICTURE) for _ in range(4)]
    assert store.clean() == 2
    assert [store.get(job) is None for job in jobs] == [True, True, False, False]


def test_an_attempt_that_ends_late_leaves_nothing(open_store: OpenStore, tmp_path: Path) -> None:
    """What counts is what the other one made."""
    mine, other = open_store(), open_store()
    job = added(mine)
    claim = claimed(mine)
    mine.give_back(claim)
    second = claimed(other)
    assert not mine.finish(claim, JobStatus.SUCCESS, result={}, artifacts=(PICTURE,))
    assert files(tmp_path) == []
    assert other.finish(second, JobStatus.SUCCESS, result={}, artifacts=(TABLE,))
    assert [one.name for one in mine.artifacts(job.id)] == [TABLE.name]


def test_what_a_killed_process_left_is_no_answer(open_store: OpenStore, tmp_path: Path) -> None:
    """It died between its files and the word that the job has ended: they are deleted."""
    store = open_store()
    job = added(store, retries=1)

    def write(dying: Store) -> None:
        claim = claimed(dying)
        dying._files.write_result(claim.job.id, 1, {}, (PICTURE,))

    open_store.die(write)
    assert len(files(tmp_path)) == 2
    assert store.artifacts(job.id) == []
    assert store.recover(lost) == 1
    assert files(tmp_path) == []
    assert seen(store, job.id).status is JobStatus.PENDING


@pytest.mark.parametrize(
    "made", [(PICTURE, EMPTY), (TABLE, PICTURE), (PICTURE,)], ids=["first", "last", "alone"]
)
def test_a_disk_without_room_keeps_no_part(
    open_store: OpenStore, tmp_path: Path, made: Sequence[Artifact]
) -> None:
    """The job has not ended, nothing of it is left, and it can be given back."""
    store = open_store()
    job = added(store)

    def fail() -> None:
        short, _ = open_store.apart()
        claim = claimed(short)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(PICTURE.data) // 2, before[1]))
        with pytest.raises(NotKeptError, match="File too large"):
            short.finish(claim, JobStatus.SUCCESS, result={}, artifacts=made)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        short.give_back(claim)

    process = FORK.Process(target=fail)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert files(tmp_path) == []
    assert seen(store, job.id).status is JobStatus.PENDING


def test_a_file_that_was_cut_off_is_no_artifact(store: Store, tmp_path: Path) -> None:
    """Whoever reads it learns that, and does not get less than was promised."""
    job_id = finished(store, PICTURE)
    [path] = (tmp_path / "state" / "artifacts").iterdir()
    os.truncate(path, path.stat().st_size - 1)
    with (
        closing(opened(store, job_id, PICTURE.name)) as kept,
        pytest.raises(OSError, match="cut off"),
    ):
        kept.read(0, len(PICTURE.data))
