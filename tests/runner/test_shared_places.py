"""The places of several processes: bounded together, in turn, and lost with nobody's death."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.runner.test_admission import FOR_EVER_SECONDS, PATIENCE_SECONDS, Caller, spin
from toolrunner.runner.admission import Admission
from toolrunner.runner.shared_places import Lack, PlacesShare, SharedPlaces
from toolrunner.sandbox.interrupt import Interrupt

FORK = multiprocessing.get_context("fork")


def admission_of(share: PlacesShare, seconds: float = FOR_EVER_SECONDS) -> Admission:
    """Return the queue of one worker."""
    return Admission(share.places, share.parallel, share.max_waiting, seconds, share)


def has_come(admission: Admission, callers: Mapping[str, Caller]) -> bool:
    """Whether each has entered, was refused, or waits."""
    settled = sum(one.entered.is_set() or one.error is not None for one in callers.values())
    return settled + admission.waiting == len(callers)


def work(places: SharedPlaces, number: int, orders: Connection) -> None:
    """Be a worker that has calls come and go as it is told.

    ``("come", name, plugin, caller)``, ``("go", name)``, ``("look",)``; who has entered is the
    answer.
    """
    admission = admission_of(places.share(number))
    callers: dict[str, Caller] = {}
    while True:
        match orders.recv():
            case ("come", name, plugin, caller):
                callers[name] = Caller(admission, plugin, [], name, caller=caller)
                spin(partial(has_come, admission, callers))
            case ("go", name):
                callers[name].end()
        orders.send(
            {
                "in": [name for name, one in callers.items() if one.entered.is_set()],
                "refused": [name for name, one in callers.items() if one.error],
                "waiting": admission.waiting,
            }
        )


class Worker:
    """A process of its own, and what it answers."""

    def __init__(self, places: SharedPlaces, number: int) -> None:
        self._orders, theirs = FORK.Pipe()
        self.process: BaseProcess = FORK.Process(
            target=work, args=(places, number, theirs), daemon=True
        )
        self.process.start()
        theirs.close()

    def told(self, *order: str) -> dict[str, Any]:
        """Give an order, and return who is in."""
        self._orders.send(order)
        assert self._orders.poll(PATIENCE_SECONDS)
        answer: dict[str, Any] = self._orders.recv()
        return answer

    def come(self, *names: str, plugin: str = "a", caller: str = "") -> dict[str, Any]:
        """Have calls come, one after the other."""
        answer = {}
        for name in names:
            answer = self.told("come", name, plugin, caller)
        return answer

    def has_in(self, *names: str) -> None:
        """Wait until these have entered."""
        spin(lambda: set(names) <= set(self.told("look")["in"]))

    def kill(self) -> None:
        """End it, wherever it stands."""
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """End it, and let go of it."""
        self.kill()
        self._orders.close()


def stop(pid: int) -> None:
    """Stop a process, and wait until each thread of it has been stopped."""
    os.kill(pid, signal.SIGSTOP)

    def are_stopped() -> bool:
        tasks = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(task.rpartition(") ")[2].startswith("T") for task in tasks)

    spin(are_stopped)


@contextlib.contextmanager
def two_workers(places: int, parallel: int, waiting: int) -> Iterator[tuple[Worker, Worker]]:
    """Yield two workers with so many of everything each."""
    with (
        closing(SharedPlaces(2, places, parallel, waiting)) as shared,
        closing(Worker(shared, 0)) as first,
        closing(Worker(shared, 1)) as second,
    ):
        yield first, second


def test_one_may_have_the_places_of_all_and_no_more() -> None:
    """The other one has to wait then, though it holds nothing; and the room is one as well."""
    with two_workers(places=2, parallel=2, waiting=2) as (first, second):
        assert first.come(*"1234")["in"] == [*"1234"]
        assert first.come("5", "6", "7")["waiting"] == 3
        assert second.come("8")["waiting"] == 1
        assert second.come("9")["refused"] == ["9"]
        assert first.come("10")["refused"] == ["10"]
        first.told("go", "1")
        first.has_in("5")  # and there is room to wait again, for one
        assert second.come("11")["waiting"] == 2


def test_one_callers_calls_leave_seats_for_the_next_in_all_of_them() -> None:
    """What waits in each process counts, as long as it lives."""
    with two_workers(places=1, parallel=9, waiting=4) as (first, second):
        first.come("1", "2")
        assert first.come("3", "4", caller="greedy")["waiting"] == 2
        assert second.come("5", "6", caller="greedy")["waiting"] == 2
        assert first.come("7", caller="greedy")["refused"] == ["7"]
        assert second.come("8", caller="greedy")["refused"] == ["8"]
        assert second.come("9", "10", caller="modest")["waiting"] == 4
        first.kill()
        second.has_in("5", "9")
        assert second.come("11", caller="greedy")["waiting"] == 3


def test_a_plugin_has_no_more_places_than_it_may_in_all_of_them() -> None:
    """Others pass meanwhile, wherever they come."""
    with two_workers(places=3, parallel=1, waiting=9) as (first, second):
        assert first.come("a1")["in"] == ["a1"]
        assert second.come("a2")["in"] == ["a2"]
        assert second.come("a3")["waiting"] == 1
        assert first.come("a4")["waiting"] == 1
        assert first.come("b1", plugin="b")["in"] == ["a1", "b1"]
        assert second.come("b2", plugin="b")["in"] == ["a2", "b2"]


def test_a_place_goes_to_who_has_waited_longest_in_whichever_process() -> None:
    """Also one that its own process has calls for; and who comes now does not get it first."""
    with two_workers(places=1, parallel=1, waiting=9) as (first, second):
        first.come("1", "2")
        second.come("old")
        first.come("young")
        first.told("go", "1")
        second.has_in("old")
        assert first.told("look")["waiting"] == 1
        first.told("go", "2")
        first.has_in("young")


def test_a_place_that_a_stopped_process_does_not_take_is_anothers() -> None:
    """What has been stopped holds up nobody for long."""
    with two_workers(places=1, parallel=1, waiting=9) as (first, second):
        first.come("1", "2")
        second.come("old")
        first.come("young")
        assert second.process.pid is not None
        stop(second.process.pid)
        first.told("go", "1")
        first.has_in("young")


@pytest.mark.parametrize("waits_for", ["the plugin", "any place"])
def test_a_process_that_dies_gives_everything_back(waits_for: str) -> None:
    """Its places and its seats in the waiting room; and what it waited for holds up nobody."""
    parallel = 1 if waits_for == "the plugin" else 9
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(closing(SharedPlaces(2, 1, parallel, 2)))
        doomed, living = (stack.enter_context(closing(Worker(shared, n))) for n in (1, 0))
        doomed.come("1", "2", "3", "4")
        assert living.come("5", "6")["waiting"] == 2
        assert living.come("7")["refused"] == ["7"]
        doomed.kill()
        living.has_in(*(["5"] if parallel == 1 else ["5", "6"]))
        room = 4 - living.told("look")["waiting"]
        names = [str(number) for number in range(8, 8 + room)]
        assert living.come(*names)["refused"] == ["7"]
        successor = stack.enter_context(closing(Worker(shared, 1)))
        assert successor.come("12")["refused"] == ["12"]


def test_calls_that_are_served_together_share_one_place_of_all() -> None:
    """And give it back with the last of them."""
    with closing(SharedPlaces(1, 1, 1, 0)) as shared:
        share = shared.share(0)
        with closing(admission_of(share)) as admission:
            with contextlib.ExitStack() as stack:
                for _ in range(3):
                    stack.enter_context(admission.place("a", Interrupt(), together=3))
                assert share.take(("b", 1)) is Lack.PLACES
            assert share.take(("b", 1)) is None
