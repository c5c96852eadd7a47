"""What one server process works with: the services, what they stand on, and its beginning and end.

Made by a door, after the last fork; closed by it. Whoever only wants to run plugins takes a
ToolRunner.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.registry.shared_metrics import SharedMetrics
from toolrunner.runner.services.analysis import AnalysisService
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.services.plugin_management import (
    Observer,
    PluginManagementService,
    unobserved,
)
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.tool_runner import ToolRunner
from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import ResidentFigures
from toolrunner.sandbox.limits import MIB

FORKED = "this Backend was made before a fork: make one in each process, after it"

_SECONDS_AN_HOUR = 3600


class Backend:
    """The services over one state folder. Thread-safe; a context manager.

    Several processes may have one each over the same folder: they share jobs and counts.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        plugin_paths: Sequence[str] = (),
        observer: Observer = unobserved,
    ) -> None:
        """``plugin_paths`` beside those of the settings; ``observer`` hears of each ended call.

        Raises DiscoveryError, and SettingsError or OSError when the state folder cannot be used.
        """
        self.settings = settings
        folder = settings.kept_state()
        with ExitStack() as stack:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lease = Lease(folder / "workers")
            stack.callback(lease.close)
            registry = PluginRegistry.discover(plugin_paths, settings=settings)
            metrics = SharedMetrics(folder, lease)
            stack.callback(metrics.close)
            registry.share(metrics)
            self._store = SqliteJobStore(
                folder,
                lease,
                max_pending=settings.max_jobs,
                keep_seconds=settings.keep_hours * _SECONDS_AN_HOUR,
                keep_bytes=settings.keep_mb * MIB,
            )
            stack.callback(self._store.close)
            self._tool_runner = ToolRunner(registry, settings=settings)
            stack.callback(self._tool_runner.close)
            self.plugins = PluginManagementService(self._tool_runner, observer=observer)
            self.jobs = JobManagementService(self.plugins, self._store, on_created=self._created)
            self.analysis = AnalysisService(self.jobs)
            self._dispatcher = JobDispatcher(
                self._store, self.analysis, threads=settings.job_threads
            )
            self._closing = stack.pop_all()
        self._is_forked = False
        forks.in_each_child(self, Backend._in_child)

    def _in_child(self) -> None:
        """Refuse everything: jobs and counts are kept under the parent's lease and connections."""
        self._is_forked = True
        self._tool_runner.closed_because = FORKED

    def _created(self) -> None:
        self._dispatcher.wake()

    def start(self) -> None:
        """Begin to run jobs."""
        if self._is_forked:
            raise forks.ForkedError(FORKED)
        self._dispatcher.start()

    def drain(self, seconds: float) -> None:
        """Take no more jobs; wait for those that run, and leave the rest for the next start."""
        if not self._is_forked:
            self._dispatcher.drain(seconds)

    def close(self) -> None:
        """Requeue the jobs that still run, and end all calls. A fork has none of them."""
        if self._is_forked:
            return
        self._dispatcher.drain(0)
        self._closing.close()

    def not_ready(self) -> list[str]:
        """Return why nothing can be served now; empty when it can."""
        if self._is_forked:
            return [FORKED]
        reasons = list(self._tool_runner.gaps())
        try:
            self._store.check()
        except OSError as error:
            reasons.append(f"the job store cannot be written: {error}")
        return reasons

    def waiting(self) -> int:
        """Return how many calls wait for their turn in this process."""
        return self._tool_runner.waiting

    def residents(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of this process, by plugin."""
        return self._tool_runner.residents()

    def isolation_layers(self) -> list[str]:
        """Return the layers that confine calls here."""
        return list(self._tool_runner.isolation().layers)

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
