"""Figures for Prometheus, of all workers together.

prometheus_client's multiprocess mode keeps each worker's figures in files of a folder, which the
supervisor prepares before the first fork. The library reads the folder's name when it is imported
for the first time, so that happens inside a worker alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from toolrunner.api.version import version
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.services.plugin_management import Executed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from prometheus_client import CollectorRegistry, Counter, Gauge

    from toolrunner.runner.services.backend import Backend
    from toolrunner.sandbox.ending import ResidentFigures

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# One worker's files, as the library names them, and room in each for a thousand plugins.
_FILES, _FILE_BYTES = ("counter", "histogram", "gauge_livesum", "gauge_livemax"), 4 << 20
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_KILLS = frozenset(
    {
        ErrorType.CANCELLED,
        ErrorType.TIME_LIMIT_EXCEEDED,
        ErrorType.CPU_LIMIT_EXCEEDED,
        ErrorType.MEMORY_LIMIT_EXCEEDED,
        ErrorType.PROCESS_LIMIT_EXCEEDED,
        ErrorType.DISK_LIMIT_EXCEEDED,
        ErrorType.OUTPUT_LIMIT_EXCEEDED,
    }
)


def prepare(folder: Path) -> None:
    """Make the folder, empty. The supervisor calls it before it forks the first worker."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    os.environ[_FOLDER] = str(folder)


def dead(folder: Path, pid: int) -> None:
    """Forget what a worker had in flight. Its counts stay."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def _reserve(folder: Path) -> None:
    """Make this process's files, with disk space behind every byte.

    The library makes sparse ones and writes to them through mappings: where the disk is full by
    then, the kernel ends the writer by SIGBUS.
    """
    for name in _FILES:
        path = folder / f"{name}_{os.getpid()}.db"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
        finally:
            os.close(descriptor)


class Metrics:
    """One worker's figures, and the way to everybody's. Made after the fork. Thread-safe."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, folder: Path) -> None:
        """``folder`` has been prepared; raises OSError when the disk has no room for the files."""
        os.environ[_FOLDER] = str(folder)
        _reserve(folder)
        import prometheus_client as prometheus  # noqa: PLC0415 - it reads the environment then

        self._folder = folder
        registry = prometheus.CollectorRegistry()
        self._calls = prometheus.Counter(
            "toolrunner_calls", "Calls that have ended.", ["plugin", "outcome"], registry=registry
        )
        self._kills = prometheus.Counter(
            "toolrunner_kills", "Calls that were killed.", ["plugin", "reason"], registry=registry
        )
        self._seconds = prometheus.Histogram(
            "toolrunner_call_seconds",
            "Duration of calls, with their wait.",
            ["plugin"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._waiting = prometheus.Gauge(
            "toolrunner_waiting",
            "Calls that wait for their turn, as of the last second.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._residents = _ResidentMetrics(prometheus, registry)

    def observe(self, executed: Executed) -> None:
        """Count a call that has ended. A plugin that nobody knows is ""."""
        self._calls.labels(executed.plugin, executed.outcome).inc()
        self._seconds.labels(executed.plugin).observe(executed.seconds)
        if executed.outcome in _KILLS:
            self._kills.labels(executed.plugin, executed.outcome).inc()

    def waiting(self, calls: int) -> None:
        """Note how many calls wait in this worker now."""
        self._waiting.set(calls)

    def residents(self, figures: Mapping[str, ResidentFigures]) -> None:
        """Note what there is to tell of this worker's residents now."""
        self._residents.note(figures)

    def exposition(self, backend: Backend) -> bytes:
        """Return everybody's figures in Prometheus' text format."""
        import prometheus_client as prometheus  # noqa: PLC0415 - see above
        from prometheus_client import multiprocess  # noqa: PLC0415 - see above

        everybody = prometheus.CollectorRegistry()
        multiprocess.MultiProcessCollector(everybody, path=str(self._folder))  # type: ignore[no-untyped-call]  # the library has no types here
        return prometheus.generate_latest(everybody) + _now(backend)


class _ResidentMetrics:
    """One worker's figures of its residents. Labels are names of plugins and a closed list."""

    def __init__(self, prometheus: ModuleType, registry: CollectorRegistry) -> None:
        def gauge(name: str, about: str, mode: str = "livesum") -> Gauge:
            made: Gauge = prometheus.Gauge(
                name, f"{about}, as of the last second.", ["plugin"],
                multiprocess_mode=mode, registry=registry,
            )  # fmt: skip
            return made

        self._processes = gauge("toolrunner_residents", "Resident processes")
        self._idle = gauge("toolrunner_residents_idle", "Resident processes that serve nobody")
        self._waiting = gauge("toolrunner_residents_waiting", "Calls that wait for a resident")
        self._memory = gauge("toolrunner_residents_memory_bytes", "Memory of resident processes")
        self._oldest = gauge(
            "toolrunner_residents_oldest_seconds", "Age of the oldest resident process", "livemax"
        )
        self._calls: Counter = prometheus.Counter(
            "toolrunner_residents_calls", "Calls that residents have served.", ["plugin"],
            registry=registry,
        )  # fmt: skip
        self._turns: Counter = prometheus.Counter(
            "toolrunner_residents_turns", "Turns that residents have had: a call or a batch each.",
            ["plugin"], registry=registry,
        )  # fmt: skip
        self._replaced: Counter = prometheus.Counter(
            "toolrunner_residents_replaced", "Resident processes that have been ended.",
            ["plugin", "reason"], registry=registry,
        )  # fmt: skip
        self._noted: Mapping[str, ResidentFigures] = {}

    def note(self, figures: Mapping[str, ResidentFigures]) -> None:
        """Set what is there now, and count what has come since."""
        noted, self._noted = self._noted, figures
        for plugin, now in figures.items():
            before = noted.get(plugin)
            self._processes.labels(plugin).set(now.processes)
            self._idle.labels(plugin).set(now.idle)
            self._waiting.labels(plugin).set(now.waiting)
            self._memory.labels(plugin).set(now.memory_bytes)
            self._oldest.labels(plugin).set(now.oldest_seconds)
            self._calls.labels(plugin).inc(now.calls - (before.calls if before else 0))
            self._turns.labels(plugin).inc(now.turns - (before.turns if before else 0))
            for reason, count in now.replaced.items():
                known = before.replaced.get(reason, 0) if before else 0
                self._replaced.labels(plugin, reason).inc(count - known)


def _now(backend: Backend) -> bytes:
    """Return what is the same whoever is asked: jobs, calls in flight, layers, build."""
    lines: list[str] = []

    def gauge(name: str, about: str, samples: dict[str, float]) -> None:
        lines.extend((f"# HELP {name} {about}", f"# TYPE {name} gauge"))
        lines.extend(f"{name}{labels} {value:g}" for labels, value in samples.items())

    plugins = backend.plugins.list_plugins()
    jobs = backend.jobs.job_counts()
    gauge(
        "toolrunner_in_flight",
        "Calls that run or wait now.",
        {f'{{plugin="{one.name}"}}': one.in_flight for one in plugins},
    )
    gauge(
        "toolrunner_jobs",
        "Jobs that are kept.",
        {f'{{status="{status}"}}': number for status, number in jobs.items()},
    )
    gauge(
        "toolrunner_isolation_layer",
        "Layers that confine calls.",
        {f'{{layer="{layer}"}}': 1 for layer in backend.isolation_layers()},
    )
    gauge(
        "toolrunner_build_info", "What runs.", {f'{{version="{version() or "not installed"}"}}': 1}
    )
    return ("\n".join(lines) + "\n").encode()
