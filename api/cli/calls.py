"""Runs the calls of a command, several at once, and hands them back in the order asked for.

``commands`` and ``check`` use it. An interrupt kills what is in flight before it passes on;
payloads are read just before their call, and nothing is kept of those that were handed back, so
that few are in memory. The way of each is that of every door's calls, through the services: not
``ToolRunner.map``, which hands back in no order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from toolrunner.api.cli.artifacts import Kept, told
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import GovernedError, build_error_envelope
from toolrunner.runner.services import AnalysisService

_MOST_AHEAD = 4  # calls for each that may run: in order, one that takes long holds up the others


@dataclass(frozen=True, slots=True)
class Work:
    """One call to make. ``payload`` raises GovernedError when there is none to be had.

    ``below``: where what comes of it lies in the folder for that, "" for nowhere.
    """

    payload: Callable[[], Any]
    file: str | None = None
    below: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """One call that has ended: exactly one of ``result`` and ``envelope`` is ``None``.

    ``kept``: what is told of its artifacts, unless they are with the call still.
    """

    plugin: str
    file: str | None
    call: Call
    result: dict[str, Any] | None
    envelope: Envelope | None
    below: str = ""
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
    in_order: bool = True,
    with_bytes: bool = False,
) -> Generator[Done, None, None]:
    """Yield the calls as they end: ``in_order``, each as soon as all before it have ended too.

    At most ``jobs`` run, and no more than a few times as many are ahead of whoever takes them, so
    ``work`` may be of any length. ``with_bytes`` leaves the artifacts with their calls, for whoever
    writes them; else only what is told of them outlasts a call. Close it
    (``contextlib.closing``), or calls go on after an exception.
    """
    watcher = watcher or Watcher()
    coming = enumerate(work)
    running: dict[Future[Done], tuple[int, Call]] = {}
    ended: dict[int, Done] = {}
    due, is_over = 0, False
    most = jobs * _MOST_AHEAD
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="toolrunner-call")
    try:
        while True:
            if not is_over and len(running) < jobs and len(running) + len(ended) < most:
                number, item = next(coming, (0, None))
                is_over = item is None
                if item is not None:
                    call = Call(watcher.on_progress)
                    future = _begun(
                        pool, analysis, plugin, item, call, watcher, with_bytes=with_bytes
                    )
                    running[future] = (number, call)
            elif running:
                wait(running, return_when=FIRST_COMPLETED)
            else:
                return
            for future in [future for future in running if future.done()]:
                ended[running.pop(future)[0]] = future.result()
            while (number := due if in_order else min(ended, default=-1)) in ended:
                due += 1
                yield ended.pop(number)
    except BaseException:  # an interrupt above all
        for _, call in running.values():
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
    *,
    with_bytes: bool,
) -> Future[Done]:
    try:
        payload = item.payload()
    except GovernedError as error:
        refused: Future[Done] = Future()
        envelope = refusal(plugin, call, error)
        refused.set_result(Done(plugin, item.file, call, None, envelope, item.below))
        watcher.on_done()
        return refused

    def run() -> Done:
        result, envelope = analysis.analyze(plugin, payload, call=call)
        kept: tuple[Kept, ...] = ()
        if not with_bytes:
            kept, call.artifacts = told(call.artifacts), ()
        watcher.on_done()
        return Done(plugin, item.file, call, result, envelope, item.below, kept)

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
