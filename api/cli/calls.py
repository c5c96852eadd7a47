"""Runs the calls of a command, several at once, and hands them back in the order asked for.

``commands`` and ``check`` use it. An interrupt kills what is in flight before it passes on;
payloads are read just before their call, so that few are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from toolrunner.api.cli.artifacts import Kept
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import GovernedError, build_error_envelope
from toolrunner.runner.services import AnalysisService


@dataclass(frozen=True, slots=True)
class Work:
    """One call to make. ``payload`` raises GovernedError when there is none to be had."""

    payload: Callable[[], Any]
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """One call that has ended: exactly one of ``result`` and ``envelope`` is ``None``."""

    plugin: str
    file: str | None
    call: Call
    result: dict[str, Any] | None
    envelope: Envelope | None
    kept: tuple[Kept, ...] = ()


@dataclass(slots=True)
class Watcher:
    """What hears how calls get on; from any thread."""

    on_progress: Callable[[float, str], None] = field(default=lambda _fraction, _message: None)
    on_done: Callable[[], None] = field(default=lambda: None)


def run_calls(
    analysis: AnalysisService,
    plugin: str,
    work: Iterable[Work],
    *,
    jobs: int = 1,
    watcher: Watcher | None = None,
) -> Generator[Done, None, None]:
    """Yield the calls in their order, each as soon as it and all before it have ended.

    Close it (``contextlib.closing``), or calls go on after an exception.
    """
    watcher = watcher or Watcher()
    waiting: deque[Future[Done]] = deque()
    calls: list[Call] = []
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="toolrunner-call")
    try:
        for item in work:
            while len(busy := [future for future in waiting if not future.done()]) >= jobs:
                wait(busy, return_when=FIRST_COMPLETED)
            while waiting and waiting[0].done():
                yield waiting.popleft().result()  # does not block
            call = Call(watcher.on_progress)
            calls.append(call)
            waiting.append(_begun(pool, analysis, plugin, item, call, watcher))
        while waiting:
            done = waiting[0].result()
            waiting.popleft()
            yield done
    except BaseException:  # an interrupt above all
        for call in calls:
            call.cancel()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(
    pool: ThreadPoolExecutor,
    analysis: AnalysisService,
    plugin: str,
    item: Work,
    call: Call,
    watcher: Watcher,
) -> Future[Done]:
    try:
        payload = item.payload()
    except GovernedError as error:
        refused: Future[Done] = Future()
        refused.set_result(Done(plugin, item.file, call, None, refusal(plugin, call, error)))
        watcher.on_done()
        return refused

    def run() -> Done:
        result, envelope = analysis.analyze(plugin, payload, call=call)
        watcher.on_done()
        return Done(plugin, item.file, call, result, envelope)

    return pool.submit(run)


def refusal(plugin: str, call: Call, error: GovernedError) -> Envelope:
    """Return the envelope of a call that was refused before the runner saw it."""
    return build_error_envelope(
        error.error_type,
        error.message,
        plugin=plugin or None,
        call_id=call.call_id,
        details=error.details,
    )


def isolation_of(call: Call) -> Mapping[str, object]:
    """Return what confined a call, as JSON shows it."""
    isolation = call.isolation
    return {
        "mode": isolation.mode,
        "layers": list(isolation.layers),
        "missing": list(isolation.missing),
    }
