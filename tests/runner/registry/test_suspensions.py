"""Which plugins take no calls: when they are suspended, who may try, and what a file costs."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolrunner.runner.registry.suspensions import Suspensions, Verdict

FORK = multiprocessing.get_context("fork")
MOST, LONG = 3, 600.0


def opened(folder: Path | None, failures: int = MOST) -> Suspensions:
    """Return how one process of a state folder knows its plugins."""
    made = Suspensions(folder)
    made.suspend_after(failures, LONG)
    return made


def fail(suspensions: Suspensions, times: int = 1, call_id: str = "call") -> None:
    """Let calls fail by the plugin's own fault."""
    for _ in range(times):
        suspensions.ended("sample", call_id, Verdict.FAILED, "PluginCrashed: SIGSEGV")


def let_time_pass(folder: Path, seconds: float = 2 * LONG) -> None:
    """Put everything that the file tells of into the past."""
    file = folder / "suspensions.json"
    document = json.loads(file.read_bytes())
    for one in document["plugins"].values():
        one["since"] -= seconds
        one["until"] -= seconds
    file.write_text(json.dumps(document))


@pytest.fixture
def half_open(tmp_path: Path) -> Suspensions:
    """A plugin that was suspended, and is to be tried."""
    suspensions = opened(tmp_path)
    fail(suspensions, MOST)
    let_time_pass(tmp_path)
    return suspensions


@pytest.mark.parametrize("folder", ["kept", "in memory"])
def test_failures_in_a_row_suspend_a_plugin(folder: str, tmp_path: Path) -> None:
    """As many as are set, and no other plugin; for so long, and with the reason."""
    suspensions = opened(tmp_path if folder == "kept" else None)
    fail(suspensions, MOST - 1)
    assert suspensions.refusal("sample", "x") is None
    fail(suspensions)
    refused = suspensions.refusal("sample", "x")
    assert refused is not None
    assert (refused.suspended_by, refused.failures) == ("breaker", MOST)
    assert refused.reason == "PluginCrashed: SIGSEGV"
    assert LONG / 2 < refused.seconds_left(time.time()) <= LONG
    assert suspensions.refusal("another", "x") is None


def test_without_a_breaker_a_row_is_of_this_registry_alone(tmp_path: Path) -> None:
    """What another process has counted it would never count on; nothing is suspended."""
    fail(opened(tmp_path), MOST - 1)
    own = opened(tmp_path, failures=0)
    seen = [own.shown("sample").failures]
    for verdict in (Verdict.FAILED, Verdict.NONE, Verdict.FAILED, Verdict.WORKS, Verdict.FAILED):
        own.ended("sample", "call", verdict)
        seen.append(own.shown("sample").failures)
    assert seen == [0, 1, 1, 2, 0, 1]
    fail(own, MOST)
    assert own.refusal("sample", "x") is None
    own.resume("sample")
    assert own.shown("sample").failures == 0


def test_a_success_ends_the_row_and_faults_of_others_do_not(tmp_path: Path) -> None:
    """What says nothing of the plugin neither counts nor forgives."""
    suspensions = opened(tmp_path)
    fail(suspensions, MOST - 1)
    suspensions.ended("sample", "call", Verdict.WORKS)
    fail(suspensions, MOST - 1)
    suspensions.ended("sample", "call", Verdict.NONE)
    assert suspensions.standing("sample").failures == MOST - 1
    assert suspensions.refusal("sample", "x") is None
    fail(suspensions)
    assert suspensions.refusal("sample", "x") is not None


def test_all_processes_count_together(tmp_path: Path) -> None:
    """None of their failures is lost, and what one has suspended holds for all."""

    def work() -> None:
        fail(opened(tmp_path, 10_000), 25)

    processes = [FORK.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    one, other = opened(tmp_path, 101), opened(tmp_path, 101)
    assert one.standing("sample").failures == 100
    assert other.refusal("sample", "x") is None
    fail(one)
    assert other.refusal("sample", "x") is not None
    assert opened(tmp_path).refusal("sample", "x") is not None  # after a restart


def test_one_call_tries_when_the_time_is_up(tmp_path: Path, half_open: Suspensions) -> None:
    """Of many at once, in many processes, exactly one."""
    others = [opened(tmp_path) for _ in range(3)]
    start = threading.Barrier(16)

    def ask(number: int) -> bool:
        suspensions = [half_open, *others][number % 4]
        start.wait()
        return suspensions.refusal("sample", f"call-{number}") is None

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(16))) == 1


def test_looking_at_it_is_not_trying(half_open: Suspensions) -> None:
    """Only a call that is about to begin takes the turn."""
    assert half_open.refusal("sample") is None
    assert half_open.refusal("sample", "first") is None
    assert half_open.refusal("sample") is not None


def test_what_the_one_call_comes_to_decides(tmp_path: Path, half_open: Suspensions) -> None:
    """A failure suspends for as long again, after one; a success ends it."""
    half_open.refusal("sample", "first")
    fail(half_open, call_id="first")
    assert half_open.refusal("sample", "second") is not None
    let_time_pass(tmp_path)
    assert half_open.refusal("sample", "third") is None
    half_open.ended("sample", "third", Verdict.WORKS)
    assert half_open.refusal("sample", "fourth") is None
    assert half_open.standing("sample").failures == 0


def test_a_try_that_says_nothing_leaves_it_to_the_next_call(half_open: Suspensions) -> None:
    """As when its caller withdrew it: the plugin was not tried."""
    assert half_open.refusal("sample", "first") is None
    half_open.ended("sample", "first", Verdict.NONE)
    assert half_open.refusal("sample", "second") is None
    assert half_open.refusal("sample", "third") is not None


