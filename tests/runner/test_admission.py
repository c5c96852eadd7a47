"""The queue before the calls: who gets a place, in which order, and that none is ever lost."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Callable
from types import FrameType

import pytest

import toolrunner.runner.admission
from toolrunner.runner.admission import Admission
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox.interrupt import Interrupt

PATIENCE_SECONDS = 120.0
# So much longer than any test's patience that nobody is woken by it.
FOR_EVER_SECONDS = 3600.0


class Caller:
    """A thread that wants one place and holds it until it is told to leave."""

    def __init__(
        self,
        admission: Admission,
        plugin: str,
        order: list[str],
        name: str = "",
        interrupt: Interrupt | None = None,
        *,
        caller: str = "",
    ) -> None:
        self.interrupt = interrupt or Interrupt()
        self.leave = threading.Event()
        self.entered = threading.Event()
        self.error: GovernedError | None = None
        self._name = name or plugin
        self._thread = threading.Thread(
            target=self._run, args=(admission, plugin, order, caller), daemon=True
        )
        self._thread.start()

    def _run(self, admission: Admission, plugin: str, order: list[str], caller: str) -> None:
        try:
            with admission.place(plugin, self.interrupt, caller):
                order.append(self._name)
                self.entered.set()
                self.leave.wait(PATIENCE_SECONDS)
        except GovernedError as error:
            self.error = error

    def end(self) -> None:
        """Leave, if it has entered, and wait for the thread."""
        self.leave.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


def spin(holds: Callable[[], bool]) -> None:
    """Wait until another thread has come so far."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 200)):
        if holds():
            return
        never.wait(0.005)
    pytest.fail("it never came so far")


def waiting(admission: Admission) -> int:
    """Return how many callers are in the queue."""
    return admission.waiting


def free_places(admission: Admission, plugin: str) -> int:
    """Return how many places can be had at once, by taking them."""
    in_a_hurry = Interrupt()
    in_a_hurry.cancel()
    with contextlib.ExitStack() as stack:
        for number in range(100):
            try:
                stack.enter_context(admission.place(plugin, in_a_hurry))
            except GovernedError:
                return number
    return 100


def test_places_go_to_those_who_came_first() -> None:
    """One after the other, in the order of their coming."""
    admission = Admission(1, 1, 10, PATIENCE_SECONDS)
    order: list[str] = []
    callers = []
    for number in range(6):
        callers.append(Caller(admission, "a", order, str(number)))
        spin(lambda number=number: len(order) + waiting(admission) == number + 1)  # type: ignore[misc]  # mypy cannot type a lambda's default
    for caller in callers:
        assert caller.entered.wait(PATIENCE_SECONDS)
        caller.end()
    assert order == ["0", "1", "2", "3", "4", "5"]


def test_a_busy_plugin_holds_up_no_other() -> None:
    """Its calls wait for each other, and those of another pass."""
    admission = Admission(3, 1, 10, PATIENCE_SECONDS)
    order: list[str] = []
    first = Caller(admission, "a", order)
    assert first.entered.wait(PATIENCE_SECONDS)
    second = Caller(admission, "a", order, "a again")
    spin(lambda: waiting(admission) == 1)
    other = Caller(admission, "b", order)
    assert other.entered.wait(PATIENCE_SECONDS)
    assert not second.entered.is_set()
    first.end()
    assert second.entered.wait(PATIENCE_SECONDS)
    for caller in (second, other):
        caller.end()
    assert order == ["a", "b", "a again"]


def test_who_waits_for_a_busy_plugin_is_passed_by_those_behind() -> None:
    """A place that the first in the queue may not use goes to the next who may."""
    admission = Admission(2, 1, 10, FOR_EVER_SECONDS)
    order: list[str] = []
    busy, other = Caller(admission, "a", order), Caller(admission, "b", order)
    spin(lambda: len(order) == 2)
    first = Caller(admission, "a", order, "a again")
    spin(lambda: waiting(admission) == 1)
    behind = Caller(admission, "c", order)
    spin(lambda: waiting(admission) == 2)
    other.end()
    assert behind.entered.wait(PATIENCE_SECONDS)
    assert not first.entered.is_set()
    busy.end()
    assert first.entered.wait(PATIENCE_SECONDS)
    for caller in (first, behind):
        caller.end()
    assert order[2:] == ["c", "a again"]


def lined_up(admission: Admission, order: list[str], wanted: list[tuple[str, str]]) -> list[Caller]:
    """Return callers that came one after the other, and all hold a place or wait for one."""
    callers = []
    for plugin, caller in wanted:
        callers.append(Caller(admission, plugin, order, f"{caller} {plugin}", caller=caller))
        spin(lambda: len(order) + waiting(admission) == len(callers))
    return callers


def end_all(callers: list[Caller]) -> None:
    """Let everybody go, whether it has entered or not."""
    for caller in callers:
        caller.end()


