"""Objects of a caller's that only look like files: each is refused in words."""

from __future__ import annotations

import os
from typing import Any

import pytest

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.files import validate_files_payload


class Odd:
    """An open file by its looks, whose descriptor is something else."""

    def __init__(self, number: object) -> None:
        self._number = number

    def fileno(self) -> object:
        """Return what it was made with, or raise it."""
        if isinstance(self._number, Exception):
            raise self._number
        return self._number


class OddPath(os.PathLike[str]):
    """A path that fails."""

    def __fspath__(self) -> str:
        raise RuntimeError


class OddLooks:
    """An object that fails when it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(
    "given",
    [
        {"name": "a", "data": Odd(10**20)},
        {"name": "a", "data": Odd("x")},
        {"name": "a", "data": Odd(RuntimeError("no"))},
        {"name": "a", "data": OddLooks()},
        {"path": OddPath()},
        OddPath(),
    ],
)
def test_an_odd_object_is_the_callers_mistake(given: object) -> None:
    """Whatever its own code does."""
    with pytest.raises(GovernedError, match=r'"files\[0\]') as caught:
        validate_files_payload({"files": [given]})
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
