"""Runs a fault as the table asks, and checks what must hold after each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from toolrunner.api.attack.trial import Answer, run_fault
from toolrunner.plugins.corpus import Fault
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Start = Literal["auto", "cold", "resident"]
RunFault = Callable[[Fault, Start], list[Answer]]


@pytest.fixture
def answers_of(tmp_path: Path, layers: Layers) -> RunFault:
    """Return a function that runs a fault: the conditions hold, and no attempt has succeeded.

    The conditions: the next call succeeds; no process is left and no file; every call is counted
    once; the answer comes within the limits; and nothing that others own is touched.
    """
    settings = Settings.load(state=tmp_path / "state")

    def run(fault: Fault, start: Start) -> list[Answer]:
        answers = run_fault(fault, settings, layers, start=start)
        problems: list[Any] = [
            (answer.variant, kind, found)
            for answer in answers
            for kind, found in (("harm", answer.harm), ("cost", answer.cost), ("done", answer.done))
            if found
        ]
        assert problems == []
        return answers

    return run
