"""Which modules a plugin's calls would see, and what is said of one that has none."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import environments
from tests.conftest import WritePlugin
from tests.runner.environments.test_locks import write_folder
from toolrunner import PluginRegistry
from toolrunner.plugins.discovery import BUNDLED
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.choice import Environments, install_command
from toolrunner.runner.registry.plugin_state import Lack
from toolrunner.runner.settings.settings import Settings

BODY = "def run(payload): return {}\n"
CHANGED = "; since the last install its dependencies or its lock have changed"


def install(state: Path, path: Path) -> str:
    """Return what installs the environment of a plugin at a path."""
    return f"toolrunner plugins install --state {state} {path}"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with nothing in it."""
    return tmp_path / "state"


def registry_of(state: Path, *paths: Path) -> PluginRegistry:
    """Return a registry of some plugins that looks for environments in a state folder."""
    return PluginRegistry.discover(paths, settings=Settings.load(state=state))


def shown(registry: PluginRegistry, name: str = "sample") -> tuple[str, str, str]:
    """Return what is shown of a plugin: its state, its environment, the reason."""
    status = registry.get_status(name)
    return status.state, status.environment, status.reason


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"dependencies": '["tiny>=0.24"]'},
            "PackageNotFoundError: needs tiny>=0.24, which is not installed",
        ),
        (
            {"dependencies": """['a-b[x]>=1; python_version > "3"', "Tiny", "numpy"]"""},
            "PackageNotFoundError: needs a-b[x]>=1 and Tiny, which are not installed",
        ),
        (
            {"dependencies": '["packaging<2"]'},
            "VersionConflict: needs packaging<2, and the runner has {packaging}",
        ),
        (
            {"environment": '"own"'},
            "PackageNotFoundError: needs an environment of its own, which is not installed",
        ),
    ],
)
def test_what_is_missing_is_said_with_the_command_that_installs_it(
    write_plugin: WritePlugin, state: Path, keys: dict[str, str], words: str
) -> None:
    """Each with what the plugin asks for, and what is there instead."""
    from importlib.metadata import version
    from platform import python_version

    path = write_plugin(BODY, **keys)
    registry = registry_of(state, path)
    here = {"packaging": version("packaging"), "python": python_version()}
    assert shown(registry) == ("UNAVAILABLE", "", f"{words.format(**here)}: {install(state, path)}")
    assert not registry.is_available("sample")
    assert registry.plugin("sample").name == "sample"


