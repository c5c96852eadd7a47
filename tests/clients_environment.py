"""The environment with other people's readers of our types and documents; one way to run them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-clients"
LOCKS = (
    ROOT / "requirements-clients.lock",
    ROOT / "tests/api/http/clients/package-lock.json",
)

Tool = Callable[..., str]


def missing_environment(environment: Path = ENVIRONMENT) -> str:
    """Return what is wrong with the environment, and what to do; "" if nothing is."""
    try:
        installed = (environment / ".installed").read_text(encoding="utf-8")
    except FileNotFoundError:
        found = f"{environment} with the generators of clients is missing"
    else:
        if installed.startswith("".join(lock.read_text(encoding="utf-8") for lock in LOCKS)):
            return ""
        found = f"{environment} is not as its locks say"
    return (
        f"{found}. Make it with: scripts/clients\n"
        "Or leave these tests out: pytest --ignore=tests/api/http/clients "
        " --ignore=tests/api/mcp/test_bundled.py --ignore=tests/api/mcp/test_conformance.py"
    )


def tool_in(folder: Path) -> Tool:
    """Return a function that runs a program of the environment, and returns what it prints.

    ``tool("redocly", ...)``, in a folder in which ``import`` finds the npm packages. It fails with
    all that the program has said.
    """
    problem = missing_environment()
    if problem:
        pytest.fail(problem, pytrace=False)
    # Its real name: a copy of the checkout may have a link to the environment.
    environment = ENVIRONMENT.resolve()
    packages = environment / "npm/node_modules"
    (folder / "node_modules").symlink_to(packages)
    programs = f"{environment / 'bin'}:{packages / '.bin'}:{os.environ['PATH']}"
    # Nothing of it asks the network for anything.
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "CI": "true"}

    def run(*command: str | Path) -> str:
        finished = subprocess.run(
            [*map(str, command)],
            cwd=folder,
            env={**os.environ, **quiet, "PATH": programs, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{command}:\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    return run
