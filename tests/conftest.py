"""What all tests share: plugins written as real files, and the ways a host can isolate."""

from __future__ import annotations

import functools
import signal
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import parallel, second_user, shared_servers, spent
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.probe import probe_host
from toolrunner.sandbox.root_host import box_uid, refusal
from toolrunner.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.postgres import Postgres

collect_ignore = ["toolrunner/pytest_projects"]  # those of authors, which tests run pytest on
ISOLATIONS = ("namespaces", "no-namespaces")
AS_IF: dict[str, int] = {}  # older layers than the host's, by their names
WritePlugin = Callable[..., Path]
MakeRunner = Callable[..., ToolRunner]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the suite's own options, and those of plugins that the contract suites do without."""
    parser.addoption("--parallel", metavar="N", type=int, help="run N processes with tests at once")
    parser.addoption(
        "--spent", action="store_true", help="say where the time goes, with --parallel"
    )
    parser.addoption(
        "--first-user", action="store_true", help="leave out what the second of two users runs"
    )
    parser.addoption(
        "--second-user", action="store_true", help="leave out what is the same for every user"
    )
    parser.addoption(
        "--landlock", metavar="ABI", type=int, help="isolate as a kernel with this ABI at most"
    )
    parser.addoption(
        "--screenshots", metavar="FOLDER", type=Path, help="leave pictures of the page there"
    )
    if not pluginmanager.hasplugin("timeout"):
        for name in ("timeout", "timeout_method"):
            parser.addini(name, "of pytest-timeout, which is not installed")


def pytest_configure(config: pytest.Config) -> None:
    """Do what the suite's own options ask for, and be as in the foreground everywhere."""
    # A shell lets what it starts in the background ignore these.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if (abi := config.getoption("--landlock")) is not None:
        AS_IF["landlock"] = abi
    for name, is_first in {"--first-user": True, "--second-user": False}.items():
        if config.getoption(name):
            config.pluginmanager.register(second_user.Shared(is_first=is_first))
    if config.getoption("--parallel"):
        config.pluginmanager.register(parallel)
        if config.getoption("--spent"):
            config.pluginmanager.register(spent)
    if config.pluginmanager.hasplugin("hypothesispytest"):
        import hypothesis

        # No examples are kept: the checkout may not be this user's to write to.
        hypothesis.settings.register_profile("toolrunner", database=None, deadline=None)
        hypothesis.settings.load_profile("toolrunner")


@functools.cache
def layers_of_this_host() -> Layers:
    """Return everything that this host can isolate, found out once."""
    layers = probe_host().layers
    return replace(layers, landlock=min(layers.landlock, AS_IF.get("landlock", layers.landlock)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out what nearly every test needs, before the processes are forked that run them."""
    if session.config.getoption("--parallel") and session.items:
        layers_of_this_host()
        shared_servers.start({name for item in session.items for name in _fixtures(item)})


def pytest_unconfigure() -> None:
    """End what was started for all."""
    shared_servers.end()


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture(scope="session")
def host_layers() -> Layers:
    """Everything that this host can isolate."""
    return layers_of_this_host()


def skip_unless_taken(layers: Layers) -> Layers:
    """Return the layers; skip where no call is taken with them, whatever is tested.

    As for root without a mount namespace, when Python lies in a folder that only root can enter.
    """
    refused = refusal(layers, box_uid(0))
    if refused is not None:
        pytest.skip(f"{refused.message}; {refused.remedy}")
    return layers


@pytest.fixture
def no_namespaces(host_layers: Layers) -> Layers:
    """The host's layers as in a container that forbids namespaces."""
    return skip_unless_taken(host_layers.without("namespaces"))


@pytest.fixture
def portable() -> Layers:
    """What there is on a system that is no Linux."""
    return skip_unless_taken(Layers(rlimits=True, watchdog=True, portable=True))


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest, host_layers: Layers) -> str:
    """The name of one of the ways in which a host can isolate."""
    if request.param == "no-namespaces":
        skip_unless_taken(host_layers.without("namespaces"))
    elif not host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    return str(request.param)


@pytest.fixture
def layers(isolation: str, host_layers: Layers) -> Layers:
    """The host's layers, once with namespaces and once as in a container that forbids them."""
    return host_layers if isolation == "namespaces" else host_layers.without("namespaces")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this process's own, which a test may stop and start."""
    from tests.postgres import running  # the contract suites do without what it needs

    with running() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh database, which has its tables: of ``postgres``, if a test has it."""
    from tests.postgres import Postgres, programs  # the same

    if "postgres" in request.fixturenames:
        server = request.getfixturevalue("postgres")
    else:
        bin_folder = programs()
        server = Postgres(Path(shared_servers.place_of("postgres")), bin_folder, is_shared=True)
    with server.database() as url:
        yield url


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a box's user can get at, whoever runs the tests."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def write_plugin(tmp_path: Path) -> WritePlugin:
    """Return a function that writes a plugin file and returns its path.

    ``write_plugin(body, name="sample", input="json", **keys)``: the keys are the manifest's, as
    TOML text; limits as ``limits="{ wall_seconds = 2 }"``.
    """
    # Readable by the user of a box, whoever runs the tests.
    tmp_path.chmod(0o755)

    def write(body: str, *, name: str = "sample", input: str = "json", **keys: str) -> Path:  # noqa: A002 - the manifest's own word
        python = keys.pop("requires_python", '">=3.11"')
        lines = [
            "# /// script",
            f"# requires-python = {python}",
            f"# dependencies = {keys.pop('dependencies', '[]')}",
            "# [tool.toolrunner]",
            f'# name = "{name}"',
            '# version = "1.0.0"',
            '# description = "made for a test"',
            f'# input = "{input}"',
            *(f"# {key} = {value}" for key, value in keys.items()),
            "# ///",
        ]
        path = tmp_path / f"{name.replace('-', '_')}.py"
        path.write_text("\n".join(lines) + "\n" + textwrap.dedent(body), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_runner(tmp_path: Path) -> Iterator[MakeRunner]:
    """Return a function that makes a ToolRunner for some plugin files; all are closed after.

    ``make_runner(path, ..., layers=None, degraded=False, pool=None, residents=None, **settings)``.
    """
    made: list[ToolRunner] = []

    def make(
        *paths: Path,
        layers: Layers | None = None,
        degraded: bool = False,
        pool: PoolLimits | None = None,
        residents: ResidentLimits | None = None,
        **settings: object,
    ) -> ToolRunner:
        loaded = Settings.load(state=tmp_path / "state", **settings)
        registry = PluginRegistry.discover(paths, settings=loaded)
        sandbox = Sandbox(layers=layers, degraded=degraded, pool=pool, residents=residents)
        made.append(ToolRunner(registry, settings=loaded, sandbox=sandbox))
        return made[-1]

    yield make
    for tool_runner in made:
        tool_runner.close()
