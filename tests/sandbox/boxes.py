"""Looks at warm boxes from outside: their processes, and how a call of theirs ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

from toolrunner import Call, ToolRunner
from toolrunner.sandbox.processes import children_of

PATIENCE_SECONDS = 120.0


def value(answer: tuple[Any, Any]) -> Any:
    """Return the result of a call that must have succeeded."""
    result, error = answer
    assert error is None, error
    return result


def wait_until(holds: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Wait for something that happens by itself; fail when it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() >= deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {said}")
        time.sleep(0.05)


def wardens() -> list[psutil.Process]:
    """Return the wardens that this process has, without launchers that wait for a box."""
    return [child for child in psutil.Process().children() if children_of(child.pid)]


def arguments(process: psutil.Process) -> list[str]:
    """Return a process's command line: none when it has ended, reaped or not."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def mode_of(tool_runner: ToolRunner, name: str = "sample") -> str:
    """Call a plugin and return how its call ran."""
    call = Call()
    value(tool_runner.run(name, {}, call=call))
    return call.isolation.mode


WHERE = "import os\ndef run(payload):\n    return {'box': os.getppid(), 'text': 'one'}\n"


def box_of(tool_runner: ToolRunner) -> int:
    """Return the warden of the one warm box, after a call."""
    value(tool_runner.run("sample", {}))
    (warden,) = wardens()
    return warden.pid
