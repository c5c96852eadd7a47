"""scripts/soak.py: long runs of good and hostile calls, and that it would notice a leak."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soak

from toolrunner import PluginRegistry, ToolRunner
from toolrunner.api.attack.surroundings import surroundings
from toolrunner.sandbox.limits import MIB

PROGRAM = Path(soak.__file__)


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as its readers do."""
    command = [sys.executable, "-P", str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_a_minute_leaves_nothing_behind() -> None:
    """With the books in balance."""
    done = program("--minutes", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_some_calls_leave_nothing_behind(start: str) -> None:
    """The same, for so many calls: whatever the machine's speed."""
    done = program("--calls", "25", "--threads", "2", "--start", start, "--json", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["calls"] == sum(summary["outcomes"].values()) == 25
    assert (summary["clean"], summary["leaked"], summary["books"]) == (True, [], [])


def test_the_same_seed_draws_the_same_calls() -> None:
    """So that what was found can be found again."""
    arguments = ("--calls", "12", "--threads", "1", "--seed", "11", "--json")
    first, second = (json.loads(program(*arguments).stdout) for _ in range(2))
    assert first["outcomes"] == second["outcomes"]


def test_a_summary_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json."""
    soak.show(soak.Summary(3, 1.5, 2, {"success": 2}, (40.0, 41.0), ["3 descriptors"]))
    words = capsys.readouterr().out
    assert "left over: 3 descriptors" in words
    assert "every call is counted once" in words


def descriptor() -> Any:
    """Leave a descriptor."""
    return os.open("/dev/null", os.O_RDONLY)


def thread() -> Any:
    """Leave a thread."""
    made = threading.Thread(target=threading.Event().wait, args=(30,), daemon=True)
    made.start()
    return made


def process() -> Any:
    """Leave a process that looks like a fault's."""
    return subprocess.Popen(["sleep", "60"])


@pytest.fixture
def before_each_call(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Return a function that has something done before each call, which is a harmless one."""
    run = ToolRunner.run

    def arrange(action: Callable[..., Any]) -> None:
        def patched(self: ToolRunner, name: str, payload: Any) -> Any:
            action(self, name)
            return run(self, name, payload)

        monkeypatch.setattr(ToolRunner, "run", patched)
        monkeypatch.setattr(soak, "GOOD_SHARE", 1.0)

    return arrange


@pytest.mark.parametrize(
    ("leak", "words"),
    [(descriptor, "descriptors"), (thread, "threads"), (process, "it left process")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_leak_is_found(
    leak: Callable[[], Any],
    words: str,
    before_each_call: Callable[[Callable[..., Any]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One a call is enough."""
    left: list[Any] = []
    before_each_call(lambda *_: left.append(leak()))
    monkeypatch.setattr("toolrunner.api.attack.surroundings._GONE_SECONDS", 0.1)
    summary = soak.soak(seconds=60, calls=3, threads=1)
    for thing in left:
        if isinstance(thing, int):
            os.close(thing)
        elif isinstance(thing, subprocess.Popen):
            thing.kill()
            thing.wait()
    assert len(left) == 3
    assert not summary.is_clean
    assert words in " ".join(summary.leaked)


def test_books_that_do_not_balance_are_found(
    before_each_call: Callable[[Callable[..., Any]], None],
) -> None:
    """The registry is compared with what the callers saw."""

    def count(tool_runner: ToolRunner, name: str) -> None:
        tool_runner.registry.update_execution_metrics(name, "INITIALIZED", 1, had_error=False)

    before_each_call(count)
    assert soak.soak(seconds=60, calls=2, threads=1).books


def test_memory_that_grows_with_the_calls_is_found() -> None:
    """A burst that is given back is none; a slope is."""
    steady = [50 * MIB] * 30
    assert soak.grown(steady, calls=100) == []
    assert soak.grown([*steady[:20], 300 * MIB, *steady[20:]], calls=100) == []
    assert soak.grown([(50 + 5 * n) * MIB for n in range(30)], calls=100) != []
    assert soak.grown([50 * MIB], calls=100) == []


def test_every_fault_can_be_drawn() -> None:
    """In each of its variants."""
    with surroundings() as around:
        registry = PluginRegistry()
        chosen, good = soak.register(registry, around, "auto")
    assert len(chosen) > 200
    assert {name for name, _ in chosen} | {good} == set(registry.list_plugins())
    assert registry.list_available() == registry.list_plugins()


def test_an_interrupt_ends_it_with_a_summary() -> None:
    """Ctrl-C, once calls are made."""
    command = [sys.executable, "-P", str(PROGRAM), "--threads", "1", "--json", "--minutes", "5"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stderr is not None
        assert "calls" in process.stderr.readline()  # it says so while it works
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert json.loads(out)["calls"] > 0
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [("--minutes", "0"), ("--calls", "-1"), ("--threads", "0")])
def test_senseless_arguments_are_refused(arguments: tuple[str, str]) -> None:
    """With the usage."""
    done = program(*arguments)
    assert done.returncode == 2
    assert "has to be above 0" in done.stderr
