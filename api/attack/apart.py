"""Runs each fault in a process of its own: one that ends the runner itself ends nothing else.

    command --pipe-- attacker --fork, a fault each-- runner of one fault -- its boxes

The attacker is forked before the command starts any thread, and starts none, so that it can fork.
It ends when the command no longer reads. A Ctrl-C reaches the runner, which ends its call first.
"""

from __future__ import annotations

import contextlib
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
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for fault in faults:
            cases = _in_child(fault, settings, layers)
            os.write(writer, json.dumps([asdict(case) for case in cases]).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def _in_child(fault: Fault, settings: Settings, layers: Layers) -> list[Case]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _attack_one(fault, settings, layers, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        written = pipe.read()
    _, status = os.waitpid(pid, 0)
    if written:
        return [Case(**case) for case in json.loads(written)]
    clear_up_after(pid)
    ended = os.waitstatus_to_exitcode(status)
    return [Case(fault.name, "escaped", "none", f"it ended the runner itself (status {ended})")]


def _attack_one(fault: Fault, settings: Settings, layers: Layers, writer: int) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cases = attack(fault, settings, layers)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps([asdict(case) for case in cases]).encode())
    finally:
        os._exit(1)
