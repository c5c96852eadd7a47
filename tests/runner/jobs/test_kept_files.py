"""Files of payloads: whole beside a job, found again by another process, gone with the job."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runner.jobs.conftest import OpenStore, Store
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.jobs.job import JobStatus, Submission


def files(folder: Path) -> dict[str, Any]:
    """Return a payload with files given in several ways."""
    path = folder / "on disk.txt"
    path.write_bytes(b"two")
    return {
        "files": [
            {"name": "one.bin", "data": b"one"},
            {"path": path},
            {"name": "three", "mime_type": "text/x-c", "data": io.BytesIO(b"three")},
            {"name": "four", "data": "Zm91cg=="},
        ],
        "options": {"n": 1},
    }


def test_files_come_back_as_they_were(store: Store, open_store: OpenStore, tmp_path: Path) -> None:
    """In another process too; what they were copied from may have gone."""
    store.add(Submission("sample", files(tmp_path)))
    (tmp_path / "on disk.txt").unlink()
    other = open_store()
    claim = other.claim({"sample": ""})
    assert claim is not None
    found = other.payload(claim)
    assert found.keys() == {"files", "options"}
    assert [
        (one["name"], one["mime_type"], one["path"].read_bytes()) for one in found["files"]
    ] == [
        ("one.bin", "application/octet-stream", b"one"),
        ("on disk.txt", "text/plain", b"two"),
        ("three", "text/x-c", b"three"),
        ("four", "application/octet-stream", b"four"),
    ]
    assert all(isinstance(one["path"], Path) for one in found["files"])
    other.finish(claim, JobStatus.SUCCESS, result={})
    assert list((tmp_path / "state" / "payloads").iterdir()) == []


def test_files_in_base64_alone_stay_json(store: Store, tmp_path: Path) -> None:
    """Whatever else stands in them: nobody has looked at them yet."""
    payload = {"files": [{"name": "a", "data": "eA=="}, {"sha256": "x"}, 7, "text", None]}
    store.add(Submission("sample", payload))
    claim = store.claim({"sample": ""})
    assert claim is not None
    assert store.payload(claim) == payload
    assert len(list((tmp_path / "state" / "payloads").iterdir())) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        [{"name": "../a", "data": b"x"}],
        [{"name": "a", "data": b"x"}, {"name": "a", "data": b"y"}],
        [Path("/nowhere/at/all")],
        [{"name": "a", "data": object()}],
    ],
)
def test_what_no_plugin_would_take_is_not_kept(
    store: Store, tmp_path: Path, wrong: list[Any]
) -> None:
    """Nothing of it stays."""
    with pytest.raises(GovernedError) as caught:
        store.add(Submission("sample", {"files": wrong}))
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
    assert list((tmp_path / "state" / "payloads").iterdir()) == []
    assert store.claim({"sample": ""}) is None


def test_strays_go_after_a_while(store: Store, tmp_path: Path) -> None:
    """What a server has copied that died before it had accepted the job."""
    job, _ = store.add(Submission("sample", files(tmp_path)))
    payloads = tmp_path / "state" / "payloads"
    stray, new = payloads / "0123.files", payloads / "4567.files"
    for folder in (stray, new):
        folder.mkdir()
        (folder / "0").write_bytes(b"x")
    before = time.time() - 7200
    for path in (stray, payloads / job.id, payloads / f"{job.id}.files"):
        os.utime(path, (before, before))
    store.clean()
    assert sorted(path.name for path in payloads.iterdir()) == sorted(
        [job.id, f"{job.id}.files", "4567.files"]
    )