def test_a_caller_with_many_calls_keeps_no_other_waiting(request: pytest.FixtureRequest) -> None:
    """The next place goes to who holds fewest, however many came before."""
    admission = Admission(2, 2, 10, FOR_EVER_SECONDS)
    order: list[str] = []
    greedy = [("a", "greedy")] * 4
    callers = lined_up(admission, order, [*greedy, ("a", "modest")])
    request.addfinalizer(lambda: end_all(callers))
    callers[0].end()
    assert callers[4].entered.wait(PATIENCE_SECONDS)
    assert order == ["greedy a", "greedy a", "modest a"]
    callers[1].end()
    assert callers[2].entered.wait(PATIENCE_SECONDS)


def test_a_plugin_with_many_calls_keeps_no_other_waiting(request: pytest.FixtureRequest) -> None:
    """Among one caller's calls it is the plugin with the fewest that is next."""
    admission = Admission(2, 2, 10, FOR_EVER_SECONDS)
    order: list[str] = []
    callers = lined_up(admission, order, [*[("a", "me")] * 4, ("b", "me")])
    request.addfinalizer(lambda: end_all(callers))
    callers[0].end()
    assert callers[4].entered.wait(PATIENCE_SECONDS)
    assert order == ["me a", "me a", "me b"]


def test_a_full_queue_is_overloaded() -> None:
    """At once, and with what to do."""
    admission = Admission(1, 1, 1, PATIENCE_SECONDS)
    order: list[str] = []
    holder, waiter = Caller(admission, "a", order), Caller(admission, "a", order)
    spin(lambda: len(order) == 1 and waiting(admission) == 1)
    with pytest.raises(GovernedError) as caught, admission.place("a", Interrupt()):
        pass
    assert caught.value.error_type is ErrorType.OVERLOADED
    assert caught.value.details["retry_after_seconds"] == 1
    assert "max_parallel" in caught.value.message
    for caller in (holder, waiter):
        caller.end()


def test_one_callers_calls_leave_seats_for_the_next(request: pytest.FixtureRequest) -> None:
    """It may have as many as are free; what nobody's key has sent may have all."""
    admission = Admission(1, 1, 6, FOR_EVER_SECONDS)
    order: list[str] = []
    callers = lined_up(admission, order, [("a", "greedy")] * 4)
    request.addfinalizer(lambda: end_all(callers))
    with pytest.raises(GovernedError, match="3 calls of this caller wait") as caught:
        admission.place("a", Interrupt(), "greedy").__enter__()
    assert caught.value.error_type is ErrorType.OVERLOADED
    for caller in ("modest", "", ""):
        callers.append(Caller(admission, "a", order, caller=caller))
        spin(lambda: 1 + waiting(admission) == len(callers))
    with pytest.raises(GovernedError, match="6 calls are waiting already"):
        admission.place("a", Interrupt()).__enter__()


def test_nobody_waits_longer_than_allowed() -> None:
    """Then the call is Overloaded, and the queue forgets it."""
    admission = Admission(1, 1, 5, 0.01)
    with admission.place("a", Interrupt()):
        with pytest.raises(GovernedError) as caught, admission.place("b", Interrupt()):
            pass
        assert caught.value.error_type is ErrorType.OVERLOADED
        assert waiting(admission) == 0
    assert free_places(admission, "a") == 1


@pytest.mark.parametrize("when", ["before", "while it waits"])
def test_a_withdrawn_call_waits_no_more(when: str) -> None:
    """It ends as Cancelled, and its turn is another's."""
    admission = Admission(1, 1, 5, FOR_EVER_SECONDS)
    order: list[str] = []
    holder = Caller(admission, "a", order)
    assert holder.entered.wait(PATIENCE_SECONDS)
    interrupt = Interrupt()
    if when == "before":
        interrupt.cancel()
    waiter = Caller(admission, "a", order, "waiter", interrupt)
    if when != "before":
        spin(lambda: waiting(admission) == 1)
        interrupt.cancel()
    waiter.end()
    assert waiter.error is not None
    assert waiter.error.error_type is ErrorType.CANCELLED
    assert waiting(admission) == 0
    holder.end()
    assert free_places(admission, "a") == 1
    assert order == ["a"]


def test_all_places_are_one_bound_too() -> None:
    """However few calls each plugin has, there are no more together than there are places."""
    admission = Admission(2, 2, 10, PATIENCE_SECONDS)
    order: list[str] = []
    first, second = Caller(admission, "a", order), Caller(admission, "b", order)
    spin(lambda: len(order) == 2)
    third = Caller(admission, "c", order)
    spin(lambda: waiting(admission) == 1)
    assert not third.entered.is_set()
    second.end()
    assert third.entered.wait(PATIENCE_SECONDS)
    for caller in (first, third):
        caller.end()
    assert free_places(admission, "a") == 2


