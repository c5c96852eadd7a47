"""Hosts that have run out: of descriptors, of processes, of disk."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.faults.host.conftest import Books
from tests.unsharing import unshared

ROOT = Path(__file__).parents[3]
SCARCE = Path(__file__).with_name("scarce.py")
SPARE_UID = 65533
MOST_FREE = 24


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_no_descriptors_are_the_hosts_fault(start: str, keep_books: Callable[..., Books]) -> None:
    """With any number of them left, a call succeeds or says that the host lacks something."""
    books = keep_books("def run(payload): return {'fine': True}", start=f'"{start}"')
    assert books.call() == ({"fine": True}, None)
    failed = 0
    for free in range(MOST_FREE):
        with few_descriptors(free):
            result, envelope = books.call()
        assert (result is None) == (envelope is not None)
        if envelope is not None:
            failed += 1
            assert envelope["error"]["details"]["blame"] == "host", envelope
            assert envelope["error"]["type"] == "SandboxError", envelope
            assert envelope["error"]["details"]["remedy"], envelope
        assert books.call() == ({"fine": True}, None)
    assert failed


@contextlib.contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """Let this process open so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    # The limit is on the number itself, so what is free below it counts.
    limit = next(n for n in itertools.count() if n - len([u for u in used if u < n]) >= free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def scarce(what: str, plugin: Path, *prefix: str, **variables: str) -> dict[str, Any]:
    """Run scarce.py, which makes something scarce and calls a plugin before, during and after."""
    command = [*prefix, sys.executable, "-P", str(SCARCE), what, str(plugin)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(plugin.parent), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_spare_user() -> tuple[str, ...]:
    """Return what starts a program as a user that nobody else is, for root; else nothing.

    The kernel never refuses root a process.
    """
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={SPARE_UID}", f"--regid={SPARE_UID}", "--clear-groups", "env")


@pytest.fixture
def plugin(open_folder: Path, write_plugin: WritePlugin) -> Path:
    """A plugin that every user can read, and each call of which makes a box."""
    made = write_plugin("def run(payload): return {'fine': True}", start='"cold"')
    return Path(shutil.copy(made, open_folder / "sample.py"))


@pytest.mark.usefixtures("no_namespaces")  # the spare user has to reach Python too
def test_no_processes_are_the_hosts_fault(plugin: Path) -> None:
    """EAGAIN at every spawn; afterwards all is well."""
    found = scarce("processes", plugin, *as_spare_user())
    assert found["before"] == "success"
    assert found["during"] == ["SandboxError", "host"]
    assert "short of processes" in found["remedy"]
    assert found["after"] == "success"
    assert found["counted"] == found["calls"]


@pytest.mark.usefixtures("no_namespaces")
def test_no_room_for_scratch_is_the_hosts_fault(plugin: Path, open_folder: Path) -> None:
    """Where scratch folders are on disk: said with its errno."""
    small = open_folder / "small"
    small.mkdir(0o755)
    found = scarce("temporary", plugin, *unshared("mount"), SMALL=str(small))
    assert found["before"] == found["after"] == "success"
    assert found["during"] == ["SandboxError", "host"]
    assert found["errno"] == errno.ENOSPC
    assert found["counted"] == found["calls"]
    assert found["left"] == []


def test_no_room_for_counts_costs_no_call(plugin: Path, tmp_path: Path) -> None:
    """And no count: it is written once there is room."""
    found = scarce("state", plugin, *unshared("mount"), SMALL=str(tmp_path))
    assert found["before"] == found["during"] == found["after"] == "success"
    assert found["counted"] == found["calls"]


def test_no_room_for_jobs_is_said_to_who_leaves_them(plugin: Path, tmp_path: Path) -> None:
    """503 with Retry-After over HTTP; nothing of the job is kept, and the others are."""
    found = scarce("jobs", plugin, *unshared("mount"), SMALL=str(tmp_path))
    assert found["before"] == found["after"] == "stored"
    assert found["during"] == ["Overloaded", 60]
    assert found["files"] == 1
    assert found["pending"] == 2
