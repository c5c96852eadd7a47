"""Calls a plugin before, while and after its host has run out of something.

python scarce.py WHAT PLUGIN: prints what came of the calls as JSON. "processes" lowers
RLIMIT_NPROC; the others mount a small file system on $SMALL and fill it. "jobs" leaves jobs
instead of calling.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.registry.shared_metrics import SharedMetrics
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease
from toolrunner.sandbox.inside.syscalls import Kernel
from toolrunner.sandbox.probe import probe_host
from toolrunner.sandbox.sandbox import Sandbox


@contextlib.contextmanager
def few_processes() -> Iterator[None]:
    """Let no process or thread of this user be made."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a small file system: no room for a byte, and no file can be made."""
    made = [folder / "ballast"]
    with contextlib.suppress(OSError), made[0].open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError):
        while True:
            made.append(folder / f"entry-{len(made)}")
            made[-1].touch()
    try:
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def jobs(small: Path) -> None:
    """Leave a job before, while and after the disk is full; the store is closed in the end."""
    store = SqliteJobStore(
        small, Lease(small / "workers"), max_pending=10, keep_seconds=60, keep_bytes=1 << 20
    )
    found: dict[str, Any] = {}

    def add() -> Any:
        try:
            store.add(Submission("sample", {"x": "y" * 100_000}))
        except GovernedError as error:
            return [error.error_type.value, error.details["retry_after_seconds"]]
        return "stored"

    found["before"] = add()
    with full(small):
        found["during"] = add()
        found["files"] = len(list((small / "payloads").iterdir()))
    found["after"] = add()
    found["pending"] = store.counts()[JobStatus.PENDING]
    store.close()
    print(json.dumps(found))


def main(what: str, plugin: str) -> None:
    """Make the calls."""
    small = Path(os.environ.get("SMALL", "/nonexistent"))
    if what != "processes":
        # Not by mount(8), which an ordinary user's capability is not enough for.
        Kernel().mount("none", str(small), "tmpfs", 0, "size=4m,nr_inodes=200,mode=1777")
    if what == "jobs":
        jobs(small)
        return
    if what == "temporary":
        tempfile.tempdir = str(small)
    layers = probe_host().layers
    with contextlib.ExitStack() as stack:
        state = (
            small if what == "state" else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        )
        settings = Settings.load(state=state)
        registry = PluginRegistry.discover([plugin], settings=settings)
        if what == "state":
            lease = Lease(state / "workers")
            stack.callback(lease.close)
            metrics = SharedMetrics(state, lease)
            stack.callback(metrics.close)
            registry.share(metrics)
        if what == "temporary":
            layers = layers.without("namespaces")  # where scratch folders are on the host's disk
        sandbox = Sandbox(layers=layers)
        tool_runner = stack.enter_context(ToolRunner(registry, settings=settings, sandbox=sandbox))
        found: dict[str, Any] = {"calls": 0, "errno": None}

        def call() -> Any:
            found["calls"] += 1
            _result, envelope = tool_runner.run("sample", {})
            if envelope is None:
                return "success"
            details = envelope["error"]["details"]
            found["errno"], found["remedy"] = details.get("errno"), details.get("remedy")
            return [envelope["error"]["type"], details["blame"]]

        found["before"] = call()
        with few_processes() if what == "processes" else full(small):
            if what == "processes":
                call()  # it takes the process that had been started ahead
            found["during"] = call()
        found["after"] = call()
        status = registry.get_status("sample")
        assert status is not None
        found["counted"] = status.success_count + status.error_count
    kept = {"workers", "metrics.sqlite3", "metrics.sqlite3-wal", "metrics.sqlite3-shm"}
    names = [] if what == "processes" else [p.name for p in small.iterdir()]
    found["left"] = sorted(set(names) - kept)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
