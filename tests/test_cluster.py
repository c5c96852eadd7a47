"""``scripts/cluster``: it starts a cluster that works, and ends all of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from members.held import held, new_folder, running
from members.postgres import Postgres, programs
from members.program import Program, ProgramError

from tests.postgres import programs as programs_or_skip
from tests.runner.waiting import spin

ROOT = Path(__file__).parent.parent
CLUSTER = [sys.executable, str(ROOT / "scripts/cluster")]


def alive(process: psutil.Process) -> bool:
    """Whether a process has not ended, waited for or not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Have it end, also when what is tried with it fails."""
    try:
        yield
    finally:
        process.terminate()


def said(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end; return what it says."""
    command = [*CLUSTER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_says_what_it_can_do(tmp_path: Path) -> None:
    """The help has examples; what cannot be done is told in a sentence."""
    assert "examples:" in said("--help").stdout
    refused = said("stop", "--folder", tmp_path)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"error: no cluster of this user runs in {tmp_path}\n",
    )
    assert "one of them above it" in said("--servers", "0", "--workers", "0").stderr


def test_a_cluster_works_and_leaves_nothing(open_folder: Path) -> None:
    """A job runs; `stop` ends what it has started, which a folder has once at a time."""
    programs_or_skip()
    folder = open_folder / "c"
    options = ["--folder", str(folder), "--servers", "1", "--workers", "1"]
    process = subprocess.Popen(
        [*CLUSTER, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process, ended(process):
        assert process.stdout is not None
        assert process.stderr is not None
        errors = process.stderr
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(errors))
        reader.start()
        shown = ""
        for line in process.stdout:
            shown += line
            if line.startswith("Stop: "):
                break
        assert f"scripts/cluster stop --folder {folder}" in shown, "".join(log)
        started = psutil.Process(process.pid).children(recursive=True)
        [address] = re.findall(r"^server-1 +(http://\S+)", shown, re.MULTILINE)
        assert f"blobs      file://{folder}/blobs" in shown
        body = {"plugin": "text-stats", "payload": {"text": "one two"}}
        where = address + httpx.post(f"{address}/v1/jobs", json=body).headers["location"]
        spin(lambda: httpx.get(where).json()["status"] == "SUCCESS")
        assert httpx.get(f"{where}/result").json()["result"]["words"] == 2
        paths = re.findall(rf"{address}(/\S*?)(?=,?\s)", shown)
        assert {"/openapi.json", "/v1/plugins"} <= set(paths)
        for path in paths:
            asked = httpx.post if path == "/v1/jobs" else httpx.get
            assert path.endswith("/ID/result") or asked(address + path).status_code != 404, path
        [(group, name)] = re.findall(r"kill -9 -- -(\d+)  \((.+)\)", shown)
        assert name == "worker-1"
        main = next(one for one in started if one.pid == int(group))
        whole = [main, *main.children(recursive=True)]
        assert len(whole) > 1
        os.killpg(main.pid, signal.SIGKILL)
        spin(lambda: not any(alive(one) for one in whole))
        again = said(*options)
        assert f"a cluster runs in {folder} already" in again.stderr
        stopped = said("stop", "--folder", folder)
        assert (stopped.returncode, process.wait()) == (0, 0), stopped.stderr
        reader.join()
    spin(lambda: not any(alive(one) for one in started))
    assert "All of it has ended." in log[-1]
    assert (folder / "postgres/data/PG_VERSION").exists()


def test_only_who_holds_a_folder_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was left behind is nobody's, whatever stands in it."""
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = new_folder()
    try:
        assert folder not in running()
        with held(folder):
            assert (folder / "cluster.lock").read_bytes() == b""
        assert folder not in running()
        assert said("stop", "--folder", folder).returncode == 1
    finally:
        (folder / "cluster.lock").unlink()
        folder.rmdir()


def test_what_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Its log has all; and what is too long for a socket's path is told before."""
    program = Program("it", tmp_path / "log")
    program.begin(["sh", "-c", "echo sorry >&2; exit 3"], "never")
    with pytest.raises(ProgramError, match=r"it did not start \(exit status 3\):\nsorry"):
        program.ready()
    programs_or_skip()
    with pytest.raises(ProgramError, match="name a shorter folder"):
        Postgres(tmp_path / ("x" * 100), programs()).make()
