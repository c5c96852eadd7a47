"""How the cost of a warm call grows, and what a limit lets pass. Each part is one function.

A part runs in a process of its own and returns figures ready for JSON: milliseconds unless the
name says otherwise.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks import work
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.processes import children_of, proportional_bytes

MIB = 1 << 20
Figures = dict[str, Any]


@contextmanager
def runner_of(body: str, **options: str) -> Iterator[ToolRunner]:
    """Give a runner with one warm plugin called ``work``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with runner_on(work.write_plugin(folder, "work", body, **options), "work") as tool_runner:
            yield tool_runner


@contextmanager
def runner_on(path: Path, plugin: str) -> Iterator[ToolRunner]:
    """Give a runner with one warm plugin, the one of a file."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state=Path(folder) / "state", max_waiting=1000)
        registry = PluginRegistry.discover([path], settings=settings)
        with ToolRunner(registry, settings=settings) as tool_runner:
            started = tool_runner.start(plugin)
            if started.mode != "warm":
                sys.exit(f"the plugin is not warm: {started}")
            yield tool_runner


def quantile(values: list[float], percent: int) -> float:
    """Return a percentile in milliseconds, of values in seconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


def succeeded(answer: tuple[object, object]) -> object:
    """Return a call's result, or end the measurement."""
    result, error = answer
    if error is not None:
        sys.exit(f"a call failed: {error}")
    return result


def warden_of() -> int:
    """Return the one warm box of this process."""
    (warden,) = [c.pid for c in psutil.Process().children() if children_of(c.pid)]
    return int(warden)


def payload(size: int, calls: int) -> Figures:
    """A warm call with an image of ``size`` bytes, and the same bytes through a socketpair."""
    image = b"\x89PNG\r\n\x1a\n" + b"x" * (size - 8)
    request = {"image": image, "mime_type": "image/png", "options": {}}
    taken, pushed = [], []
    body = "def run(payload):\n    return {'size': len(payload['image'])}\n"
    limits = "{ memory_mb = 1024 }"
    with runner_of(body, takes="image", limits=limits) as tool_runner:
        for number in range(calls + 1):
            started = time.perf_counter()
            result = succeeded(tool_runner.run("work", request))
            elapsed = time.perf_counter() - started
            if result != {"size": size}:
                sys.exit(f"a wrong answer: {result!r}")
            if number:
                taken.append(elapsed)
            pushed.append(push(image))
    return {"bytes": size, "p50": quantile(taken, 50), "push_p50": quantile(pushed, 50)}


def push(data: bytes) -> float:
    """Return the seconds that ``data`` takes through a socketpair to a process that reads it."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        theirs.recv(len(data), socket.MSG_WAITALL)
        theirs.send(b"!")
        os._exit(0)
    theirs.close()
    ours.send(data[:1])  # it runs, and has given up its copy of our end
    started = time.perf_counter()
    ours.sendall(data[1:])
    ours.recv(1)
    elapsed = time.perf_counter() - started
    os.waitpid(pid, 0)
    ours.close()
    return elapsed


def concurrency(threads: int, calls: int) -> Figures:
    """``calls`` warm calls in all, by so many threads at once."""
    taken: list[float] = []
    each = max(1, calls // threads)
    with runner_of(work.source("numpy")) as tool_runner:
        gate = threading.Barrier(threads + 1)

        def caller() -> None:
            gate.wait()
            for _ in range(each):
                started = time.perf_counter()
                succeeded(tool_runner.run("work", work.PAYLOAD))
                taken.append(time.perf_counter() - started)

        for _ in range(3):
            succeeded(tool_runner.run("work", work.PAYLOAD))
        callers = [threading.Thread(target=caller) for _ in range(threads)]
        for thread in callers:
            thread.start()
        gate.wait()
        started = time.perf_counter()
        for thread in callers:
            thread.join()
        elapsed = time.perf_counter() - started
    return {
        "threads": threads,
        "per_second": len(taken) / elapsed,
        "p50": quantile(taken, 50),
        "p99": quantile(taken, 99),
    }


def plugins(number: int, _calls: int) -> Figures:
    """The registration of so many plugins, each, and the processes that it starts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [work.write_plugin(folder, f"p{n}", work.source("stdlib")) for n in range(number)]
        registry = PluginRegistry()
        started = time.perf_counter()
        for path in paths:
            registry.register(path.stem, instance=path)
        elapsed = time.perf_counter() - started
        with ToolRunner(registry, settings=Settings(state=folder / "state")):
            processes = len(psutil.Process().children())
    return {"plugins": number, "each": elapsed / number * 1000, "processes": processes}


