"""The environment with the libraries, and a service in it.

Without that environment one test of this folder fails and says how to get it; the others are not
run, so that this is said once.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks import libraries

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".venv-libraries"
LOCK = ROOT / "requirements-libraries.lock"


def missing_environment(environment: Path = ENVIRONMENT) -> str:
    """Return what is wrong with the libraries' environment, and what to do; "" if nothing is."""
    try:
        installed = (environment / ".installed").read_text(encoding="utf-8")
    except FileNotFoundError:
        found = f"{environment} with the libraries is missing"
    else:
        if installed.startswith(LOCK.read_text(encoding="utf-8")):
            return ""
        found = f"{environment} is not as {LOCK.name} says"
    return (
        f"{found}. Make it with: scripts/libraries\n"
        "Or leave these tests out: pytest --ignore=tests/libraries"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave one test of this folder if none of them can run."""
    if not missing_environment():
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    has_one = False
    for item in items:
        is_ours = "service" in getattr(item, "fixturenames", ())
        (left_out if is_ours and has_one else kept).append(item)
        has_one = has_one or is_ours
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@dataclass(frozen=True, slots=True)
class Found:
    """How a plugin starts, why not warm, and of each call its mode and what it answered."""

    mode: str
    reasons: list[str]
    answers: list[tuple[str, Any]]


class Service:
    """The service; its process starts with the first order."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(
        self,
        path: Path,
        start: str,
        isolation: str,
        *,
        calls: int = 2,
        undone: Sequence[str] = (),
    ) -> Found:
        """Have a plugin loaded and called; ``undone``: variables that it takes away first.

        ``isolation``: all that the host can do unless it is "no-namespaces".
        """
        if self._process is None:
            self._process = subprocess.Popen(
                # Its real name: a copy of the checkout may have a link to the environment.
                [str(ENVIRONMENT.resolve() / "bin/python"), "-P", str(HERE / "service.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "path": str(path),
            "start": start,
            "isolation": isolation,
            "calls": calls,
            "undone": list(undone),
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the service ended: see its traceback"
        answer = json.loads(line)
        return Found(answer["mode"], answer["reasons"], [tuple(one) for one in answer["answers"]])

    def close(self) -> None:
        """End it, with an error if it has one."""
        if self._process is not None:
            with self._process as process:
                process.communicate()
            assert process.returncode == 0


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service in the environment of the libraries."""
    problem = missing_environment()
    if problem:
        pytest.fail(problem, pytrace=False)
    made = Service()
    yield made
    made.close()


def plugin_file(name: str) -> Path:
    """Return the file of a plugin of this folder."""
    return libraries.PLUGINS / f"{name}.py"
