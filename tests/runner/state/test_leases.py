"""Leases: a process that lives is never taken for dead, and one that died always is."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from toolrunner.runner.state import leases
from toolrunner.runner.state.leases import Lease


def test_the_living_are_not_dead(tmp_path: Path) -> None:
    """Neither in one's own eyes nor in another's."""
    with closing(Lease(tmp_path)) as one, closing(Lease(tmp_path)) as other:
        assert not one.is_dead(one.name)
        assert not one.is_dead(other.name)
        assert not other.is_dead(one.name)


def test_who_has_closed_its_lease_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends in good order; a name that never was, after some time."""
    with closing(Lease(tmp_path)) as one:
        other = Lease(tmp_path)
        other.close()
        assert one.is_dead(other.name)
        assert not one.is_dead("0" * 32)
        monkeypatch.setattr(leases, "_MISSING_SECONDS", 0.0)
        assert one.is_dead("0" * 32)


def test_a_file_that_was_deleted_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder lives in others' eyes all the time, and is dead once it is."""
    with closing(Lease(tmp_path)) as one:
        other = Lease(tmp_path)
        (tmp_path / other.name).unlink()
        assert not one.is_dead(other.name)
        other.insist()
        monkeypatch.setattr(leases, "_MISSING_SECONDS", 0.0)
        assert not one.is_dead(other.name)
        other.close()


def test_a_killed_process_is_dead_to_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, whoever asks; what it has left goes once nobody needs it."""

    def take_and_die() -> None:
        Lease(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=take_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with closing(Lease(tmp_path)) as one, closing(Lease(tmp_path)) as other:
        for lease in (one, other, one):
            assert lease.is_dead(left.name)
        monkeypatch.setattr(leases, "_KEPT_SECONDS", -1.0)
        with closing(Lease(tmp_path)) as last:
            there = {path.name for path in tmp_path.iterdir()}
            assert there == {one.name, other.name, last.name}


def test_a_lease_does_not_outlive_its_process_in_a_program_it_started(tmp_path: Path) -> None:
    """A program that the process leaves behind does not keep it alive in others' eyes."""
    reader, writer = os.pipe()

    def start_and_die() -> None:
        Lease(tmp_path)
        os.set_inheritable(reader, True)
        os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)])
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=start_and_die)
    process.start()
    process.join()
    [left] = tmp_path.iterdir()
    with closing(Lease(tmp_path)) as mine:
        assert mine.is_dead(left.name)
    os.close(writer)
    os.close(reader)


def test_a_closed_lease_closes_nothing_in_a_fork(tmp_path: Path) -> None:
    """Its descriptor's number is another file's by then."""
    lease = Lease(tmp_path)
    lease.close()
    reader, writer = os.pipe()  # one of them has that number
    child = os.fork()
    if child == 0:
        try:
            os.fstat(reader)
            os.fstat(writer)
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    os.close(writer)