def wall(_number: int, calls: int) -> Figures:
    """How long after its wall limit a call that never ends is over."""
    seconds = 0.05
    late = []
    body = "def run(payload):\n    while True:\n        pass\n"
    with runner_of(body, limits=f"{{ wall_seconds = {seconds} }}") as tool_runner:
        for _ in range(calls):
            started = time.perf_counter()
            _result, error = tool_runner.run("work", {})
            late.append(time.perf_counter() - started - seconds)
            if error is None or error["error"]["type"] != "TimeLimitExceeded":
                sys.exit(f"no timeout: {error}")
    return {"p50": quantile(late, 50), "p99": quantile(late, 99)}


def bomb(_number: int, calls: int) -> Figures:
    """The most that a memory bomb held beyond what the import took, as part of its limit.

    Read by a thread of its own from the box's processes, as often as it can.
    """
    limit = 128
    body = (
        "def run(payload):\n    kept = []\n    while True:\n        kept.append(b'x' * (1 << 20))\n"
    )
    most = 0
    with runner_of(body, limits=f"{{ memory_mb = {limit} }}") as tool_runner:
        warden = warden_of()
        base = max(resident(pid) for pid in children_of(warden))
        done = threading.Event()

        def sampler() -> None:
            nonlocal most
            while not done.is_set():
                most = max(most, *(resident(pid) for pid in children_of(warden)))

        thread = threading.Thread(target=sampler)
        thread.start()
        for _ in range(calls):
            _result, error = tool_runner.run("work", {})
            if error is None or error["error"]["type"] != "MemoryLimitExceeded":
                sys.exit(f"no limit: {error}")
        done.set()
        thread.join()
    return {"limit_mb": limit, "of_the_limit": (most - base) / (limit * MIB)}


def resident(pid: int) -> int:
    """Return a process's resident bytes, 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGESIZE")


def idle(_number: int, _calls: int) -> Figures:
    """The memory (MB, PSS) of an idle box of a plugin without libraries, and its processes."""
    with runner_of(work.source("stdlib")) as tool_runner:
        for _ in range(3):
            succeeded(tool_runner.run("work", work.PAYLOAD))
        warden = warden_of()
        measured = []
        for _ in range(20):
            pids = [warden, *children_of(warden)]
            with suppress(OSError):  # a call's process, which is answered before it has ended
                measured.append((len(pids), sum(proportional_bytes(pid) for pid in pids)))
            time.sleep(0.01)
    processes, total = min(measured)
    return {"pss_mb": total / MIB, "processes": processes}


def soak(_number: int, calls: int) -> Figures:
    """Descriptors, processes, scratch mounts and memory at a tenth of the calls and at the end."""
    marks = []
    with runner_of(work.source("stdlib")) as tool_runner:
        own = psutil.Process()
        for number in range(1, calls + 1):
            succeeded(tool_runner.run("work", work.PAYLOAD))
            if number in (calls // 10, calls):
                marks.append(settled(own))
    first, last = marks[0], marks[-1]
    return {"calls": calls, "first": first, "last": last}


def settled(own: psutil.Process) -> Figures:
    """Return what is in use once the last call's traces are gone."""
    warden = warden_of()
    counts = []
    for _ in range(20):
        mounts = Path(f"/proc/{warden}/mounts").read_text("utf-8").count(" /scratch/")
        processes = len(own.children(recursive=True))
        counts.append((own.num_fds(), psutil.Process(warden).num_fds(), processes, mounts))
        time.sleep(0.01)
    names = ("descriptors", "warden_descriptors", "processes", "scratch_mounts")
    figures: Figures = dict(zip(names, min(counts), strict=True))
    figures["rss_mb"] = own.memory_info().rss / MIB
    return figures


PARTS: dict[str, Callable[[int, int], Figures]] = {
    "payload": payload,
    "concurrency": concurrency,
    "plugins": plugins,
    "wall": wall,
    "bomb": bomb,
    "idle": idle,
    "soak": soak,
}


def median(values: list[float]) -> float:
    """Return the median; of none, not a number."""
    return statistics.median(values) if values else float("nan")
