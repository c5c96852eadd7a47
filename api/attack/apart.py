"""Runs each fault in a process of its own: one that ends the runner itself ends nothing else.

    command --pipe-- attacker --fork, a fault each-- runners of one fault -- their boxes

The attacker is forked before the command starts any thread, and starts none, so that it can fork.
Some faults run at once, as most of them wait for a limit; the answers come in the faults' order. It
ends when the command no longer reads. A Ctrl-C reaches the runners, which end their calls first.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NoReturn

from toolrunner.api.attack.campaign import Case, attack
from toolrunner.api.attack.surroundings import clear_up_after
from toolrunner.plugins.corpus import Fault
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

_AT_ONCE = min(4, os.cpu_count() or 1)


@contextlib.contextmanager
def attacker(
    faults: Sequence[Fault], settings: Settings, layers: Layers
) -> Iterator[Iterator[list[Case]]]:
    """Begin to run faults; give an iterator over the cases of each, which waits for them."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _attack_all(faults, settings, layers, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        try:
            yield ([Case(**case) for case in json.loads(line)] for line in lines)
        finally:
            lines.close()
            os.waitpid(pid, 0)


def _attack_all(
    faults: Sequence[Fault], settings: Settings, layers: Layers, writer: int
) -> NoReturn:
    """Write a line for each fault; end when there are no more, or when nobody reads."""
    status = 1
    running: collections.deque[_Trial] = collections.deque()
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        waiting = iter(faults)
        running.extend(_Trial(f, settings, layers) for f in itertools.islice(waiting, _AT_ONCE))
        while running:
            cases = running[0].cases()
            running.popleft()
            running.extend(_Trial(f, settings, layers) for f in itertools.islice(waiting, 1))
            os.write(writer, json.dumps([asdict(case) for case in cases]).encode() + b"\n")
        status = 0
    finally:
        for trial in running:
            trial.end()
        os._exit(status)


class _Trial:
    """A fault that runs, in a child of this process."""

    def __init__(self, fault: Fault, settings: Settings, layers: Layers) -> None:
        self._fault = fault
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            _attack_one(fault, settings, layers, writer)
        os.close(writer)
        self._reader = reader

    def cases(self) -> list[Case]:
        """Wait for what comes of it."""
        with os.fdopen(self._reader, "rb") as pipe:
            written = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if written:
            return [Case(**case) for case in json.loads(written)]
        clear_up_after(self._pid)
        ended = os.waitstatus_to_exitcode(status)
        detail = f"it ended the runner itself (status {ended})"
        return [Case(self._fault.name, "escaped", "none", detail)]

    def end(self) -> None:
        """End it as a Ctrl-C does, and wait for that."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _attack_one(fault: Fault, settings: Settings, layers: Layers, writer: int) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cases = attack(fault, settings, layers)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps([asdict(case) for case in cases]).encode())
    finally:
        os._exit(1)
