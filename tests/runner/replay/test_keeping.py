"""Failed calls are kept: whole, for their owner alone, bounded, and at no call's cost."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.unsharing import unshared
from toolrunner import Call, ToolRunner
from toolrunner.runner.replay.bundle import Bundle, BundleError, bundles_at

RAISES = "def run(payload): raise ValueError"
ROOT = Path(__file__).parents[3]
FAILS = """
    class InvalidInput(Exception):
        pass

    def run(payload):
        if payload.get("refuse"):
            raise InvalidInput("no")
        if payload.get("fail"):
            raise ValueError("bad")
        return {}
"""


def kept(folder: Path) -> list[Bundle]:
    """Return what is kept in a folder, the oldest first."""
    return [Bundle(path) for path in bundles_at(folder)] if any(folder.iterdir()) else []


def fail(tool_runner: ToolRunner, **payload: object) -> str:
    """Make a call that fails; return its id."""
    call = Call(caller="alice")
    _, envelope = tool_runner.run("sample", {"fail": True, **payload}, call=call)
    assert envelope is not None
    return call.call_id


def test_by_default_nothing_is_kept(
    write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path
) -> None:
    """A payload may be private: only the operator's word has it written down."""
    tool_runner = make_runner(write_plugin(FAILS))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    fail(tool_runner, text="a secret")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_what_is_written_down(
    write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path
) -> None:
    """All that the call was, readable by its owner alone; of a success or a refusal, nothing."""
    folder = tmp_path / "kept" / "here"
    plugin = write_plugin(FAILS, limits="{ wall_seconds = 300, memory_mb = 4096 }")
    tool_runner = make_runner(plugin, keep_failures=folder, caps={"memory_mb": 256})
    tool_runner.run("sample", {})
    tool_runner.run("sample", {"refuse": True})
    tool_runner.run("sample", {"number": float("nan")})
    tool_runner.run("nobody", {})
    assert list(folder.iterdir()) == []
    old = os.umask(0)
    try:
        call_id = fail(tool_runner, text="äöü")
    finally:
        os.umask(old)
    [bundle] = kept(folder)
    call = bundle.call
    assert (call.call_id, call.caller, call.plugin) == (call_id, "alice", "sample")
    assert (call.version, call.input, call.environment) == ("1.0.0", "json", "")
    assert call.fingerprint.startswith("sha256:")
    assert (call.limits["wall_seconds"], call.limits["memory_mb"]) == (300, 256)
    assert call.error["details"]["exception"] == "ValueError"
    assert 'raise ValueError("bad")' in call.envelope["_internal"]["traceback"]
    assert call.failed_at == call.error["timestamp"]
    assert bundle.payload() == {"fail": True, "text": "äöü"}
    for path in (folder, *folder.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_images_and_files_are_kept_as_they_were_given(
    write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path, open_folder: Path
) -> None:
    """Bytes, open files and files on a disk alike, whatever becomes of them afterwards."""
    of_images = write_plugin(RAISES, name="images", input="image", accepts='["image/png"]')
    of_files = write_plugin(RAISES, name="files", input="files")
    folder = tmp_path / "kept"
    tool_runner = make_runner(of_images, of_files, keep_failures=folder)
    tool_runner.run("images", {"image": b"\x89PNG picture", "mime_type": "image/png"})
    on_disk = open_folder / "on disk.txt"
    on_disk.write_text("on disk")
    with (open_folder / "open.bin").open("w+b") as file:
        file.write(b"open")
        given = [
            {"name": "bytes.csv", "data": b"bytes"},
            {"path": on_disk},
            {"name": "open.bin", "data": file},
        ]
        tool_runner.run("files", {"files": given, "options": {"a": 1}})
    on_disk.write_text("something else")
    image, files = kept(folder)
    assert image.payload() == {"image": b"\x89PNG picture", "mime_type": "image/png"}
    payload = files.payload()
    found = [(one["name"], one["mime_type"], one["path"].read_bytes()) for one in payload["files"]]
    assert found == [
        ("bytes.csv", "text/csv", b"bytes"),
        ("on disk.txt", "text/plain", b"on disk"),
        ("open.bin", "application/octet-stream", b"open"),
    ]
    assert payload["options"] == {"a": 1}


def test_the_oldest_go_first(
    write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path
) -> None:
    """By number and by size; what somebody else has put there stays, a killed writer's does not."""
    folder = tmp_path / "kept"
    plugin = write_plugin(FAILS)
    tool_runner = make_runner(plugin, keep_failures=folder, keep_failures_calls=2)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    left = folder / f".unfinished-{'0' * 32}"
    left.mkdir()
    os.utime(left, (0, 0))
    ids = [fail(tool_runner, number=number) for number in range(4)]
    assert [bundle.call.call_id for bundle in kept(folder)] == ids[2:]
    assert (folder / "notes" / "mine.txt").read_text() == "mine"
    assert not left.exists()
    small = make_runner(plugin, keep_failures=folder, keep_failures_mb=1)
    more = [fail(small, text="x" * 200_000) for _ in range(6)]
    assert [bundle.call.call_id for bundle in kept(folder)] == more[-len(kept(folder)) :]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert 600_000 < size <= 1 << 20


def test_one_that_is_too_large_is_noted(
    write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path
) -> None:
    """Without its payload, which would push out most of the others."""
    folder = tmp_path / "kept"
    tool_runner = make_runner(write_plugin(FAILS), keep_failures=folder, keep_failures_mb=1)
    call_id = fail(tool_runner, text="x" * 300_000)
    [bundle] = kept(folder)
    assert (bundle.call.call_id, bundle.call.payload_bytes > 300_000) == (call_id, True)
    assert [path.name for path in bundle.folder.iterdir()] == ["call.json"]
    with pytest.raises(BundleError, match=r"was not kept: it is 0\.3 MiB, and one may be 0\.25"):
        bundle.payload()


def test_a_folder_that_is_open_to_others_is_not_written_to(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said at once, and once; calls end as ever."""
    folder = tmp_path / "kept"
    folder.mkdir()
    folder.chmod(0o755)
    caplog.set_level(logging.WARNING, "toolrunner.failures")
    tool_runner = make_runner(write_plugin(FAILS), keep_failures=folder)
    assert "are not kept in" in caplog.text
    assert "`chmod 700` it" in caplog.text
    fail(tool_runner)
    fail(tool_runner)
    assert len([r for r in caplog.records if r.name == "toolrunner.failures"]) == 1
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    fail(tool_runner)
    assert len(kept(folder)) == 1


def test_a_full_disk_is_said_once_and_fails_no_call(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """What does not fit leaves nothing behind, and once there is room the next one is kept."""
    folder = tmp_path / "small"
    folder.mkdir()
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        [*unshared("mount"), sys.executable, "-P", script, write_plugin(RAISES), folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["errors"] == ["ExecutionError"] * 4
    assert found["kept"] == [1, 1, 1, 2]
    [warning] = found["warnings"]
    assert "failed calls are not kept in" in warning
    assert "No space left on device" in warning
