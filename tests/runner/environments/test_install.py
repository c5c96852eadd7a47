"""``plugins install``: what it makes, for whom, and when it has nothing to do."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runner.environments.conftest import Find, Install
from tests.wheels import write_needy, write_wheel
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.environments.pythons import this_python
from toolrunner.runner.environments.store import RECORD
from toolrunner.runner.environments.wish import wish_of
from toolrunner.runner.environments.workshop import Options
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.layers import Layers


def test_a_plugin_gets_what_it_needs(
    install: Install, find: Find, tmp_path: Path, temporary: Path
) -> None:
    """With what that needs in turn, read-only, the runner's own; and nothing else is left."""
    plugin = write_needy(tmp_path, "alpha")
    assert find(plugin) is None
    installed = install(plugin)
    assert installed is not None
    assert installed.how == "made"
    found = find(plugin)
    assert found == installed.environment
    versions = {one.name: one.version for one in found.packages}
    assert versions == {"alpha": "1.0", "beta": "2.1"}
    assert all(one.bytes > 100 and one.sha256 for one in found.packages)
    assert (found.site_packages / "alpha.py").read_text() == "VERSION = '1.0'\n"
    assert list(found.site_packages.rglob("alpha.*.pyc"))
    assert found.interpreter == Path(this_python().executable)
    for path in (found.folder, *found.folder.rglob("*")):
        mode = path.lstat().st_mode
        assert mode & 0o7222 == 0, path
        assert mode & 0o444 == 0o444
        assert path.lstat().st_uid == os.geteuid()
    assert list((found.folder.parent / "building").iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_who_needs_nothing_gets_nothing(install: Install, tmp_path: Path, state: Path) -> None:
    """Not even a look at where packages are."""
    assert install(write_needy(tmp_path)) is None
    assert list((state / "environments/wanted").iterdir()) == []


def test_what_is_there_is_not_made_again(install: Install, tmp_path: Path) -> None:
    """Neither for the same plugin nor for another one to whose dependencies the same answers."""
    first = install(write_needy(tmp_path, "alpha"))
    assert first is not None
    again = install(write_needy(tmp_path, "alpha"))
    assert again is not None
    assert (again.environment, again.how) == (first.environment, "present")
    other = install(write_needy(tmp_path, "Alpha>=1", "beta", name="other"))
    assert other is not None
    assert (other.environment, other.how) == (first.environment, "shared")


def test_two_versions_of_one_library(install: Install, find: Find, tmp_path: Path) -> None:
    """Live side by side."""
    old = write_needy(tmp_path, "beta<2", name="old")
    new = write_needy(tmp_path, "beta>=2", name="new")
    install(old)
    install(new)
    versions = [
        found.packages[0].version for path in (old, new) if (found := find(path)) is not None
    ]
    assert versions == ["1.0", "2.1"]


def test_a_changed_dependency_has_no_environment(
    install: Install, find: Find, tmp_path: Path
) -> None:
    """Until it is installed as well."""
    install(write_needy(tmp_path, "beta<2"))
    changed = write_needy(tmp_path, "beta>=2")
    assert find(changed) is None
    install(changed)
    assert find(changed) is not None


def test_a_damaged_environment_is_made_again(
    install: Install, find: Find, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as none, and the log says why."""
    plugin = write_needy(tmp_path, "alpha")
    installed = install(plugin)
    assert installed is not None
    folder = installed.environment.folder
    folder.chmod(0o755)
    (folder / RECORD).unlink()
    (folder / RECORD).write_text("{")
    assert find(plugin) is None
    assert "is damaged; install it again" in caplog.text
    again = install(plugin)
    assert again is not None
    assert again.how == "made"
    assert find(plugin) == again.environment


def test_one_that_others_could_change_is_not_used(
    install: Install, find: Find, tmp_path: Path
) -> None:
    """Nor one whose place they could take."""
    plugin = write_needy(tmp_path, "alpha")
    installed = install(plugin)
    assert installed is not None
    for path in (installed.environment.folder, installed.environment.folder.parent):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(0o777)
        assert find(plugin) is None
        path.chmod(before)
        assert find(plugin) is not None


def test_an_interpreter_that_is_gone_takes_its_environments_along(
    install: Install, find: Find, tmp_path: Path
) -> None:
    """They count as none."""
    plugin = write_needy(tmp_path, "alpha")
    installed = install(plugin)
    assert installed is not None
    folder = installed.environment.folder
    text = (folder / RECORD).read_text()
    folder.chmod(0o755)
    (folder / RECORD).unlink()
    (folder / RECORD).write_text(text.replace(this_python().executable, "/gone/python3"))
    (folder / RECORD).chmod(0o444)
    assert find(plugin) is None


def test_nothing_of_a_package_runs_outside_of_a_box(
    install: Install, tmp_path: Path, wheels: Path, open_folder: Path
) -> None:
    """Not its .pth file, its sitecustomize, nor anything else that Python looks for by itself."""
    mark = open_folder / "mark"
    mark.mkdir()
    mark.chmod(0o777)
    line = f"import os; open({str(mark / 'ran')!r} + str(os.getpid()), 'w')\n"
    write_wheel(
        wheels,
        "hostile",
        files={
            "hostile.pth": line,
            "sitecustomize.py": line,
            "usercustomize.py": line,
            "hostile/__init__.py": line,
            "encodings/__init__.py": line,
            "hostile-1.0.data/scripts/tool": f"#!python\n{line}",
            "hostile-1.0.dist-info/entry_points.txt": "[console_scripts]\nuv = hostile:run\n",
        },
    )
    installed = install(write_needy(tmp_path, "hostile"))
    assert installed is not None
    assert (installed.environment.site_packages / "hostile.pth").exists()
    assert list(mark.iterdir()) == []


@pytest.mark.parametrize("abi", [1, 2, 5])
def test_older_kernels(
    abi: int, state: Path, wheels: Path, temporary: Path, layers: Layers, tmp_path: Path
) -> None:
    """Where Landlock is of its first version, it takes a mount namespace: else it is refused."""
    if abi > layers.landlock:
        pytest.skip(f"this kernel has no Landlock ABI {abi}")
    plugin = plugin_at(write_needy(tmp_path, "alpha"), "a test")
    options = Options(offline=True, find_links=(str(wheels),))
    older = replace(layers, landlock=abi)
    expected: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if abi == 1 and "mount" not in layers.namespaces:
        expected = pytest.raises(SetupError, match=r"move files between folders.*Linux 5\.19")
    with expected, Installer(Settings(state=state), options, layers=older) as installer:
        assert installer.install(plugin) is not None
    assert list(temporary.iterdir()) == []


def test_an_environment_for_another_python_than_there_is(install: Install, tmp_path: Path) -> None:
    """Is refused with what this host has."""
    plugin = write_needy(tmp_path, "alpha", python=">=3.99")
    with pytest.raises(
        GovernedError, match=r"needs Python >=3\.99, and this host has: 3\."
    ) as told:
        install(plugin)
    assert told.value.error_type is ErrorType.PLUGIN_UNAVAILABLE


@pytest.mark.parametrize(
    ("dependencies", "words"),
    [
        (("gamma",), ["resolve: ", "gamma was not found", "--find-links FOLDER"]),
        (("alpha", "beta<2"), ["resolve: ", "alpha depend on beta>=2", "its dependencies"]),
        (("alpha==7",), ["resolve: ", "alpha==7", "version"]),
    ],
)
def test_what_cannot_be_had_is_told_in_two_lines(
    dependencies: tuple[str, ...], words: list[str], install: Install, find: Find, tmp_path: Path
) -> None:
    """Uv's own words, and what to do."""
    plugin = write_needy(tmp_path, *dependencies)
    with pytest.raises(GovernedError) as told:
        install(plugin)
    lines = told.value.message.splitlines()
    assert len(lines) == 3
    for word in words:
        assert word in told.value.message
    is_elsewhere = "without --offline" in told.value.message
    assert is_elsewhere == ("beta<2" not in dependencies)
    asked = ErrorType.SANDBOX_ERROR if is_elsewhere else ErrorType.PLUGIN_UNAVAILABLE
    assert told.value.error_type is asked
    assert find(plugin) is None


def test_offline_reaches_for_nothing(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box has no network then, whatever the index is."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    plugin = plugin_at(write_needy(tmp_path, "alpha"), "a test")
    with (
        Installer(Settings(state=state), Options(offline=True)) as installer,
        pytest.raises(GovernedError, match="--offline") as told,
    ):
        installer.install(plugin)
    assert told.value.error_type is ErrorType.SANDBOX_ERROR


def test_an_index_that_cannot_be_reached_is_the_hosts_fault(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the operator's own index is the one that is asked."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    plugin = plugin_at(write_needy(tmp_path, "alpha"), "a test")
    with (
        Installer(Settings(state=state)) as installer,
        pytest.raises(GovernedError, match=r"127\.0\.0\.1:9/simple/alpha.*\n.*HTTPS_PROXY") as told,
    ):
        installer.install(plugin)
    assert told.value.error_type is ErrorType.SANDBOX_ERROR


def test_a_state_folder_of_somebody_else_is_refused(
    install: Install, tmp_path: Path, state: Path
) -> None:
    """What another user could change is nothing to install into."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state.mkdir()
    (state / "environments").symlink_to(elsewhere)
    with pytest.raises(GovernedError, match="--state"):
        install(write_needy(tmp_path, "alpha"))
    assert list(elsewhere.iterdir()) == []
    (state / "environments").unlink()
    assert install(write_needy(tmp_path, "alpha")) is not None
    for folder in ("environments", "environments/building"):
        (state / folder).chmod(0o777)
        with pytest.raises(GovernedError, match="chmod go-w"):
            install(write_needy(tmp_path, "beta"))
        (state / folder).chmod(0o755)


def test_a_wish_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    """Order, case and spaces of dependencies do not matter; what they say does."""

    def key(*dependencies: str) -> str:
        wish = wish_of(plugin_at(write_needy(tmp_path, *dependencies), "a test"))
        assert wish is not None
        return wish.key

    assert key("Alpha >= 1", "beta_x") == key("beta-x", "alpha>=1")
    assert key("alpha>=1") != key("alpha>=2")
