"""Hosts whose descriptors run out at a moment of one call, before it or while it runs."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.host.conftest import Books, error_of, open_descriptors
from tests.faults.host.test_scarce import few_descriptors
from tests.sandbox.boxes import has_ended
from toolrunner import Call
from toolrunner.sandbox.box import Box, SetupError
from toolrunner.sandbox.probe import probe
from toolrunner.sandbox.scratch import remove_tree
from toolrunner.sandbox.spawn import Spawner

PATIENCE_SECONDS = 120.0
LEAST = 8
GOOD = ({"fine": True}, None)
# Its box ends before it is answered, in the thread of the call.
LEAVES_A_CHILD = """
import os, time
def run(payload):
    if os.fork() == 0:
        time.sleep(3600)
    return {"fine": True}
"""
REPORTS = """
    def run(payload, context):
        context.progress(0.5)
        return {"fine": True}
"""


def never_reaped() -> list[psutil.Process]:
    """Return the ended children that nobody has asked about, for as long as one waits."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 10)):
        found = [child for child in psutil.Process().children() if has_ended(child)]
        if not found:
            break
        never.wait(0.1)
    return found


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open none, whatever it closes: as where other threads take those at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    # Also the most that poll takes at once.
    resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("fewest", range(0, 16, 4))
def test_before_the_first_call(fewest: int, keep_books: Callable[..., Books]) -> None:
    """Nothing is ready ahead then; what was begun is taken back, as folders and processes."""
    for free in range(fewest, fewest + 4):
        books = keep_books(REPORTS, start='"cold"')
        with few_descriptors(free):
            answer = books.call()
        if answer != GOOD or free == 0:
            assert error_of(answer)["type"] == "SandboxError"
            assert error_of(answer)["details"]["errno"]
            assert error_of(answer)["details"]["remedy"]
        assert books.call() == GOOD
    assert never_reaped() == []


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_while_a_call_runs(start: str, keep_books: Callable[..., Books]) -> None:
    """It has what it needs, its end included; so has the next one."""
    books = keep_books(REPORTS, start=f'"{start}"')
    assert books.call() == GOOD
    with contextlib.ExitStack() as limited:
        call = Call(on_progress=lambda *_: limited.enter_context(no_descriptors()))
        books.calls += 1
        assert books.tool_runner.run("sample", {}, call=call) == GOOD
    assert books.call() == GOOD
    if start == "cold":  # a warm box's launcher is reaped with its box
        assert never_reaped() == []


def test_when_a_box_has_just_been_loaded(
    keep_books: Callable[..., Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be measured, and so not be used: it ends with all that it has."""
    books = keep_books(REPORTS)
    measured = Box.imported_cpu_seconds

    def measured_without_any(box: Box) -> float:
        if box._groups is not None:
            box._groups.imported.close()  # what is open already needs no other
        with no_descriptors():
            return measured(box)

    with monkeypatch.context() as patched:
        patched.setattr(Box, "imported_cpu_seconds", measured_without_any)
        error = error_of(books.call())
    assert error["type"] == "SandboxError"
    assert error["details"]["errno"] == errno.EMFILE
    assert books.call() == GOOD


@pytest.mark.parametrize("where", ["os.pidfd_open", "toolrunner.sandbox.box_end.readable"])
def test_an_interrupt_while_a_box_ends_leaves_nothing(
    where: str, keep_books: Callable[..., Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C can come while the runner waits for the end of a box: no descriptor, no zombie."""
    books = keep_books(LEAVES_A_CHILD, start='"cold"')
    assert books.call() == GOOD
    wardens: list[int] = []
    real = Box._end

    def end(box: Box) -> None:
        def interrupted(*_arguments: object) -> int:
            raise KeyboardInterrupt

        wardens.append(box.warden)
        with monkeypatch.context() as patched:
            patched.setattr(where, interrupted)
            real(box)

    with monkeypatch.context() as patched:
        patched.setattr(Box, "_end", end)
        with pytest.raises(KeyboardInterrupt):
            books.call()
    assert wardens
    assert [pid for pid in wardens if psutil.pid_exists(pid)] == []


def test_finding_out_what_the_host_isolates_leaves_none_open() -> None:
    """However few there are for it; the probe's process has two pipes."""
    before = open_descriptors()
    for free in range(8):
        spawner = Spawner()
        with few_descriptors(free), contextlib.suppress(SetupError, OSError):
            probe(spawner)
        spawner.close()
    assert open_descriptors() == before


def test_an_empty_scratch_is_removed_without_any(tmp_path: Path) -> None:
    """As when no box could be started for it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with no_descriptors():
        remove_tree(str(scratch))
    assert not scratch.exists()
