"""What the tests of forks share: work that is done in a real fork, and what is looked at."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psutil
import pytest

from toolrunner.sandbox.processes import children_of

PATIENCE_SECONDS = 40.0


T = TypeVar("T")


GREEDY = """
    def run(payload):
        block = bytearray(payload["mib"] << 20)
        return {"mib": len(block) >> 20}
"""


WAITING = """
    import time

    def run(payload, context):
        context.progress(0.5)
        while payload["wait"]:
            time.sleep(0.01)
        return {}
"""


class Fork:
    """A forked child that calls ``work`` and ends; ``result`` is what that returned."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._source, sink = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._source)
                try:
                    answer = (True, work())
                except BaseException:  # noqa: BLE001 - the parent raises it
                    answer = (False, traceback.format_exc())
                with open(sink, "wb") as pipe:
                    pipe.write(pickle.dumps(answer))
                status = 0
            finally:
                os._exit(status)
        os.close(sink)

    def result(self) -> Any:
        """Return what the child did; end it when it does not come to an end."""
        answer = bytearray()
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        try:
            while poll.poll(PATIENCE_SECONDS * 1000):
                piece = os.read(self._source, 1 << 16)
                answer += piece
                if not piece:
                    break
            else:
                pytest.fail("the child hangs")
        finally:
            self.end()
        worked, value = pickle.loads(answer)
        assert worked, value
        return value

    def end(self) -> None:
        """End the child, if it has not ended, and reap it."""
        os.close(self._source)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def in_fork(work: Callable[[], T]) -> T:
    """Return what ``work`` returns in a fork of this process."""
    result: T = Fork(work).result()
    return result


def type_of(answer: tuple[Any, Any]) -> str:
    """Return the type of a call's error, or what it returned as text."""
    result, error = answer
    return str(result) if error is None else str(error["error"]["type"])


def boxes() -> set[int]:
    """Return the wardens that this process has."""
    return {child.pid for child in psutil.Process().children() if children_of(child.pid)}


def descriptors() -> dict[int, str]:
    """Return what this process has open, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def locks_of(owner: object, seen: set[int]) -> Iterator[Any]:
    """Yield every lock and condition that can be reached from one of our objects."""
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, threading.Condition | type(threading.Lock()) | type(threading.RLock())):
        yield owner
    elif isinstance(owner, dict):
        for value in owner.values():
            yield from locks_of(value, seen)
    elif isinstance(owner, list | tuple | set) or type(owner).__name__ == "deque":
        for value in owner:  # type: ignore[attr-defined]  # mypy does not know of the deque
            yield from locks_of(value, seen)
    elif isinstance(owner, types.MethodType):
        yield from locks_of(owner.__self__, seen)
    elif type(owner).__module__.startswith("toolrunner"):
        names = [*getattr(owner, "__dict__", ()), *getattr(type(owner), "__slots__", ())]
        for name in set(names) - {"__weakref__"}:
            yield from locks_of(getattr(owner, name, None), seen)


def _taken(lock: Any, stack: contextlib.ExitStack) -> bool:
    if not lock.acquire(timeout=0.01):
        return False
    stack.callback(lock.release)
    return True


@contextlib.contextmanager
def holding_the_locks_of(owner: object) -> Iterator[int]:
    """Let another thread hold every lock of an object; say how many there are."""
    locks = list(locks_of(owner, set()))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        while not held.is_set():
            with contextlib.ExitStack() as stack:
                # One who holds a lock may wait for another that is held here: then all are let go.
                if all(_taken(lock, stack) for lock in locks):
                    held.set()
                    done.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE_SECONDS)
    try:
        yield len(locks)
    finally:
        done.set()
        thread.join()
