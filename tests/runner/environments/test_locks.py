"""What pins a plugin's dependencies: uv's locks, and requirements files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runner.environments.conftest import Find, Install
from tests.wheels import write_needy, write_wheel
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.environments.store import Environment
from toolrunner.runner.environments.workshop import Options
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Lock = Callable[[Path], Path]


@pytest.fixture
def lock(state: Path, wheels: Path, layers: Layers, temporary: Path) -> Lock:  # noqa: ARG001 - its boxes' TMPDIR
    """Return a function that locks the plugin at a path and returns its lock."""

    def run(path: Path) -> Path:
        options = Options(offline=True, find_links=(str(wheels),))
        with Installer(Settings(state=state), options, layers=layers) as installer:
            return installer.lock(plugin_at(path, "a test"))

    return run


def write_folder(parent: Path, *dependencies: str) -> Path:
    """Write a folder plugin that needs something."""
    folder = parent / "folder-plugin"
    folder.mkdir(exist_ok=True)
    listed = ", ".join(f'"{one}"' for one in dependencies)
    (folder / "toolrunner.toml").write_text(
        f"dependencies = [{listed}]\n[tool.toolrunner]\n"
        'name = "folder-plugin"\nentry = "main:run"\ninput = "json"\n'
    )
    (folder / "main.py").write_text("def run(payload):\n    return {}\n")
    return folder


def versions(environment: Environment | None) -> dict[str, str]:
    """Return the version of each package of an environment."""
    assert environment is not None
    return {package.name: package.version for package in environment.packages}


def test_a_lock_of_a_file_decides(
    lock: Lock, install: Install, find: Find, tmp_path: Path, wheels: Path
) -> None:
    """What is newer than it is not installed; without it, it is."""
    plugin = write_needy(tmp_path, "beta")
    made = lock(plugin)
    assert made == tmp_path / "needy.py.lock"
    assert made.lstat().st_uid == os.geteuid()
    write_wheel(wheels, "beta", "3.0")
    install(plugin)
    assert versions(find(plugin)) == {"beta": "2.1"}
    made.unlink()
    assert find(plugin) is None
    install(plugin)
    assert versions(find(plugin)) == {"beta": "3.0"}


def test_a_lock_of_a_folder_decides(
    lock: Lock, install: Install, find: Find, tmp_path: Path, wheels: Path
) -> None:
    """It is uv's own kind, uv.lock."""
    plugin = write_folder(tmp_path, "alpha")
    assert lock(plugin) == plugin / "uv.lock"
    write_wheel(wheels, "beta", "3.0")
    install(plugin)
    assert versions(find(plugin)) == {"alpha": "1.0", "beta": "2.1"}


def test_a_lock_and_none_that_come_to_the_same_share(
    lock: Lock, install: Install, tmp_path: Path
) -> None:
    """The environment is one and the same."""
    first = install(write_needy(tmp_path, "alpha", name="first"))
    locked = write_needy(tmp_path, "alpha", name="locked")
    lock(locked)
    second = install(locked)
    assert first is not None
    assert second is not None
    assert second.environment == first.environment


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_that_does_not_answer_is_refused(
    kind: str, lock: Lock, install: Install, find: Find, tmp_path: Path
) -> None:
    """With what it lacks, and how to make it anew."""
    write = write_needy if kind == "file" else write_folder
    plugin = write(tmp_path, "beta>=2")
    lock(plugin)
    write(tmp_path, "beta<2")
    with pytest.raises(GovernedError, match=r"beta is 2\.1 in it, not <2.*plugins lock") as told:
        install(plugin)
    assert told.value.error_type is ErrorType.PLUGIN_UNAVAILABLE
    write(tmp_path, "beta", "alpha")
    with pytest.raises(GovernedError, match="alpha is not in it"):
        install(plugin)
    assert find(plugin) is None


def test_a_damaged_lock_is_refused(lock: Lock, install: Install, tmp_path: Path) -> None:
    """By uv's words about it."""
    plugin = write_needy(tmp_path, "alpha")
    lock(plugin).write_text("version = ]")
    with pytest.raises(GovernedError, match="read its lock: "):
        install(plugin)


def test_requirements_that_pin_everything_are_taken_as_they_are(
    install: Install, find: Find, tmp_path: Path, wheels: Path
) -> None:
    """A file that is not the one that was pinned is refused."""
    plugin = write_folder(tmp_path, "beta")
    path = wheels / "beta-1.0-py3-none-any.whl"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (plugin / "requirements.txt").write_text(f"beta==1.0 \\\n    --hash=sha256:{digest}\n")
    install(plugin)
    assert versions(find(plugin)) == {"beta": "1.0"}
    write_wheel(wheels, "beta", "1.0", {"beta.py": "STOLEN = True\n"})
    (plugin / "requirements.txt").write_text(f"# again\nbeta==1.0 --hash=sha256:{digest}\n")
    found = find(plugin)
    assert found is None
    installed = install(plugin)
    assert installed is not None
    assert installed.how == "shared", "the same pins, and so the environment of before"
    (plugin / "requirements.txt").write_text(f"beta==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(GovernedError, match=r"correct its requirements\.txt"):
        install(plugin)


def test_requirements_that_leave_something_open_are_resolved(
    install: Install, find: Find, tmp_path: Path
) -> None:
    """Together with the dependencies of the table."""
    plugin = write_folder(tmp_path, "alpha")
    (plugin / "requirements.txt").write_text("beta>=2  # as alpha wants it\n")
    install(plugin)
    assert versions(find(plugin)) == {"alpha": "1.0", "beta": "2.1"}


def test_a_plugin_without_dependencies_has_nothing_to_lock(lock: Lock, tmp_path: Path) -> None:
    """That is what it says."""
    with pytest.raises(GovernedError, match="no dependencies") as told:
        lock(write_needy(tmp_path))
    assert told.value.error_type is ErrorType.VALIDATION_ERROR
    folder = write_folder(tmp_path)
    (folder / "requirements.txt").write_text("beta\n")
    with pytest.raises(GovernedError, match=r"its requirements\.txt is its lock: make that anew"):
        lock(folder)


def test_a_failed_lock_leaves_the_old_one(lock: Lock, tmp_path: Path) -> None:
    """And nothing beside it."""
    plugin = write_needy(tmp_path, "alpha")
    made = lock(plugin)
    before = made.read_bytes()
    write_needy(tmp_path, "gamma")
    with pytest.raises(GovernedError, match="lock: "):
        lock(plugin)
    assert made.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*needy*")) == ["needy.py", "needy.py.lock"]


def test_a_lock_is_written_over_no_file_that_somebody_has_laid_a_link_to(
    lock: Lock, tmp_path: Path
) -> None:
    """Whoever may write to the plugin's folder cannot guess the name that it is written by."""
    precious = tmp_path / "precious"
    precious.write_text("1")
    plugin = write_needy(tmp_path, "beta")
    guessed = tmp_path / f".{plugin.name}.lock.{os.getpid()}"
    guessed.symlink_to(precious)
    (tmp_path / f"{plugin.name}.lock").symlink_to(precious)
    written = lock(plugin)
    assert not written.is_symlink()
    assert precious.read_text() == "1"
    assert guessed.is_symlink()
