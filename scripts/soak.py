#!/usr/bin/env python3
"""Runs good and hostile calls for a while, and says what was left over.

    python scripts/soak.py                          # one minute
    python scripts/soak.py --minutes 60 --threads 8
    python scripts/soak.py --calls 500 --seed 7 --start cold --json
    python scripts/soak.py --serve --minutes 60     # the HTTP service, troubled: see soak_serve.py
    python scripts/soak.py --cluster --jobs 5000 --kills 30   # see soak_cluster.py

The calls are drawn from all shipped faults and from harmless ones, in several threads of one
runner. In the end there may be no more descriptors, threads, processes and files than before,
memory may not have grown with the calls, and the registry must have counted what the callers saw.
The exit status is 1 when anything of that is not so. Ctrl-C ends it early, with the same summary.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import soak_cluster
import soak_serve
from members.program import ProgramError

from toolrunner import PluginRegistry, ToolRunner
from toolrunner.api.attack.surroundings import Surroundings, surroundings
from toolrunner.plugins.corpus import HARMLESS, Fault, faults
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.limits import MIB

GOOD_SHARE = 0.7
# What a runner may grow by for other reasons than calls, such as the largest reply it has read.
MEMORY_SLACK_BYTES, MEMORY_BYTES_PER_CALL = 48 * MIB, 4096
SAMPLE_SECONDS = 0.5
SAMPLES_A_WORD = 10


@dataclass
class Summary:
    """What a soak found. ``leaked``: what was left over. ``books``: what does not balance."""

    seed: int
    seconds: float = 0.0
    calls: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    memory_mib: tuple[float, float] = (0.0, 0.0)
    leaked: list[str] = field(default_factory=list)
    books: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was left over and every call is counted."""
        return not self.leaked and not self.books


class Soak:
    """Calls from several threads, until there have been enough or the time is over."""

    def __init__(
        self,
        tool_runner: ToolRunner,
        chosen: list[tuple[str, dict[str, Any]]],
        good: str,
        seed: int,
    ) -> None:
        """``chosen``: names of hostile plugins with their payloads; ``good``: one that works."""
        self._tool_runner = tool_runner
        self._chosen = chosen
        self._good = good
        self._seed = seed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._working = 0
        self._left = 0
        self._has_spoken = False
        self.outcomes: collections.Counter[str] = collections.Counter()
        # What callers saw of each plugin: successes and errors.
        self.seen: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
        self.memory: list[int] = []

    def run(self, threads: int, seconds: float, calls: int) -> None:
        """Call until ``seconds`` are over, or ``calls`` have been made if it is not 0."""
        self._left = calls
        self._working = threads
        workers = [
            threading.Thread(
                target=self._work_and_tell,
                args=(random.Random(self._seed + n), calls > 0),  # noqa: S311 - drawn again from the same seed
            )
            for n in range(threads)
        ]
        for worker in workers:
            worker.start()
        end = time.monotonic() + seconds
        try:
            # Not by join: in Python 3.11 one that a Ctrl-C ends takes the thread for ended.
            while not self._ended.wait(SAMPLE_SECONDS):
                self._sample()
                if time.monotonic() >= end:
                    self._stop.set()
        except KeyboardInterrupt:
            print("ending: waiting for the calls that run", file=sys.stderr)
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _sample(self) -> None:
        """Measure the memory; say how far it is once calls are made, and then now and again."""
        self.memory.append(psutil.Process().memory_info().rss)
        total = sum(self.outcomes.values())
        if total and (not self._has_spoken or len(self.memory) % SAMPLES_A_WORD == 0):
            self._has_spoken = True
            seconds = len(self.memory) * SAMPLE_SECONDS
            words = f"{seconds:.0f} s: {total} calls, {self.outcomes['success']} of them succeeded"
            print(words, file=sys.stderr)

    def _work_and_tell(self, chance: random.Random, is_counted: bool) -> None:
        try:
            self._work(chance, is_counted)
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    self._ended.set()

    def _work(self, chance: random.Random, is_counted: bool) -> None:
        while not self._stop.is_set():
            with self._lock:
                if is_counted and self._left == 0:
                    return
                self._left -= 1
            name, payload = self._good, dict[str, Any]()
            if chance.random() >= GOOD_SHARE:
                name, payload = chance.choice(self._chosen)
            _result, envelope = self._tool_runner.run(name, payload)
            outcome = "success" if envelope is None else str(envelope["error"]["type"])
            with self._lock:
                self.outcomes[outcome] += 1
                self.seen[name][envelope is not None] += 1