def test_a_try_that_never_ends_holds_nobody_up_for_good(
    tmp_path: Path, half_open: Suspensions
) -> None:
    """As when its process was killed: another call tries, when the time is up again."""
    assert half_open.refusal("sample", "first") is None
    assert half_open.refusal("sample", "second") is not None
    let_time_pass(tmp_path)
    assert half_open.refusal("sample", "third") is None
    fail(half_open, call_id="first")  # late, and nobody's turn any more
    half_open.ended("sample", "third", Verdict.WORKS)
    assert half_open.refusal("sample", "fourth") is None


@pytest.mark.parametrize("verdict", list(Verdict))
def test_calls_that_began_before_change_nothing(verdict: Verdict, half_open: Suspensions) -> None:
    """They are of the plugin as it was."""
    half_open.refusal("sample", "first")
    before = half_open.standing("sample")
    half_open.ended("sample", "an older one", verdict)
    assert half_open.standing("sample") == before


def test_the_operators_word_holds_until_taken_back(tmp_path: Path) -> None:
    """Whatever calls that still run come to, in all processes, and beyond the breaker's."""
    suspensions, other = opened(tmp_path), opened(tmp_path, 0)
    suspensions.suspend("sample")
    for verdict in Verdict:
        suspensions.ended("sample", "older", verdict)
    fail(suspensions, MOST)
    let_time_pass(tmp_path)
    for one in (suspensions, other):
        refused = one.refusal("sample", "x")
        assert refused is not None
        assert refused.suspended_by == "operator"
    assert other.resume("sample")
    assert suspensions.refusal("sample", "x") is None
    assert not suspensions.resume("sample")


def test_the_operator_ends_the_breakers_suspension(tmp_path: Path) -> None:
    """And the row begins anew."""
    suspensions = opened(tmp_path)
    fail(suspensions, MOST)
    assert suspensions.resume("sample")
    fail(suspensions, MOST - 1)
    assert suspensions.refusal("sample", "x") is None


def test_who_has_no_breaker_goes_by_the_operator_alone(tmp_path: Path) -> None:
    """It neither counts, nor tries, nor writes; but it can tell what holds elsewhere."""
    fail(opened(tmp_path), MOST)
    before = (tmp_path / "suspensions.json").read_bytes()
    without = opened(tmp_path, 0)
    assert without.refusal("sample", "x") is None
    fail(without)
    without.ended("sample", "x", Verdict.WORKS)
    assert without.standing("sample").suspended_by == "breaker"
    assert (tmp_path / "suspensions.json").read_bytes() == before


def test_a_clock_that_was_set_back_suspends_nobody_for_long(tmp_path: Path) -> None:
    """Nobody knows how long it has been, so it is tried."""
    suspensions = opened(tmp_path)
    fail(suspensions, MOST)
    let_time_pass(tmp_path, -1e6)
    assert suspensions.refusal("sample", "first") is None
    assert suspensions.refusal("sample", "second") is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b'{"version": 1, "plugins": {"sample": {"failures": "many"}}}',
        b'{"version": 2, "plugins": {}}',
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_kept(content: bytes, tmp_path: Path) -> None:
    """Nobody is suspended by it, the breaker works here alone, and nothing replaces it."""
    file = tmp_path / "suspensions.json"
    file.write_bytes(content)
    suspensions = opened(tmp_path)
    assert suspensions.refusal("sample", "x") is None
    assert str(file) in suspensions.problem
    assert "remove it" in suspensions.problem
    assert "_Document" not in suspensions.problem
    fail(suspensions, MOST)
    assert suspensions.refusal("sample", "x") is not None
    with pytest.raises(OSError, match="remove it"):
        suspensions.suspend("sample")
    assert file.read_bytes() == content
    file.unlink()
    assert suspensions.refusal("sample", "x") is None
    suspensions.suspend("sample")
    assert suspensions.problem == ""
    assert opened(tmp_path).refusal("sample", "x") is not None


def test_without_a_place_for_the_file_the_breaker_works_here_alone(tmp_path: Path) -> None:
    """And the operator hears that his word cannot be kept."""
    (tmp_path / "file").touch()
    suspensions = opened(tmp_path / "file" / "state")
    fail(suspensions, MOST)
    assert suspensions.refusal("sample", "x") is not None
    with pytest.raises(OSError, match="file"):
        suspensions.suspend("another")
    assert suspensions.refusal("another", "x") is None


def test_a_process_that_stands_still_with_the_lock_costs_a_moment(tmp_path: Path) -> None:
    """Then the breaker works here alone."""
    suspensions = opened(tmp_path, 1)
    fail(suspensions)
    suspensions.resume("sample")
    with (tmp_path / "suspensions.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fail(suspensions)
        assert suspensions.refusal("sample", "x") is not None
    assert opened(tmp_path).standing("sample").failures == 0


def test_a_fork_goes_on_by_itself(tmp_path: Path) -> None:
    """With what is known, and whatever another thread was doing."""
    suspensions = opened(tmp_path)
    fail(suspensions, MOST - 1)
    with suspensions._lock:  # as held by a thread that the child has not

        def work() -> None:
            fail(suspensions)
            os._exit(0 if suspensions.refusal("sample", "x") else 1)

        process = FORK.Process(target=work)
        process.start()
        process.join()
    assert process.exitcode == 0
    assert suspensions.refusal("sample", "x") is not None


def test_root_writes_it_for_the_folders_owner(tmp_path: Path) -> None:
    """Who speaks as root must not shut out the server of another user."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
    opened(folder).suspend("sample")
    for name in ("suspensions.json", "suspensions.lock"):
        found, owner = (folder / name).stat(), folder.stat()
        assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)
        assert found.st_mode & 0o077 == 0
