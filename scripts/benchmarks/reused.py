"""Residents beside what they are measured against: a process that serves call after call.

That process isolates nothing: it is reached by pipes, or through a ``ProcessPoolExecutor``, or
through FastAPI in front of such a pool. The work is the same on all sides: a sum of the standard
library, or a plugin of ``tests/libraries``.
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import door, libraries, sides, work
from benchmarks.growth import quantile, succeeded

PROCESSES = 2
THREADS = 4
PHOTO_BYTES = 68_000
TRIVIAL = "trivial"
Figures = dict[str, Any]
Payload = dict[str, Any]
Run = Callable[[Payload], object]
Side = Callable[[Path], AbstractContextManager[Run]]


@contextmanager
def piped(path: Path) -> Iterator[Run]:
    """Programs reached by their input and output; whoever calls has one to itself."""
    idle: queue.Queue[subprocess.Popen[bytes]] = queue.Queue()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        script = Path(folder) / "script.py"
        script.write_text(path.read_text(encoding="utf-8") + work.REUSED_TAIL, encoding="utf-8")
        for _ in range(PROCESSES):
            process = subprocess.Popen(
                [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            stack.enter_context(process)
            idle.put(process)

        def run(payload: Payload) -> object:
            image = payload.get("image", b"")
            rest = {name: value for name, value in payload.items() if name != "image"}
            process = idle.get()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                head = json.dumps({"payload": rest, "bytes": len(image)}).encode()
                process.stdin.write(head + b"\n" + image)
                process.stdin.flush()
                return json.loads(process.stdout.readline())
            finally:
                idle.put(process)

        yield run


@contextmanager
def pooled(path: Path) -> Iterator[Run]:
    """The same by ``ProcessPoolExecutor``."""
    with tempfile.TemporaryDirectory() as folder:
        run = sides.importable_work(path.read_text(encoding="utf-8"), Path(folder))
        with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
            yield lambda payload: pool.submit(run, payload).result()


def _governed(start: str) -> Side:
    @contextmanager
    def side(path: Path) -> Iterator[Run]:
        with libraries.runner_of(path, start) as (tool_runner, name):
            started = tool_runner.start(name)
            if started.mode != start:
                sys.exit(f"the plugin is not {start}: {started}")
            yield lambda payload: succeeded(tool_runner.run(name, payload))

    return side


SIDES: dict[str, Side] = {
    "reused process": piped,
    "reused pool": pooled,
    "toolrunner warm": _governed("warm"),
    "toolrunner resident": _governed("resident"),
}


@contextmanager
def work_of(name: str) -> Iterator[tuple[Path, Payload]]:
    """Give a plugin's file and what to call it with."""
    if name != TRIVIAL:
        yield (
            libraries.PLUGINS / f"{name}.py",
            {"image": libraries.photo(PHOTO_BYTES), "mime_type": door.MIME},
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        yield work.write_plugin(Path(folder), "work", work.source("stdlib")), work.PAYLOAD


def reused(name: str, side: str, calls: int) -> Figures:
    """One call after the other, and the rate of four threads."""
    with work_of(name) as (path, payload), SIDES[side](path) as run:
        wanted = run(payload)

        def call() -> None:
            if (answer := run(payload)) != wanted:
                sys.exit(f"a wrong answer: {answer!r}")

        for _ in range(2 * PROCESSES):
            call()
        return _figures(lambda: call, calls)


def through_http(name: str, side: str, calls: int) -> Figures:
    """The same by four clients over HTTP, with two processes that do the work."""
    with ExitStack() as stack:
        path, payload = stack.enter_context(work_of(name))
        with piped(path) as run:
            wanted = run(payload)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        source = path.read_text(encoding="utf-8")
        if side == "reused pool":
            (folder / "pool_work.py").write_text(source, encoding="utf-8")
            command = [sys.executable, "-P", "-m", "benchmarks.unconfined_server", str(PROCESSES)]
            places = f"{Path(__file__).parent.parent}:{folder}"
            server = door.announced(command, {"PYTHONPATH": places})
        else:
            copy = folder / path.name
            start = side.removeprefix("toolrunner ")
            copy.write_text(libraries.variant(source, start), encoding="utf-8")
            server = door.served(copy, workers=PROCESSES)
        address = stack.enter_context(server)

        asked = door.Asked.json(name.replace("_", "-"), payload)

        def client() -> door.Call:
            return door.client_of(address, asked, wanted)

        door.warm(client)
        return _figures(client, calls)


def _figures(client: Callable[[], door.Call], calls: int) -> Figures:
    taken = door.latencies(client(), calls)
    return {"p50": quantile(taken, 50), "per_second": door.rate(client, THREADS, 4 * calls)}
