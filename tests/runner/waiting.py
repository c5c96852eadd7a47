"""How the tests of jobs and of webhooks wait for what other threads and processes do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE_SECONDS = 120.0


def spin(holds: Callable[[], Any]) -> None:
    """Wait until it holds."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 100)):
        if holds():
            return
        never.wait(0.01)
    pytest.fail("it never came so far")
