"""One registry, many threads: nothing is lost, torn or deadlocked."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from toolrunner.runner.registry.registry import PluginRegistry

THREADS = 24
ROUNDS = 400
REGISTERED = 20


def in_threads(work: Callable[[int], int]) -> list[int]:
    """Run ``work`` in threads that start together; return what each returned."""
    barrier = threading.Barrier(THREADS)

    def start(number: int) -> int:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


def test_every_call_of_every_thread_is_counted_once() -> None:
    """Successes and errors add up, and nothing is left in flight."""
    registry = PluginRegistry()
    names = [f"p{n}" for n in range(5)]
    for name in names:
        registry.register(name)

    def work(number: int) -> int:
        chance = random.Random(number)
        errors = 0
        for _ in range(ROUNDS):
            name, failed = chance.choice(names), chance.random() < 0.5
            registry.mark_running(name)
            state = "FAILED" if failed else "INITIALIZED"
            registry.update_execution_metrics(name, state, chance.randrange(50), failed)
            errors += failed
        return errors

    errors = sum(in_threads(work))
    statuses = registry.list_all()
    assert sum(status.error_count for status in statuses) == errors
    assert sum(status.success_count for status in statuses) == THREADS * ROUNDS - errors
    assert [status.in_flight for status in statuses] == [0] * len(names)
    assert {status.state for status in statuses} <= {"FAILED", "INITIALIZED"}


def test_readers_see_whole_statuses_while_others_write() -> None:
    """RUNNING and a call in flight always go together, and counts never go back."""
    registry = PluginRegistry()
    registry.register("ocr")

    def work(number: int) -> int:
        if number % 3 == 0:
            for _ in range(ROUNDS):
                registry.mark_running("ocr")
                registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
            return 0
        torn, last = 0, 0
        for _ in range(ROUNDS):
            status = registry.get_status("ocr")
            assert status is not None
            torn += (status.state == "RUNNING") != (status.in_flight > 0)
            torn += status.success_count < last
            last = status.success_count
            registry.list_all()
            registry.all_states()
        return torn

    assert sum(in_threads(work)) == 0


def test_threads_may_register_while_others_list() -> None:
    """Listing during registration sees each plugin whole and in order."""
    registry = PluginRegistry()

    def work(number: int) -> int:
        unsorted = 0
        for n in range(REGISTERED):
            registry.register(f"p{number}-{n}", "d", "1")
            names = registry.list_plugins()
            unsorted += names != sorted(names)
            unsorted += any(status.description != "d" for status in registry.list_all())
        return unsorted

    assert sum(in_threads(work)) == 0
    assert len(registry.list_plugins()) == THREADS * REGISTERED


def test_first_look_at_an_instance_by_many_threads_finds_one_plugin() -> None:
    """Reading happens outside the lock, and everybody gets an equal answer."""
    registry = PluginRegistry()
    registry.register("sample", instance=SamplePlugin)
    found = []

    def work(_number: int) -> int:
        found.append(registry.plugin("sample"))
        return 0

    in_threads(work)
    assert all(plugin == found[0] for plugin in found)


class SamplePlugin:
    """A class at the top level of a source file."""

    def run(self, payload: dict[str, object]) -> dict[str, object]:
        """Answer with what was asked."""
        return payload
