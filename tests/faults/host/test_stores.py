"""A state folder whose disk is full: for counts, jobs, keys, figures and the audit log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.faults.host.test_scarce import ROOT
from tests.unsharing import unshared

WAITS = """
    import os
    import time

    def run(payload, context):
        context.progress(0.5)
        while os.path.exists({mark!r}):
            time.sleep(0.01)
        if payload.get("fail"):
            raise ValueError("as told")
        return {{"fine": True}}
"""
Store = Callable[[str], Any]


@pytest.fixture
def store(open_folder: Path, write_plugin: WritePlugin, tmp_path: Path) -> Store:
    """Return a function that runs one of stores.py on a disk of its own."""
    mark = open_folder / "mark"
    made = write_plugin(WAITS.format(mark=str(mark)), start='"cold"', read=f'["{open_folder}"]')
    plugin = shutil.copy(made, open_folder / "sample.py")
    small = tmp_path / "small"
    small.mkdir()
    variables = {"PYTHONPATH": str(ROOT), "HOME": str(small), "SMALL": str(small)}
    script = str(Path(__file__).with_name("stores.py"))

    def run(what: str) -> Any:
        done = subprocess.run(
            [*unshared("mount"), sys.executable, "-P", script, what, str(plugin)],
            env={**os.environ, **variables, "MARK": str(mark)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def test_counts_wait_for_room(store: Store) -> None:
    """Every call is answered, counted once, and none stays in flight."""
    found = store("counts")
    assert found["succeeded"] == [True, True, False]
    assert found["state"] == "FAILED"
    assert found["counted"] == found["later"] == [2, 1, 0]


def test_a_job_that_ends_meanwhile_is_not_lost(store: Store) -> None:
    """It has its end once there is room, while the server goes on; and it has run once."""
    found = store("job")
    assert found["was_noticed"]
    assert (found["status"], found["attempts"], found["result"]) == ("FAILED", 1, None)
    assert found["error"]["type"] == "SandboxError"
    assert "could not be kept in" in found["error"]["message"]
    assert found["answer"] == [{"fine": True}, None]
    assert found["pieces"] == []


def test_requests_are_answered(store: Store) -> None:
    """What needs no room as ever; what does says so, changes nothing, and works afterwards."""
    found = store("http")
    during = found["during"]
    for name in ("cancel it", "leave a job"):
        status, kind, message = during.pop(name)
        assert (status, kind) == (503, "Overloaded")
        assert "full; try again later" in message
    assert during.pop("ready") == 503
    assert set(during.values()) == {200}
    assert found["jobs"] == 1
    assert found["after"].pop("leave a job") == 202
    assert set(found["after"].values()) == {200}
    full = f"jobs are refused: the disk of {found['state']} is full; make room there"
    assert found["told"].count(["ERROR", full]) == 1
    assert ["WARNING", "jobs are stored again: the job store works"] in found["told"]
    for line in found["audit"]:
        json.loads(line)


def test_a_line_that_was_cut_off_spoils_no_other(store: Store) -> None:
    """The audit log goes on below it."""
    first, *_, last = store("audit")["lines"]
    assert json.loads(first)["number"] == 0
    assert json.loads(last)["number"] == 1


def test_commands_that_need_room_say_so(store: Store) -> None:
    """In one line, as the host's fault; a call needs none."""
    found = store("command")
    assert (found["keys"]["status"], found["keys"]["out"]) == (3, "")
    assert found["keys"]["err"].count("\n") == 1
    assert "bug" not in found["keys"]["err"]
    assert (found["run"]["status"], found["run"]["err"]) == (0, "")
    assert "fine: yes" in found["run"]["out"]


def test_a_server_starts_and_serves(store: Store) -> None:
    """Without a byte of room calls work, jobs are refused, and /readyz says what to mend."""
    found = store("server")
    for during in found["during"]:
        assert during.pop("leave a job") == 503
        status, reasons, warnings = during.pop("ready")
        assert status == 503
        assert "jobs" in during["broken"]
        assert {"jobs", "counts", "audit"} == set(during.pop("broken"))
        assert any("jobs.sqlite3" in one or "job store" in one for one in reasons)
        assert any("metrics.sqlite3" in one for one in warnings)
        assert any("audit.jsonl" in one for one in warnings)
        assert set(during.values()) == {200}
    after = found["after"]
    assert after.pop("leave a job") == 202
    died = "workers that died in the last 10 minutes: 1; see the log"
    assert after.pop("ready") == [200, [], [died]]
    assert after.pop("broken") == []
    assert set(after.values()) == {200}
    assert "Traceback" not in found["log"]


def test_a_killed_worker_is_replaced_and_serves(store: Store) -> None:
    """While there is no room: its successor reads the keys, and answers calls."""
    found = store("keyed")
    assert found["statuses"] == [200] * 4, found["log"]
    assert found["ended"] == 0
    assert "Traceback" not in found["log"]
    assert found["log"].count("is ready") == 3


def test_what_ends_an_incident_works(store: Store) -> None:
    """A key is revoked, a plugin suspended, and jobs are purged, without a byte of room."""
    found = store("incident")
    for what, (status, said) in found["without"].items():
        assert status == 0, (what, said)
    during = found["with"]
    assert (during["before"], during["revoke"][0], during["leaked"]) == (200, 0, 401), found
    assert (during["suspend"], during["suspended"]) == (200, 400), found
    assert (during["enable"][0], during["enabled"]) == (0, 200), found
    assert during["purge"] == [0, "Purged 605 jobs.\n"]
    assert during["jobs"] == [0, "There is no such job.\n"]
    assert "Traceback" not in found["log"]
