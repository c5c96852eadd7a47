"""Which interpreter an environment is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolrunner.runner.environments.pythons import choose_python, this_python
from toolrunner.runner.errors import GovernedError


def write_python(folder: Path, version: str, **facts: str) -> Path:
    """Write a program that says of itself that it is a Python."""
    path = folder / f"python{version.rpartition('.')[0]}"
    answer = {
        "executable": str(path), "version": version, "implementation": "cpython", "abi": "",
        "prefix": "/usr", "kind": "", **facts,
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


def test_else_the_oldest_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For which packages are most likely to have wheels."""
    for version in ("3.98.1", "3.97.2", "3.96.0"):
        write_python(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_python(">=3.97").version == "3.97.2"


def test_some_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no ordinary CPython; what does not even answer is passed over."""
    debug = write_python(tmp_path, "3.97.0", kind="a debug build")
    free = write_python(tmp_path, "3.98.0", kind="free-threaded")
    other = write_python(tmp_path, "3.99.0", implementation="pypy")
    (tmp_path / "python3.96").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3.96").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GovernedError) as told:
        choose_python(">=3.96")
    for words in (
        f"{debug} is a debug build",
        f"{free} is free-threaded",
        f"{other} is pypy, not CPython",
        "needs Python >=3.96",
    ):
        assert words in told.value.message
