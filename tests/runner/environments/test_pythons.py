"""Which interpreter an environment is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolrunner.runner.environments.pythons import choose_python, this_python
from toolrunner.runner.errors import GovernedError


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """Where the programs of a test lie: one whose way there others can change is not run."""
    return open_folder


def write_python(folder: Path, version: str, **facts: str) -> Path:
    """Write a program that says of itself that it is a Python."""
    path = folder / f"python{version.rpartition('.')[0]}"
    answer = {
        "executable": str(path), "version": version, "implementation": "cpython", "abi": "",
        "prefix": "/usr", "kind": "", "number": [3, 99], "prefixes": [], "standard": [],
        "packages": [], **facts,
    }  # fmt: skip
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


def test_the_runners_own_is_the_first_choice() -> None:
    """The interpreter itself, not that of the environment that the runner may be in."""
    python = choose_python(None)
    assert python == this_python()
    assert not Path(python.executable).is_symlink()
    assert not (Path(python.executable).parent.parent / "pyvenv.cfg").exists()


def test_else_the_oldest_that_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For which packages are most likely to have wheels."""
    for version in ("3.98.1", "3.97.2", "3.96.0"):
        write_python(folder, version)
    monkeypatch.setenv("PATH", str(folder))
    assert choose_python(">=3.97").version == "3.97.2"


def test_some_are_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no ordinary CPython; what does not even answer is passed over."""
    debug = write_python(folder, "3.97.0", kind="a debug build")
    free = write_python(folder, "3.98.0", kind="a free-threaded build")
    other = write_python(folder, "3.99.0", kind="pypy")
    for name, script in (
        ("python3.94", "echo 'pyenv: python3.94: command not found' >&2; exit 127"),
        ("python3.95", "exit 0"),
        ("python3.96", "exit 1"),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(GovernedError) as told:
        choose_python(">=3.96")
    for words in (
        f"{debug} is a debug build",
        f"{free} is a free-threaded build",
        f"{other} is pypy",
        "needs Python >=3.96",
        "python3.94 cannot be used: pyenv: python3.94: command not found",
        "python3.95 cannot be used: it does not answer as a Python does",
        "python3.96 cannot be used: it ended with status 1",
    ):
        assert words in told.value.message
