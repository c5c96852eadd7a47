"""A fork may happen at any moment, also while a descriptor of ours is being closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runner.forking import in_fork
from toolrunner.sandbox.cgroups import groups
from toolrunner.sandbox.cgroups.peak import Peak
from toolrunner.sandbox.input_folders import Inputs
from toolrunner.sandbox.interrupt import Interrupt

# The thread that closes is another one, which a child does not have.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def interrupt(_folder: Path) -> tuple[object, Callable[[], object]]:
    """Return a latch that is waited for, and what ends the wait."""
    latch = Interrupt().__enter__()
    return latch, lambda: latch.__exit__(None, None, None)


def peak(folder: Path) -> tuple[object, Callable[[], object]]:
    """Return a high-water mark that is open, and what closes it."""
    (folder / "memory.peak").write_text("0")
    mark = Peak(str(folder))
    mark.begin()
    return mark, mark.close


def inputs(folder: Path) -> tuple[object, Callable[[], object]]:
    """Return a folder for files, and what removes it."""
    made = Inputs(str(folder), 1, None, seen_as="")
    return made, made.close


@pytest.mark.parametrize("make", [interrupt, peak, inputs])
def test_a_child_closes_no_other_file_that_has_a_number_of_ours(
    make: Callable[[Path], tuple[object, Callable[[], object]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel has closed ours, its number is given to another, and then comes the fork."""
    close = os.close
    kept, end = make(tmp_path)
    found: list[int] = []
    forking = threading.local()

    def close_and_fork(descriptor: int) -> None:
        close(descriptor)
        if threading.current_thread() is not thread or hasattr(forking, "is_on"):
            return
        forking.is_on = True
        os.dup2(null, descriptor)
        found.append(in_fork(lambda: os.fstat(descriptor).st_rdev))
        close(descriptor)
        del forking.is_on

    null = os.open("/dev/null", os.O_RDONLY)
    monkeypatch.setattr(os, "close", close_and_fork)
    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    close(null)
    assert found
    assert set(found) == {os.stat("/dev/null").st_rdev}
    del kept


def test_a_child_closes_no_other_file_that_has_the_number_of_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks are closed one by one, and each is forgotten first."""
    locks = [os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)]
    known = []
    close = os.close

    def closing(descriptor: int) -> None:
        known.append(descriptor in locks)
        close(descriptor)

    monkeypatch.setattr(os, "close", closing)
    groups._unlock(locks)
    assert known == [False, False]
