"""Wardens and zygotes that are killed or stopped, at every stage of a box."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.host.conftest import Answer, Books, below
from toolrunner import Call
from toolrunner.sandbox.processes import children_of

PATIENCE_SECONDS = 120
SLOW_IMPORT = """
    import logging, os, time

    if os.path.exists(MARK):
        logging.warning("importing")
        time.sleep(3)

    def run(payload):
        return {"fine": True}
"""
WAITS = """
    import time

    def run(payload, context):
        if payload.get("wait"):
            context.progress(0.5, "running")
            time.sleep(3)
        return {"fine": True}
"""
LIMITS = "{ wall_seconds = 2, load_seconds = 2 }"


def victim_of(who: str) -> psutil.Process:
    """Return the warden of the only box, or its zygote."""
    (warden,) = [p for p in psutil.Process().children() if children_of(p.pid)]
    # The first that it made, which need not have the lowest number.
    return warden if who == "warden" else psutil.Process(children_of(warden.pid)[0])


def strike(who: str, number: signal.Signals) -> None:
    """Send a signal, and return once the kernel has carried it out."""
    victim = victim_of(who)
    victim.send_signal(number)
    done = psutil.STATUS_ZOMBIE if number == signal.SIGKILL else psutil.STATUS_STOPPED
    over = time.monotonic() + PATIENCE_SECONDS
    with contextlib.suppress(psutil.NoSuchProcess):  # it has been reaped already
        while victim.status() != done:
            assert time.monotonic() < over
            time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("who", ["warden", "zygote"])
@pytest.mark.parametrize("start", ["auto", "cold"])
def test_during_a_call(
    start: str, who: str, number: signal.Signals, keep_books: Callable[..., Books]
) -> None:
    """The call ends within its limits; the zygote has nothing to do with it any more."""
    books = keep_books(WAITS, start=f'"{start}"', limits=LIMITS)
    running = threading.Event()
    call = Call(on_progress=lambda *_: running.set())
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(books.tool_runner.run("sample", {"wait": True}, call=call))
    )
    books.calls += 1
    thread.start()
    assert running.wait(PATIENCE_SECONDS)
    strike(who, number)
    thread.join(PATIENCE_SECONDS)
    ((_result, envelope),) = answers
    assert envelope is not None
    wanted = "SandboxError" if (who, number) == ("warden", signal.SIGKILL) else "TimeLimitExceeded"
    assert envelope["error"]["type"] == wanted
    assert books.call() == ({"fine": True}, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("who", ["warden", "zygote"])
def test_while_a_box_is_idle(
    who: str, number: signal.Signals, keep_books: Callable[..., Books]
) -> None:
    """The next call succeeds, in another box or cold."""
    books = keep_books(WAITS, limits=LIMITS)
    assert books.tool_runner.start("sample").mode == "warm"
    strike(who, number)
    for _ in range(3):
        assert books.call() == ({"fine": True}, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("who", ["warden", "zygote"])
@pytest.mark.parametrize("start", ["auto", "cold"])
def test_while_a_plugin_is_loaded(
    start: str,
    who: str,
    number: signal.Signals,
    keep_books: Callable[..., Books],
    open_folder: Path,
) -> None:
    """The call that loads it ends; the one after it succeeds once the import is quick."""
    mark = open_folder / "mark"
    mark.touch()
    source = SLOW_IMPORT.replace("MARK", repr(str(mark)))
    books = keep_books(source, start=f'"{start}"', limits=LIMITS, read=f'["{open_folder}"]')
    importing = threading.Event()

    class Hears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging calls it so
            """Take note that the import has begun."""
            importing.set()

    handler = Hears()
    logging.getLogger("toolrunner.plugin.sample").addHandler(handler)
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(books.call()))
    thread.start()
    assert importing.wait(PATIENCE_SECONDS)
    logging.getLogger("toolrunner.plugin.sample").removeHandler(handler)
    strike(who, number)
    thread.join(PATIENCE_SECONDS)
    ((result, envelope),) = answers
    mark.unlink()
    is_cold_zygote = (who, start) == ("zygote", "cold")  # it has forked the cell, and is done
    if not is_cold_zygote or envelope is not None:
        assert result is None
        assert envelope is not None
        assert envelope["error"]["type"] in {"SandboxError", "PluginLoadError"}
        blame = envelope["error"]["details"]["blame"]
        is_killed = number == signal.SIGKILL and not is_cold_zygote
        assert blame == ("host" if is_killed else "plugin")
    assert books.call() == ({"fine": True}, None)


def test_all_at_once(keep_books: Callable[..., Books]) -> None:
    """Every process of every box killed in one go: the runner goes on."""
    books = keep_books(WAITS, limits=LIMITS)
    for name in ("sample", "good"):
        books.tool_runner.start(name)
    killed = below()
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended with one before it
            process.kill()
    psutil.wait_procs(killed, timeout=PATIENCE_SECONDS)
    assert books.call() == ({"fine": True}, None)
    assert books.call("good") == ({"fine": True}, None)
