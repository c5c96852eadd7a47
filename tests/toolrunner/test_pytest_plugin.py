"""The pytest plugin for authors, by running pytest on sample projects of theirs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from toolrunner.pytest_plugin.command import LIMITS, console_script
from toolrunner.pytest_plugin.fixture import governed
from toolrunner.pytest_plugin.injections import INJECTIONS
from toolrunner.sandbox.limits import Limits

PROJECTS = Path(__file__).parent / "pytest_projects"


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the sample project that the test is for."""
    tmp_path.chmod(0o755)
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PROJECTS / request.param, tmp_path / request.param, ignore=ignore))


def run_pytest(
    project: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest as its author would; the plugin is found by its entry point."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("project", ["plain"], indirect=True)
def test_an_author_tests_a_plugin_under_limits(project: Path) -> None:
    """Results, limits and every injection, for files, folders, images and names."""
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 passed" in done.stdout


def test_the_fixture_knows_the_limits_that_there_are() -> None:
    """It names them itself, as it imports nothing of what runs a plugin."""
    assert set(LIMITS) == {one.name for one in fields(Limits)}


@pytest.mark.parametrize("project", ["edges"], indirect=True)
def test_every_plugin_can_be_tested_and_every_mistake_is_told(project: Path) -> None:
    """Whatever shape a plugin has, whatever the environment says; what never ran is no outcome."""
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "23 passed" in done.stdout


@pytest.mark.parametrize("path", ["", "."])
@pytest.mark.parametrize("project", ["shadowing"], indirect=True)
def test_an_authors_own_folders_are_not_in_the_way(project: Path, path: str) -> None:
    """Folders named as our packages are, first on the path, also through PYTHONPATH."""
    done = run_pytest(project, **({"PYTHONPATH": path} if path else {}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("project", ["failing"], indirect=True)
def test_a_failing_test_says_why(project: Path) -> None:
    """With the error's type and message, or the outcome as it was."""
    done = run_pytest(project)
    assert "3 failed" in done.stdout, done.stdout + done.stderr
    assert "GovernedCallError: word-count: ExecutionError: KeyError: 'text'" in done.stdout
    assert "{'words': 3}" in done.stdout
    assert "'words': 2" in done.stdout
    assert "'type': 'PluginCrashed'" in done.stdout


@pytest.mark.parametrize("project", ["failing"], indirect=True)
def test_a_host_that_cannot_run_plugins_fails_the_test(project: Path) -> None:
    """Nothing is skipped: here its settings are wrong."""
    done = run_pytest(project, "-k", "another", "--basetemp", "base", TOOLRUNNER_NONSENSE="1")
    assert "1 failed" in done.stdout
    assert "TOOLRUNNER_NONSENSE" in done.stdout


@pytest.mark.parametrize("project", ["plain"], indirect=True)
def test_the_documented_tests_pass(project: Path) -> None:
    """Those of docs/plugins.md, on the plugin that they are about."""
    text = (PROJECTS.parents[2] / "docs/plugins.md").read_text("utf-8")
    written = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    (example,) = [block for block in written if "governed(" in block]
    (project / "tests/test_plugins.py").write_text(example, "utf-8")
    done = run_pytest(project)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_every_injection_is_documented() -> None:
    """In the table for authors, and in the fixture's own words."""
    text = (PROJECTS.parents[2] / "docs/plugins.md").read_text("utf-8")
    for name in INJECTIONS:
        assert f'| `"{name}"` |' in text
        assert f'"{name}":' in (governed.__doc__ or "")


def test_a_missing_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment that has the module and not the script."""
    monkeypatch.setattr("sysconfig.get_path", lambda _name: "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.fail.Exception, match="pip install toolrunner-sandbox"):
        console_script()
