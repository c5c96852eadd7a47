"""How far calls of a command are ahead of whoever takes them, and what is kept of them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from toolrunner.api.cli.calls import Done, Watcher, Work, run_calls
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox.artifacts import Artifact

JOBS = 3
MOST_AHEAD = JOBS * 4
PATIENCE_SECONDS = 120


class Image(dict[str, Any]):
    """A payload that can be seen to go."""


class Analysis:
    """Answers at once, but for payloads that wait for their event."""

    def __init__(self) -> None:
        self.held = {0: threading.Event()}

    def analyze(self, _plugin: str, payload: Any, *, call: Call) -> tuple[dict[str, Any], None]:
        """Answer with the payload's number."""
        if payload["number"] in self.held:
            while not (self.held[payload["number"]].wait(0.01) or call.cancelled):
                pass
        return {"number": payload["number"]}, None


class Seen(Artifact):
    """An artifact that can be seen to go."""


class Draws(Analysis):
    """Gives an artifact back for each payload."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: weakref.WeakSet[Seen] = weakref.WeakSet()

    def analyze(self, _plugin: str, payload: Any, *, call: Call) -> tuple[dict[str, Any], None]:
        """Answer with the payload's number, and an artifact."""
        ended = super().analyze(_plugin, payload, call=call)
        made = Seen("drawn.txt", "text/plain", str(payload["number"]).encode())
        self.alive.add(made)
        call.artifacts = (made,)
        return ended


class Source:
    """Work without end, that knows which of its payloads somebody has still."""

    def __init__(self) -> None:
        self.made = 0
        self.alive: weakref.WeakValueDictionary[int, Image] = weakref.WeakValueDictionary()

    def _payload(self, number: int) -> Callable[[], Image]:
        def payload() -> Image:
            self.made += 1
            image = Image(number=number)
            self.alive[number] = image
            return image

        return payload

    def work(self) -> Iterator[Work]:
        """Yield works for ever."""
        number = 0
        while True:
            yield Work(self._payload(number), str(number))
            number += 1


@pytest.mark.parametrize("in_order", [True, False])
def test_no_more_is_read_than_may_be_ahead(*, in_order: bool) -> None:
    """Of ten thousand images, at no time more than a few; none is kept once it was taken."""
    analysis, source = Analysis(), Source()
    analysis.held[0].set()
    with closing(
        run_calls(analysis, "sample", source.work(), jobs=JOBS, in_order=in_order)  # type: ignore[arg-type]  # what is asked of it
    ) as calls:
        for taken, done in enumerate(calls, 1):
            assert source.made - taken < MOST_AHEAD
            assert len(source.alive) <= MOST_AHEAD
            assert not in_order or done.file == str(taken - 1)
            if taken == 10_000:
                break
    del done
    gc.collect()
    assert not source.alive


def test_one_that_takes_long_holds_up_a_bounded_number() -> None:
    """In order, what has ended behind it waits, and no more is begun than may be ahead."""
    analysis, source = Analysis(), Source()
    ended = threading.Semaphore(0)
    taken: list[str | None] = []

    def take() -> None:
        watcher = Watcher(on_done=ended.release)
        with closing(
            run_calls(analysis, "sample", source.work(), jobs=JOBS, watcher=watcher)  # type: ignore[arg-type]  # what is asked of it
        ) as calls:
            taken.extend(next(calls).file for _ in range(20))

    taker = threading.Thread(target=take)
    taker.start()
    for _ in range(MOST_AHEAD - 1):
        assert ended.acquire(timeout=PATIENCE_SECONDS)
    assert source.made == MOST_AHEAD
    assert taken == []
    analysis.held[0].set()
    taker.join(PATIENCE_SECONDS)
    assert taken == [str(number) for number in range(20)]


def test_of_artifacts_that_are_only_told_of_no_bytes_are_kept() -> None:
    """Not even of calls that wait until those before them have ended."""
    analysis, source = Draws(), Source()
    ended = threading.Semaphore(0)
    taken: list[Done] = []

    def take() -> None:
        watcher = Watcher(on_done=ended.release)
        with closing(
            run_calls(analysis, "sample", source.work(), jobs=JOBS, watcher=watcher)  # type: ignore[arg-type]  # what is asked of it
        ) as calls:
            taken.extend(next(calls) for _ in range(3))

    taker = threading.Thread(target=take)
    taker.start()
    for _ in range(MOST_AHEAD - 1):
        assert ended.acquire(timeout=PATIENCE_SECONDS)
    gc.collect()
    kept = len(analysis.alive)
    analysis.held[0].set()
    taker.join(PATIENCE_SECONDS)
    assert kept == 0
    assert [[one.info.name for one in done.kept] for done in taken] == [["drawn.txt"]] * 3


def test_a_refusal_stands_in_its_place() -> None:
    """What has no payload is told between its neighbours."""

    def refused() -> Any:
        raise GovernedError(ErrorType.VALIDATION_ERROR, "no such file")

    analysis, source = Analysis(), Source()
    analysis.held[0].set()
    coming = source.work()
    work = [next(coming), Work(refused, "refused"), next(coming)]
    done = list(run_calls(analysis, "sample", work, jobs=JOBS))  # type: ignore[arg-type]  # what is asked of it
    assert [one.file for one in done] == ["0", "refused", "1"]
    assert done[1].envelope is not None
    assert done[1].envelope["error"]["message"] == "no such file"


def test_closing_cancels_what_runs() -> None:
    """Whoever goes away leaves no call behind."""
    analysis, source = Analysis(), Source()
    calls = run_calls(analysis, "sample", source.work(), jobs=JOBS, in_order=False)  # type: ignore[arg-type]  # what is asked of it
    next(calls)
    calls.close()  # waits for the first payload's call, which ends because it is cancelled
    assert source.made <= MOST_AHEAD
