"""What the page costs: to open each view of a large server, and for the calls beside it.

One server of two workers with many plugins and jobs. A view is opened as a browser asks for it,
over a connection that is kept; where Playwright and Chromium are there, by a browser as well, until
all of it has been loaded. Calls are measured in turns, with and without pages that are kept live.
"""

from __future__ import annotations

import http.client
import importlib.util
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import door, work
from benchmarks.growth import quantile

JOBS_OF_A_PLUGIN = 500
_CALLED = "work-0"
_TURNS = 4
# Each is a tab with a stream of its own.
_TABS = ("/", "/page/plugins", "/page/jobs")
_PROGRAMS = ("chromium", "chromium-browser")
# One in so many has failed, or was cancelled.
_FAILED_EVERY, _CANCELLED_EVERY = 50, 75
_DAY_SECONDS = 86_400
Figures = dict[str, Any]


def page(plugins: int, calls: int) -> Figures:
    """Return the milliseconds of each view, and of calls with the page closed and open."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "plugins").mkdir(mode=0o755)
        for number in range(plugins):
            work.write_plugin(folder / "plugins", f"work-{number}", door.ECHO, takes="json")
        program = Path(sys.executable).parent / "toolrunner"
        options = ["--plugins", str(folder / "plugins"), "--state", str(folder / "state")]
        command = [str(program), *options, "serve", "--port", "0", "--workers", "2"]
        with door.announced(command, {}):
            pass  # it has made its files
        job = _write_jobs(folder / "state/jobs.sqlite3", plugins, plugins * JOBS_OF_A_PLUGIN)
        with door.announced(command, {}) as address:
            asked = door.Asked.json(_CALLED, {"text": "x" * 100})

            def client() -> door.Call:
                return door.client_of(address, asked, asked.payload)

            door.warm(client)
            views = (
                "/", "/page/plugins", f"/page/plugins/{_CALLED}", "/page/jobs", f"/page/jobs/{job}",
                "/page/jobs?status=FAILED", f"/page/jobs?plugin={_CALLED}",
                "/page/attacks", "/docs",
            )  # fmt: skip
            return {
                "answered": {view.replace(job, "ID"): _answered(address, view) for view in views},
                "opened": _opened(address, {view.replace(job, "ID"): view for view in views}),
                "calls": _calls(address, client, calls),
            }


def _write_jobs(path: Path, plugins: int, number: int) -> str:
    """Put jobs into a store as they are a day after; return the id of one that has succeeded."""
    now = time.time()
    jobs = []
    for seq in range(1, number + 1):
        status = "SUCCESS"
        if seq % _FAILED_EVERY == 0:
            status = "FAILED"
        elif seq % _CANCELLED_EVERY == 0:
            status = "CANCELLED"
        created = now - _DAY_SECONDS * (1 - seq / number) - 60
        plugin = f"work-{seq % plugins}"
        jobs.append(
            (seq, uuid.uuid4().hex, plugin, status, created, created + 1, created + 2, "1.0.0")
        )
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO jobs (seq, id, plugin, caller, status, created, started, ended, attempts,"
            " retries, fingerprint, version) VALUES (?, ?, ?, 'shop', ?, ?, ?, ?, 1, 0, '', ?)",
            jobs,
        )
        database.executemany(
            "INSERT INTO events (job, number, kind, data) VALUES (?, 1, 'status', ?)",
            [(one[0], f'{{"status": "{one[3]}"}}') for one in jobs],
        )
    return next(str(one[1]) for one in reversed(jobs) if one[3] == "SUCCESS")


def _answered(address: str, view: str, times: int = 20) -> tuple[float, float]:
    """Return the median and the worst of a view's answers."""
    taken = []
    with closing(http.client.HTTPConnection(address)) as connection:
        for _ in range(times):
            started = time.perf_counter()
            connection.request("GET", view)
            response = connection.getresponse()
            response.read()
            taken.append(time.perf_counter() - started)
            if response.status != http.HTTPStatus.OK:
                sys.exit(f"{view}: {response.status}")
    return quantile(taken, 50), max(taken) * 1000


def _opened(address: str, views: dict[str, str], times: int = 5) -> dict[str, float]:
    """Return the median until a browser has loaded all of a view; nothing where there is none."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        return {}
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not everybody has it

    opened: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        tab = browser.new_page()
        for name, view in views.items():
            taken = []
            for _ in range(times + 1):  # the first fills the browser's cache
                tab.goto(f"http://{address}{view}")
                taken.append(tab.evaluate(_LOADED_MS))
            opened[name] = quantile([ms / 1000 for ms in taken[1:]], 50)
        browser.close()
    return opened


_LOADED_MS = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def _calls(
    address: str, client: Callable[[], door.Call], calls: int
) -> dict[str, tuple[float, float]]:
    """Return the median and the 99th percentile of calls, in turns without and with pages."""
    taken: dict[str, list[float]] = {"a call, page closed": [], "a call, page open": []}
    call = client()
    closed, opened = taken.values()
    for _ in range(_TURNS):
        closed += door.latencies(call, calls)
        with _looking(address):
            opened += door.latencies(call, calls)
    return {name: (quantile(values, 50), quantile(values, 99)) for name, values in taken.items()}


@contextmanager
def _looking(address: str) -> Iterator[None]:
    """Have the tabs open, each with its stream, of which something has come already."""
    with ExitStack() as stack:
        for view in _TABS:
            connection = http.client.HTTPConnection(address)
            stack.callback(connection.close)
            connection.request("GET", view)
            text = connection.getresponse().read().decode()
            [stream] = re.findall(r'data-live-address="([^"]+)"', text)
            connection.request("GET", stream.replace("&amp;", "&"))
            response = connection.getresponse()
            response.readline()
            reader = threading.Thread(target=_read, args=(response,))
            reader.start()
            stack.callback(reader.join)
            stack.callback(connection.sock.shutdown, 2)
        yield


def _read(response: http.client.HTTPResponse) -> None:
    while response.readline():
        pass