def test_where_no_python_can_fit_no_command_that_fails_is_named(
    write_plugin: WritePlugin, state: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what to install first; a file of such a name, which is not run, is enough."""
    from platform import python_version

    path = write_plugin(BODY, requires_python='">=3.99.2"')
    words = f"RuntimeError: needs Python >=3.99.2, and this is {python_version()}"
    no_other = "no other of this host fits; install such a CPython where PATH leads to it"
    assert shown(registry_of(state, path))[2] == f"{words}, and {no_other}"
    (open_folder / "python3.99").write_text("")
    monkeypatch.setenv("PATH", str(open_folder))
    assert shown(registry_of(state, path))[2] == f"{words}: {install(state, path)}"


def test_a_change_of_what_was_installed_is_named(write_plugin: WritePlugin, state: Path) -> None:
    """Of what it asks for, or of its lock; that one was removed is no such change."""
    path = write_plugin(BODY, dependencies='["tiny>=2"]')
    words = "PackageNotFoundError: needs tiny>=2, which is not installed"
    assert shown(registry_of(state, path))[2] == f"{words}: {install(state, path)}"
    folder = environments.install(state, path)
    path.with_name(f"{path.name}.lock").write_text("")
    assert shown(registry_of(state, path))[2] == f"{words}{CHANGED}: {install(state, path)}"
    path.with_name(f"{path.name}.lock").unlink()
    write_plugin(BODY, dependencies='["tiny>=3"]')
    assert f">=3, which is not installed{CHANGED}" in shown(registry_of(state, path))[2]
    write_plugin(BODY, dependencies='["tiny>=2"]')
    shutil.rmtree(folder)
    assert CHANGED not in shown(registry_of(state, path))[2]
    for answer in (state / "environments" / "wanted").glob("*.json"):
        answer.unlink()
    assert CHANGED not in shown(registry_of(state, path))[2]


def test_what_is_known_everywhere_is_installed_by_its_name(tmp_path: Path) -> None:
    """Bundled plugins and installed ones; the default state folder need not be named."""
    registry = PluginRegistry.discover()
    palette = registry.plugin("palette")
    assert install_command(palette, None) == "toolrunner plugins install palette"
    installed = replace(palette, path=tmp_path, kind="installed", origin="installed: dist 1.0")
    default = Settings().state
    assert install_command(installed, default) == "toolrunner plugins install palette"
    folder = tmp_path / "it's here"
    elsewhere = replace(palette, path=folder, kind="folder", named=str(folder))
    command = shlex.split(install_command(elsewhere, folder / "state"))
    assert command[3:] == ["--state", str(folder / "state"), str(folder)]


def test_what_a_bundled_plugin_lacks_is_an_extra_until_it_has_been_installed(
    write_plugin: WritePlugin, state: Path
) -> None:
    """So that nobody is woken for one that nobody wants. Of others it is a lack from the start."""
    plugin = registry_of(state, write_plugin(BODY, dependencies='["tiny"]')).plugin("sample")
    bundled = replace(plugin, path=BUNDLED / "sample.py")
    choices = Environments(state)
    assert (choices.choose(plugin).kind, choices.choose(plugin).is_optional) == ("", False)
    assert (choices.choose(bundled).kind, choices.choose(bundled).is_optional) == ("", True)
    environments.install(state, plugin.path)
    assert choices.choose(bundled).kind == "own"
    environments.remove(state, plugin.path)
    assert (choices.choose(bundled).kind, choices.choose(bundled).is_optional) == ("", False)


def test_why_a_plugin_cannot_run_has_one_word(write_plugin: WritePlugin, state: Path) -> None:
    """Its manifest, or its environment; a name that is taken twice is a manifest's."""
    lacking = write_plugin(BODY, dependencies='["tiny"]')
    broken = write_plugin(BODY, name="broken", limits="{ memry_mb = 64 }")
    found = PluginRegistry.discover([lacking, broken], settings=Settings(state=state)).lacking()
    assert {name: found[name] for name in ("sample", "broken")} == {
        "sample": Lack.ENVIRONMENT,
        "broken": Lack.MANIFEST,
    }
    assert "palette" not in found
    twin = broken.with_name("twin.py")
    twin.write_text(lacking.read_text())
    found = PluginRegistry.discover([lacking, twin], settings=Settings(state=state)).lacking()
    assert found["sample"] is Lack.MANIFEST


def test_an_installation_is_noticed_and_so_is_its_end(
    write_plugin: WritePlugin, state: Path
) -> None:
    """Without a reload: by whoever looks, calls or not."""
    path = write_plugin(BODY, dependencies='["tiny"]')
    registry = registry_of(state, path)
    assert shown(registry)[0] == "UNAVAILABLE"
    environments.install(state, path)
    assert shown(registry) == ("LOADED", "own", "")
    assert "sample" in registry.list_available()
    environments.remove(state, path)
    assert registry.get_state("sample") == "UNAVAILABLE"
    environments.install(state, path)
    assert registry.all_states()["sample"] == "LOADED"


def test_two_changes_at_nearly_one_time_are_both_seen(
    write_plugin: WritePlugin, state: Path
) -> None:
    """A folder's time is as coarse as the clock tick."""
    path = write_plugin(BODY, dependencies='["tiny"]')
    registry = registry_of(state, path)
    environments.install(state, path)
    wanted = state / "environments/wanted"
    now = time.time_ns()
    os.utime(wanted, ns=(now, now))
    assert registry.is_available("sample")
    environments.remove(state, path)
    os.utime(wanted, ns=(now, now))
    assert not registry.is_available("sample")


def test_a_changed_dependency_is_missing_again(write_plugin: WritePlugin, state: Path) -> None:
    """And the old one is found again: no environment is taken for what it was not made for."""
    old = write_plugin(BODY, dependencies='["tiny"]')
    registry = registry_of(state, old)
    environments.install(state, old)
    assert shown(registry)[:2] == ("LOADED", "own")
    write_plugin(BODY, dependencies='["tiny>=2"]')
    registry.reload()
    assert shown(registry)[0] == "UNAVAILABLE"
    write_plugin(BODY, dependencies='["tiny"]')
    registry.reload()
    assert shown(registry)[:2] == ("LOADED", "own")
    old.with_name(f"{old.name}.lock").write_text("version = 1\n")
    registry.reload()
    assert shown(registry)[0] == "UNAVAILABLE"


def test_what_was_installed_once_is_never_answered_by_the_runners_packages(
    write_plugin: WritePlugin, state: Path
) -> None:
    """Though they meet all: for other needs there is another environment, or none."""
    path = write_plugin(BODY, dependencies='["numpy>=1"]')
    environments.install(state, path, packages={"numpy 9.9": {"numpy.py": ""}})
    registry = registry_of(state, path)
    assert shown(registry) == ("LOADED", "own", "")
    write_plugin(BODY, dependencies='["numpy>=2"]')
    registry.reload()
    words = (
        "PackageNotFoundError: has had an environment of its own, and one for what it needs now "
        "is not installed"
    )
    command = f": {install(state, path)}"
    assert shown(registry) == ("UNAVAILABLE", "", f"{words}{CHANGED}{command}")
    write_plugin(BODY, dependencies='["numpy>=2"]', environment='"runner"')
    registry.reload()
    assert shown(registry) == ("LOADED", "runner", "")
    write_plugin(BODY, dependencies='["numpy>=1"]')
    environments.remove(state, path)
    registry.reload()
    assert shown(registry) == ("UNAVAILABLE", "", f"{words}{command}")


@pytest.mark.parametrize("lock", ["version = 1\n", "garbage"])
def test_a_lock_asks_for_an_environment(write_plugin: WritePlugin, state: Path, lock: str) -> None:
    """The runner's packages are other versions, though the manifest would take them."""
    path = write_plugin(BODY, dependencies='["numpy"]')
    registry = registry_of(state, path)
    assert shown(registry) == ("LOADED", "runner", "")
    path.with_name(f"{path.name}.lock").write_text(lock)
    registry.reload()
    words = f"PackageNotFoundError: needs what its {path.name}.lock pins, which is not installed"
    command = f": {install(state, path)}"
    assert shown(registry) == ("UNAVAILABLE", "", f"{words}{command}")
    environments.install(state, path)
    assert shown(registry) == ("LOADED", "own", "")
    path.with_name(f"{path.name}.lock").write_text(f"{lock} # again")
    registry.reload()
    assert shown(registry) == ("UNAVAILABLE", "", f"{words}{CHANGED}{command}")


def test_a_requirements_file_is_a_need(tmp_path: Path, state: Path) -> None:
    """Without a word about it in the manifest; and so is each change of it."""
    folder = write_folder(tmp_path)
    requirements = folder / "requirements.txt"
    requirements.write_text("packaging\n")
    registry = registry_of(state, folder)
    words = "PackageNotFoundError: needs what its requirements.txt pins, which is not installed"
    command = f": {install(state, folder)}"
    assert shown(registry, "folder-plugin") == ("UNAVAILABLE", "", f"{words}{command}")
    environments.install(state, plugin_at(folder, ""))
    assert shown(registry, "folder-plugin") == ("LOADED", "own", "")
    requirements.write_text("packaging>=1\n")
    registry.reload()
    assert shown(registry, "folder-plugin") == ("UNAVAILABLE", "", f"{words}{CHANGED}{command}")


def test_an_environment_of_its_own_comes_before_the_runners(
    write_plugin: WritePlugin, state: Path
) -> None:
    """Where the runner's packages would do as well; the manifest can say which one it is."""
    asks = {"dependencies": '["numpy"]'}
    path = write_plugin(BODY, **asks)
    assert shown(registry_of(state, path)) == ("LOADED", "runner", "")
    environments.install(state, path, packages={"numpy 9.9": {"numpy.py": ""}})
    assert shown(registry_of(state, path)) == ("LOADED", "own", "")
    write_plugin(BODY, **asks, environment='"runner"')
    assert shown(registry_of(state, path)) == ("LOADED", "runner", "")
    write_plugin(BODY, dependencies='["numpy>=2"]', environment='"own"')
    words = (
        f"PackageNotFoundError: needs an environment of its own, which is not installed{CHANGED}: "
        f"{install(state, path)}"
    )
    assert shown(registry_of(state, path)) == ("UNAVAILABLE", "", words)


def test_a_plugin_that_wants_the_runners_packages_says_what_these_lack(
    write_plugin: WritePlugin, state: Path
) -> None:
    """No environment helps it."""
    environments.install(state, write_plugin(BODY, dependencies='["tiny"]'))
    path = write_plugin(BODY, dependencies='["tiny"]', environment='"runner"')
    registry = registry_of(state, path)
    assert shown(registry) == (
        "UNAVAILABLE",
        "",
        "PackageNotFoundError: tiny is not installed; install it with: pip install tiny",
    )


def test_an_environment_of_its_own_can_be_empty(write_plugin: WritePlugin, state: Path) -> None:
    """Then its calls see the standard library alone."""
    path = write_plugin(BODY, environment='"own"')
    environments.install(state, path, packages={})
    assert shown(registry_of(state, path)) == ("LOADED", "own", "")


def test_a_plugin_that_asks_for_nothing_needs_nothing(
    write_plugin: WritePlugin, state: Path
) -> None:
    """Not even a state folder."""
    assert shown(registry_of(state, write_plugin(BODY))) == ("LOADED", "runner", "")
    assert not state.exists()


def test_a_lock_that_cannot_be_read_is_a_reason(write_plugin: WritePlugin, state: Path) -> None:
    """It may ask for anything."""
    path = write_plugin(BODY, dependencies='["numpy"]')
    path.with_name(f"{path.name}.lock").mkdir()
    state_, environment, reason = shown(registry_of(state, path))
    assert (state_, environment) == ("UNAVAILABLE", "")
    assert reason.startswith("OSError: its lock cannot be read: ")


def test_a_plugin_registered_by_hand_has_its_environment_too(
    write_plugin: WritePlugin, state: Path
) -> None:
    """Once the registry knows where to look, which it is told once."""
    path = write_plugin(BODY, dependencies='["tiny"]')
    environments.install(state, path)
    registry = PluginRegistry()
    registry.register("sample", instance=path)
    assert shown(registry)[0] == "UNAVAILABLE"
    registry.look_below(state)
    assert shown(registry)[:2] == ("LOADED", "own")
    registry.look_below(state / "elsewhere")
    assert shown(registry)[:2] == ("LOADED", "own")


def test_what_cannot_run_for_another_reason_stays_so(
    write_plugin: WritePlugin, state: Path
) -> None:
    """An installation mends what it can."""
    path = write_plugin(BODY, dependencies='["tiny"]')
    registry = registry_of(state, path)
    registry.mark_unavailable("sample", "somebody's word")
    environments.install(state, path)
    assert shown(registry)[0] == "UNAVAILABLE"
    assert shown(registry)[2] == "somebody's word"


def test_plugins_that_ask_for_the_same_share_one_folder(
    write_plugin: WritePlugin, state: Path
) -> None:
    """The same files, and so the same memory."""
    first = write_plugin(BODY, dependencies='["tiny"]')
    second = write_plugin(BODY, name="second", dependencies='["Tiny"]')
    environments.install(state, first)
    found = Environments(state)
    one, other = (found.choose(plugin_at(path, "")).environment for path in (first, second))
    assert one is not None
    assert one == other
