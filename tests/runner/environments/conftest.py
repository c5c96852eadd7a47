"""What the tests of installing share: packages that lie in a folder, and an installer for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wheels import write_wheel
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.install import Installed, Installer, OnProgress, quiet
from toolrunner.runner.environments.store import Environment, EnvironmentStore
from toolrunner.runner.environments.wish import wish_of
from toolrunner.runner.environments.workshop import Options
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Install = Callable[..., Installed | None]
Find = Callable[[Path], Environment | None]


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """What uv is told on the host that runs the tests is not theirs."""
    monkeypatch.setenv("UV_NO_CONFIG", "1")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty TMPDIR that every user may enter and write to, as the usual one."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield folder


@pytest.fixture
def wheels(open_folder: Path) -> Path:
    """A folder with alpha 1.0, which needs beta 2.1 or later; beta 2.1; beta 1.0."""
    folder = open_folder / "wheels"
    write_wheel(folder, "alpha", requires=["beta>=2"])
    write_wheel(folder, "beta", "2.1")
    write_wheel(folder, "beta", "1.0")
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder."""
    return tmp_path / "state"


@pytest.fixture
def install(state: Path, wheels: Path, layers: Layers, temporary: Path) -> Install:  # noqa: ARG001 - its boxes' TMPDIR
    """Return a function that installs what the plugin at a path needs, from that folder alone."""

    def run(
        path: Path,
        *,
        allow_builds: bool = False,
        on_progress: OnProgress = quiet,
        **others: object,
    ) -> Installed | None:
        options = Options(allow_builds, offline=True, find_links=(str(wheels),))
        settings = Settings(state=state)
        with Installer(settings, options, layers=layers, **others) as installer:  # type: ignore[arg-type]  # as the test says
            return installer.install(plugin_at(path, "a test"), on_progress)

    return run


@pytest.fixture
def find(state: Path) -> Find:
    """Return a function that finds the environment of the plugin at a path."""

    def run(path: Path) -> Environment | None:
        wish = wish_of(plugin_at(path, "a test"))
        assert wish is not None
        return EnvironmentStore(state).find(wish)

    return run
