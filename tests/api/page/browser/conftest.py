"""What a person's browser shows of a real server: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.api.conftest import common_environment
from tests.api.page.browser.watched import PATIENCE_MS, WIDE, Watched
from tests.api.serve.conftest import Server, starting
from toolrunner.api.key import Role
from toolrunner.api.keys import KeyStore

# Debian's name, and that of others.
PROGRAMS = ("chromium", "chromium-browser")
PLUGINS = Path(__file__).parent / "plugins"


@dataclass(frozen=True)
class Site:
    """A server that runs, with two workers. ``keys``: tokens by name; none where none is needed."""

    server: Server
    address: str
    keys: dict[str, str]
    state: Path

    def client(self, key: str = "operator") -> httpx.Client:
        """Return a client of the API, of the name of a key."""
        headers = {"X-API-Key": self.keys[key]} if self.keys else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=PATIENCE_MS / 1000)


MakeSite = Callable[..., Site]
Visit = Callable[..., Watched]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one browser of this process."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("chromium is not installed (on Debian: apt-get install chromium)")
    # The browser's socket lies in its folder, and a socket's path holds 107 bytes.
    with TemporaryDirectory(dir="/tmp") as home, sync_playwright() as playwright:
        # As root it has no sandbox of its own, and what it shows here is ours.
        started = playwright.chromium.launch(
            executable_path=program,
            chromium_sandbox=False,
            env={**os.environ, "HOME": home, "TMPDIR": home},
        )
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, pytestconfig: pytest.Config) -> Iterator[Visit]:
    """Return a function that opens a tab, and fails after the test if it has complained.

    ``visit(site, path, width=WIDE, beside=None)``: each tab has cookies of its own, or those of the
    one that it is ``beside``.
    """
    pictures = pytestconfig.getoption("--screenshots")
    with ExitStack() as stack:
        opened: list[Watched] = []

        def open_tab(
            site: Site,
            path: str = "/",
            *,
            width: int = WIDE,
            beside: Watched | None = None,
        ) -> Watched:
            if beside is not None:
                context = beside.page.context
            else:
                context = browser.new_context(
                    viewport={"width": width, "height": 900},
                    reduced_motion="reduce",
                )
                stack.callback(context.close)
            opened.append(Watched(context.new_page(), site.address, pictures))
            return opened[-1].open(path)

        yield open_tab
        for watched in opened:
            watched.check()


@pytest.fixture(scope="module")
def site_maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Return a function that starts a server for the tests of one file; all are ended after.

    ``site_maker(*options, keys=False, plugins=(PLUGINS,), **environment_variables)``.
    """
    with ExitStack() as stack:

        def make(
            *options: str,
            keys: bool = False,
            plugins: Sequence[Path] = (PLUGINS,),
            **variables: str,
        ) -> Site:
            folder = tmp_path_factory.mktemp("site")
            folder.chmod(0o755)
            return stack.enter_context(_site(folder, options, plugins, variables, keys=keys))

        yield make


@contextmanager
def _site(
    folder: Path,
    options: Sequence[str],
    plugins: Sequence[Path],
    variables: dict[str, str],
    *,
    keys: bool,
) -> Iterator[Site]:
    tokens = {}
    if keys:
        store = KeyStore(folder / "state")
        tokens["operator"] = store.create("operator", role=Role.OPERATOR)[1]
        tokens["shop"] = store.create("shop")[1]
        store.close()
    environment = {
        **common_environment(),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        **variables,
    }
    words = ["--workers", "2", *(["--keys"] if keys else []), *options]
    words += [word for path in plugins for word in ("--plugins", str(path))]
    servers = starting(environment, folder, "serve", "--port", "0")
    with contextmanager(lambda: servers)() as serve:
        server = serve(*words)
        address = server.ready()
        server.drain_log()
        yield Site(server, address, tokens, folder / "state")


@pytest.fixture(scope="module")
def open_site(site_maker: MakeSite) -> Site:
    """A server that needs no keys."""
    return site_maker()


@pytest.fixture(scope="module")
def closed_site(site_maker: MakeSite) -> Site:
    """A server with the keys of an operator and of a shop."""
    return site_maker(keys=True)
