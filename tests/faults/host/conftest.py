"""A runner whose books and leftovers are looked at when a test is over."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import WritePlugin
from tests.sandbox.boxes import arguments
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.envelope import Envelope, GovernedErrorBody
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.sandbox import Sandbox
from toolrunner.sandbox.spawn import LAUNCH

GOOD = "def run(payload): return {'fine': True}"
Answer = tuple[MaybeResult, Envelope | None]


class Books:
    """A runner with a plugin ``sample`` and one that is ``good``; counts what callers saw."""

    def __init__(self, tool_runner: ToolRunner) -> None:
        self.tool_runner = tool_runner
        self.calls = 0

    def call(self, name: str = "sample", **payload: Any) -> Answer:
        """Call once."""
        self.calls += 1
        return self.tool_runner.run(name, payload)

    def balance(self) -> None:
        """Assert that every call has been counted, and none is in flight."""
        statuses = self.tool_runner.registry.list_all()
        assert sum(s.success_count + s.error_count for s in statuses) == self.calls
        assert [s.in_flight for s in statuses] == [0] * len(statuses)


def error_of(answer: Answer) -> GovernedErrorBody:
    """Return the error of a call that failed."""
    result, envelope = answer
    assert result is None
    assert envelope is not None
    return envelope["error"]


def below() -> list[psutil.Process]:
    """Return the live processes of boxes below this one."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if LAUNCH in arguments(child)]


def open_descriptors() -> dict[str, str]:
    """Return what this process has open, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """Let this process start no thread: the kernel has no room for its stack. Root's, too."""
    before = threading.stack_size(1 << 47)  # all that a process can address, on most machines
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR of the test's own, that a box's user can enter; nothing may be left in it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield folder
        assert list(folder.iterdir()) == []


@pytest.fixture
def keep_books(
    tmp_path: Path, write_plugin: WritePlugin, layers: Layers, temporary: Path
) -> Iterator[Any]:
    """Return a function that makes a runner for a plugin's source; it all holds in the end.

    The next good call succeeds, every call is counted once, and no process, file or descriptor is
    left.
    """
    made: list[Books] = []
    descriptors = open_descriptors()

    def keep(source: str, **keys: str) -> Books:
        settings = Settings.load(state=tmp_path / "state")
        paths = [write_plugin(source, **keys), write_plugin(GOOD, name="good")]
        registry = PluginRegistry.discover(paths, settings=settings)
        made.append(Books(ToolRunner(registry, settings=settings, sandbox=Sandbox(layers=layers))))
        return made[-1]

    yield keep
    for books in made:
        assert books.call("good") == ({"fine": True}, None)
        books.balance()
        books.tool_runner.close()
    _gone, alive = psutil.wait_procs(below(), timeout=120)
    assert alive == []
    now = open_descriptors()
    assert len(now) <= len(descriptors), f"new: {sorted(now.items() - descriptors.items())}"
    assert list(temporary.iterdir()) == []