def test_a_place_handed_to_a_call_that_is_withdrawn_goes_to_the_next() -> None:
    """Leaving and cancelling at the same moment, many times: whoever wins, the next gets in."""
    for _ in range(50):
        admission = Admission(1, 1, 10, FOR_EVER_SECONDS)
        order: list[str] = []
        holder = Caller(admission, "a", order, "holder")
        assert holder.entered.wait(PATIENCE_SECONDS)
        torn = Caller(admission, "a", order, "torn")
        spin(lambda admission=admission: waiting(admission) == 1)  # type: ignore[misc]  # mypy cannot type a lambda's default
        after = Caller(admission, "a", order, "after")
        spin(lambda admission=admission: waiting(admission) == 2)  # type: ignore[misc]  # as above
        together = threading.Barrier(2)

        def cancel(together: threading.Barrier = together, torn: Caller = torn) -> None:
            together.wait(PATIENCE_SECONDS)
            torn.interrupt.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        together.wait(PATIENCE_SECONDS)
        holder.leave.set()
        canceller.join(PATIENCE_SECONDS)
        torn.end()
        assert after.entered.wait(PATIENCE_SECONDS)
        for caller in (holder, after):
            caller.end()
        assert (torn.error is None) == ("torn" in order)
        assert free_places(admission, "a") == 1


def interrupted_at(number: int, admission: Admission, on_wait: Callable[[], None]) -> bool:
    """Ask for a place, with a KeyboardInterrupt at the so-many-th line; tell if there was one.

    ``on_wait`` is called before the call waits. The lines that take the lock are passed over: a
    ``with`` statement is the interpreter's to keep whole.
    """
    source = inspect.getsource(toolrunner.runner.admission).splitlines()
    left = number
    inside = False

    def trace(frame: FrameType, event: str, _value: object) -> object:
        nonlocal left
        if inside or frame.f_code.co_filename != toolrunner.runner.admission.__file__:
            return None
        line = source[frame.f_lineno - 1]
        if event == "line" and "with self._lock" not in line:
            if ".wait(" in line:
                on_wait()
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)  # type: ignore[arg-type]  # a trace function may return None
        with admission.place("a", Interrupt()):
            inside = True
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("waits", [False, True])
def test_a_keyboard_interrupt_loses_no_place(waits: bool) -> None:
    """Wherever it strikes on the way to a place, also one that has just been handed over."""
    for number in range(1, 200):
        admission = Admission(1, 1, 5, PATIENCE_SECONDS)
        holder = Caller(admission, "a", []) if waits else None
        if holder is not None:
            assert holder.entered.wait(PATIENCE_SECONDS)
        struck = interrupted_at(number, admission, holder.end if holder else lambda: None)
        if holder is not None:
            holder.end()
        assert waiting(admission) == 0, f"at line event {number}"
        assert free_places(admission, "a") == 1, f"at line event {number}"
        if not struck:
            break
    assert not struck
    assert number > 5


def test_a_storm_of_callers_loses_no_place() -> None:
    """Cancelled, timed out and served at random, from many threads: all places are free after."""
    places, parallel = 3, 2
    admission = Admission(places, parallel, 100, 0.005)
    running: list[str] = []
    most: list[int] = []
    lock = threading.Lock()
    gate = threading.Barrier(24)

    def storm(number: int) -> None:
        gate.wait(PATIENCE_SECONDS)
        for turn in range(15):
            plugin = "ab"[(number + turn) % 2]
            interrupt = Interrupt()
            canceller = threading.Timer(0.001 * (turn % 3), interrupt.cancel)
            canceller.start()
            with contextlib.suppress(GovernedError), admission.place(plugin, interrupt):
                with lock:
                    running.append(plugin)
                    most.append(max(running.count("a"), running.count("b")))
                    assert len(running) <= places
                with lock:
                    running.remove(plugin)
            canceller.join()

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert max(most) <= parallel
    assert waiting(admission) == 0
    assert free_places(admission, "a") == parallel
    with contextlib.ExitStack() as stack:
        for _ in range(parallel):
            stack.enter_context(admission.place("a", Interrupt()))
        assert free_places(admission, "b") == places - parallel


def test_calls_that_are_served_together_share_a_place() -> None:
    """As many as fit into one; another one waits, and so does another plugin's."""
    admission = Admission(places=1, parallel=1, max_waiting=0, queue_seconds=0)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(admission.place("batched", Interrupt(), together=3))
        for plugin, together in (("batched", 3), ("other", 1)):
            with pytest.raises(GovernedError, match="waiting already"):
                stack.enter_context(admission.place(plugin, Interrupt(), together=together))
    with admission.place("other", Interrupt()):
        pass


def test_a_place_that_is_left_takes_as_many_as_share_it() -> None:
    """All of them are woken."""
    admission = Admission(places=1, parallel=1, max_waiting=9, queue_seconds=FOR_EVER_SECONDS)
    entered = threading.Barrier(4)

    def call() -> None:
        with admission.place("batched", Interrupt(), together=3):
            entered.wait(PATIENCE_SECONDS)

    threads = [threading.Thread(target=call) for _ in range(3)]
    with admission.place("other", Interrupt()):
        for thread in threads:
            thread.start()
        spin(lambda: waiting(admission) == 3)
    entered.wait(PATIENCE_SECONDS)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert waiting(admission) == 0
