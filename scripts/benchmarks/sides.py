"""What a call is compared with: each side runs the same work, in a process of its own.

A side is a function that makes what it needs and yields the seconds of one call after the other.
All of them end a call when the kernel has reported the end of the process that ran it, where one
runs it.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import work

Side = Callable[[str, Path], Generator[float, None, None]]
_PAYLOAD = json.dumps(work.PAYLOAD)


class NotInstalledError(Exception):
    """A side needs something that this machine does not have."""


def _checked(answer: object) -> None:
    if answer != work.ANSWER:
        sys.exit(f"a wrong answer: {answer!r}")


def _floor(size: str, folder: Path) -> Generator[float, None, None]:
    """A bare fork of the loaded process, a socketpair and a wait: no sandbox at all.

    In a program of its own: what else a process has imported makes its forks slower.
    """
    script = folder / "floor.py"
    script.write_text(work.source(size) + work.FLOOR_TAIL, encoding="utf-8")
    command = [sys.executable, "-I", str(script), _PAYLOAD, json.dumps(work.ANSWER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            process.stdin.write(b"\n")
            process.stdin.flush()
            taken = process.stdout.readline()
            if not taken:
                sys.exit("the floor gave a wrong answer")
            try:
                yield float(taken)
            except GeneratorExit:
                process.stdin.close()
                raise


def _toolrunner(start: str) -> Side:
    def side(size: str, folder: Path) -> Generator[float, None, None]:
        from toolrunner import PluginRegistry, ToolRunner  # noqa: PLC0415 - no other side has it

        path = work.write_plugin(folder, "work", work.source(size), start=start)
        with ToolRunner(PluginRegistry.discover([path])) as tool_runner:
            if start == "warm":
                tool_runner.warm_up("work")
            while True:
                started = time.perf_counter()
                result, error = tool_runner.run("work", work.PAYLOAD)
                yield time.perf_counter() - started
                _checked(result if error is None else error)

    return side


def _process(*prefix: str) -> Side:
    def side(size: str, folder: Path) -> Generator[float, None, None]:
        script = folder / "script.py"
        script.write_text(work.source(size) + work.SUBPROCESS_TAIL, encoding="utf-8")
        command = [*prefix, sys.executable, "-I", str(script)]
        while True:
            started = time.perf_counter()
            done = subprocess.run(
                command, input=_PAYLOAD, capture_output=True, text=True, check=True
            )
            yield time.perf_counter() - started
            _checked(json.loads(done.stdout))

    return side


def _bwrap(size: str, folder: Path) -> Generator[float, None, None]:
    if shutil.which("bwrap") is None:
        message = "bwrap"
        raise NotInstalledError(message)
    options = ("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/")
    yield from _process(*options, "--proc", "/proc", "--dev", "/dev")(size, folder)


def importable_work(source: str, folder: Path) -> Callable[[dict[str, object]], object]:
    """Write the work as a module that the workers of a pool find, and import it."""
    (folder / "pool_work.py").write_text(source, encoding="utf-8")
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    # Or each worker would import this program as well, which nobody's service would do.
    del sys.modules["__main__"].__file__
    run: Callable[[dict[str, object]], object] = importlib.import_module("pool_work").run
    return run


def _pool(method: str) -> Side:
    def side(size: str, folder: Path) -> Generator[float, None, None]:
        run = importable_work(work.source(size), folder)
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["pool_work"])
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            while True:
                started = time.perf_counter()
                answer = pool.submit(run, json.loads(_PAYLOAD)).result()
                yield time.perf_counter() - started
                _checked(json.loads(json.dumps(answer)))

    return side


def _pebble(size: str, folder: Path) -> Generator[float, None, None]:
    try:
        pebble = importlib.import_module("pebble")
    except ImportError as error:
        message = "pebble"
        raise NotInstalledError(message) from error
    run = importable_work(work.source(size), folder)
    context = multiprocessing.get_context("spawn")
    with pebble.ProcessPool(1, max_tasks=1, context=context) as pool:
        while True:
            started = time.perf_counter()
            answer = pool.schedule(run, args=(json.loads(_PAYLOAD),)).result()
            yield time.perf_counter() - started
            _checked(answer)


SIDES: dict[str, Side] = {
    "floor": _floor,
    "toolrunner warm": _toolrunner("warm"),
    "toolrunner cold": _toolrunner("cold"),
    "pool forkserver": _pool("forkserver"),
    "pool spawn": _pool("spawn"),
    "pebble": _pebble,
    "subprocess": _process(),
    "bwrap": _bwrap,
}


def measure(side: str, size: str, calls: int) -> list[float]:
    """Return the seconds of ``calls`` calls; the first few, which start things, are left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        running = SIDES[side](size, folder)
        for _ in range(3):
            next(running)
        taken = [next(running) for _ in range(calls)]
        running.close()
    return taken
