"""What the tests of tools for agents share."""

from __future__ import annotations

import functools
import tempfile

import pytest


@functools.cache
def _bytecode() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The same for all, in which what one start has compiled is there for the next: it is much."""
    return {**environment, "PYTHONPYCACHEPREFIX": _bytecode().name, "PYTHONDONTWRITEBYTECODE": ""}