def register(
    registry: PluginRegistry, around: Surroundings, start: Literal["auto", "cold"]
) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Register all faults and a harmless plugin; return what to call them with, and its name."""

    def registered(fault: Fault) -> str:
        plugin = fault.plugin(around.plugins, start=start)
        registry.register(plugin.name, instance=plugin)
        return plugin.name

    chosen = [
        (name, {**around.payload, **payload})
        for fault in faults()
        for name in [registered(fault)]
        for _, payload in fault.payloads
    ]
    return chosen, registered(HARMLESS)


def unbalanced(registry: PluginRegistry, seen: dict[str, list[int]]) -> list[str]:
    """Return where the registry has not counted what the callers saw."""
    found = []
    for status in registry.list_all():
        counted = [status.success_count, status.error_count]
        if counted != seen.get(status.name, [0, 0]) or status.in_flight:
            found.append(
                f"{status.name}: callers saw {seen.get(status.name)}, the registry has {counted} "
                f"and {status.in_flight} in flight"
            )
    return found


def grown(memory: list[int], calls: int) -> list[str]:
    """Return a sentence if the memory has grown with the calls, by the least of each third."""
    third = len(memory) // 3
    if not third:
        return []
    growth = min(memory[-third:]) - min(memory[third : 2 * third] or memory)
    allowed = MEMORY_SLACK_BYTES + MEMORY_BYTES_PER_CALL * calls
    return [f"{growth / MIB:.1f} MiB of memory"] * (growth > allowed)


def soak(
    *,
    seconds: float,
    calls: int = 0,
    threads: int = 4,
    seed: int = 0,
    start: Literal["auto", "cold"] = "auto",
) -> Summary:
    """Run a soak; return what it found."""
    summary = Summary(seed)
    own = psutil.Process()
    with tempfile.TemporaryDirectory(prefix="soak-") as state, surroundings() as around:
        settings = Settings.load(state=Path(state))
        registry = PluginRegistry()
        chosen, good = register(registry, around, start)
        before = around.state()
        descriptors, alive = own.num_fds(), threading.active_count()
        begun = time.monotonic()
        with ToolRunner(registry, settings=settings) as tool_runner:
            work = Soak(tool_runner, chosen, good, seed)
            work.run(threads, seconds, calls)
        summary.seconds = round(time.monotonic() - begun, 1)
        summary.calls = work.outcomes.total()
        summary.outcomes = dict(work.outcomes.most_common())
        if work.memory:
            summary.memory_mib = (round(work.memory[0] / MIB, 1), round(work.memory[-1] / MIB, 1))
        summary.leaked += grown(work.memory, summary.calls)
        summary.leaked += [*around.harm(before), *around.left()]
        if own.num_fds() > descriptors:
            summary.leaked.append(f"{own.num_fds() - descriptors} descriptors")
        if threading.active_count() > alive:
            summary.leaked.append(f"{threading.active_count() - alive} threads")
        around.end_processes()
        summary.books = unbalanced(registry, work.seen)
    return summary


def show(summary: Summary) -> None:
    """Print a summary for a person."""
    print(f"{summary.calls} calls in {summary.seconds} s, seed {summary.seed}")
    for outcome, count in summary.outcomes.items():
        print(f"  {outcome:24} {count}")
    first, last = summary.memory_mib
    print(f"memory of the runner: {first} MiB at first, {last} MiB in the end")
    print("left over: " + ("; ".join(summary.leaked) or "nothing"))
    print("books: " + ("; ".join(summary.books) or "every call is counted once"))


def serve(seconds: float, seed: int, *, as_json: bool) -> int:
    """Run the soak of a server, with a disk of its own if that can be had; return the status."""
    again = soak_serve.with_a_disk([str(Path(__file__).resolve()), *sys.argv[1:]])
    if soak_serve.INSIDE not in os.environ:
        variables = {**os.environ, soak_serve.INSIDE: "1" if again else "0"}
        command = again or [sys.executable, *sys.argv]
        os.execvpe(command[0], command, variables)  # noqa: S606 - a Ctrl-C is for one program alone
    report = soak_serve.soak(seconds=seconds, seed=seed)
    if as_json:
        print(json.dumps({**asdict(report), "clean": report.is_clean}))
    else:
        soak_serve.show(report)
    return 0 if report.is_clean else 1


def cluster(*, jobs: int, kills: int, stop_seconds: float, seed: int, as_json: bool) -> int:
    """Run the soak of a cluster; return the status."""
    try:
        report = soak_cluster.soak(jobs=jobs, kills=kills, stop_seconds=stop_seconds, seed=seed)
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps({**asdict(report), "clean": report.is_clean}))
    else:
        soak_cluster.show(report)
    return 0 if report.is_clean else 1


def main(arguments: list[str]) -> int:
    """Run a soak as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        epilog="example: soak.py --minutes 60 --threads 8",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--calls", type=int, default=0, help="end after so many calls; 0 for none")
    parser.add_argument("--threads", type=int, default=4, help="callers at once (default: 4)")
    parser.add_argument("--seed", type=int, help="draw the same calls again (default: another one)")
    parser.add_argument("--start", choices=["auto", "cold"], default="auto", help="as in manifests")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--serve", action="store_true", help="trouble a server instead")
    parser.add_argument("--cluster", action="store_true", help="trouble a cluster instead")
    parser.add_argument("--jobs", type=int, default=1000, help="of --cluster (default: 1000)")
    parser.add_argument("--kills", type=int, default=10, help="of --cluster (default: 10)")
    parser.add_argument(
        "--stop", type=float, default=30.0, help="seconds that a worker is stopped (default: 30)"
    )
    options = parser.parse_args(arguments)
    if options.minutes <= 0 or options.calls < 0 or options.threads < 1:
        parser.error("--minutes has to be above 0, --calls at least 0, --threads at least 1")
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    if options.serve:
        return serve(options.minutes * 60, seed, as_json=options.json)
    if options.cluster:
        if options.jobs < 100 or not 0 <= options.kills <= options.jobs // 10:
            parser.error("--jobs has to be 100 at least, --kills a tenth of that at most")
        return cluster(
            jobs=options.jobs,
            kills=options.kills,
            stop_seconds=options.stop,
            seed=seed,
            as_json=options.json,
        )
    logging.disable(logging.CRITICAL)  # the faults log much
    summary = soak(
        seconds=options.minutes * 60,
        calls=options.calls,
        threads=options.threads,
        seed=seed,
        start=options.start,
    )
    if options.json:
        print(json.dumps({**asdict(summary), "clean": summary.is_clean}))
    else:
        show(summary)
    return 0 if summary.is_clean else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
