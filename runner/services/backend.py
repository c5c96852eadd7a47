"""What one server process works with: the services, what they stand on, and its beginning and end.

Made by a door, after the last fork; closed by it. Whoever only wants to run plugins takes a
ToolRunner.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.environments.store import EnvironmentStore
from toolrunner.runner.jobs.blob_choice import blobs_of
from toolrunner.runner.jobs.cluster import open_cluster_store
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.rules import bounds_of
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import JobFigures, JobStore, Stranded
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.services.analysis import AnalysisService
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.services.looks import Known, Looks
from toolrunner.runner.services.plugin_management import (
    Observer,
    PluginManagementService,
    unobserved,
)
from toolrunner.runner.services.shared_state import shared_state
from toolrunner.runner.settings.changes import in_force
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.shared_places import PlacesShare
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.state.reserve import keep_reserve
from toolrunner.runner.tool_runner import ToolRunner
from toolrunner.runner.webhooks.deliverer import Deliverer
from toolrunner.runner.webhooks.message import Shown
from toolrunner.runner.webhooks.outbox import AddressStatus, Outbox
from toolrunner.runner.webhooks.secret_file import SecretFile
from toolrunner.runner.webhooks.signing import Secrets
from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import BoxFigures, ResidentFigures

_LOG = logging.getLogger("toolrunner.jobs")
# Without these parts of the state folder what a server is for cannot be served: it is not ready.
NEEDED = ("jobs",)
FORKED = "this Backend was made before a fork: make one in each process, after it"

_SECONDS_AN_HOUR = 3600
_APART = "call_isolation"
# What ends with the server is told by it, as far as receivers are quick.
_LAST_POSTS_SECONDS = 5.0


# So long a probe waits for stores; and so long they may not answer before nothing is known of them.
_PATIENCE_SECONDS = 1.0
_SILENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the stores has found: what is wrong with two of them, and what is in them."""

    jobs: str = ""
    webhooks: str = ""
    stranded: Sequence[Stranded] = ()
    untaken: Sequence[AddressStatus] = ()
    plugins: Sequence[PluginStatus] = ()


def store_of(settings: Settings, lease: Lease, *, may_migrate: bool = True) -> SqliteJobStore:
    """Return the job store of a state folder, for who holds ``lease``; whoever asks closes it.

    Raises SettingsError where blobs cannot be where ``blobs`` says.
    """
    folder = settings.kept_state()
    return SqliteJobStore(
        folder,
        lease,
        **bounds_of(settings),
        blobs=blobs_of(settings),
        may_migrate=may_migrate,
    )


def _store_of(settings: Settings, lease: Lease) -> tuple[JobStore, Outbox, Secrets]:
    """Return where jobs are kept, what has to be posted of them, and what that is signed with."""
    if settings.jobs:
        shared = open_cluster_store(settings)
        return shared, shared.outbox, shared.secrets
    store = store_of(settings, lease)
    return store, store.outbox, SecretFile(settings.kept_state())


def _tool_runner(
    registry: PluginRegistry, settings: Settings, share: PlacesShare | None
) -> ToolRunner:
    if share is None:
        return ToolRunner(registry, settings=settings)
    # One worker may run what all together may: its boxes have room for that.
    sandbox = build_sandbox(settings, parallel=share.parallel)
    tool_runner = ToolRunner(registry, settings=settings, sandbox=sandbox)
    tool_runner.share_places(share)
    return tool_runner


@dataclass(frozen=True, slots=True)
class LayerStanding:
    """One layer of isolation on this host: what was tried, and why it is off, if it is."""

    layer: str
    is_on: bool
    operation: str
    detail: str = ""
    remedy: str = ""


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
        shown: Shown = dict,
        share: PlacesShare | None = None,
        only: Sequence[str] = (),
    ) -> None:
        """``plugin_paths`` beside those of the settings; ``observer`` hears of each ended call.

        ``shown`` takes out of an error what webhooks may not be told. ``share``: this process's
        part in the places of a server, where it has several. ``only``: the plugins whose jobs are
        run here, each with its tools; all if empty.

        Raises DiscoveryError, and SettingsError or OSError when the state folder cannot be used, or
        the database of a cluster's jobs has other tables than this version.
        """
        self.settings = settings
        folder = settings.kept_state()
        # Where that cannot be, nothing below can be either: this says it for all of them.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            keep_reserve(folder)
            lease = Lease(folder / "workers")
            stack.callback(lease.close)
            registry = PluginRegistry.discover(plugin_paths, settings=settings)
            shared = stack.enter_context(shared_state(settings, registry, lease))
            self._counts, self.together = shared.counts, shared.together
            self._store, self._outbox, secrets = _store_of(settings, lease)
            stack.callback(self._store.close)
            self._tool_runner = _tool_runner(registry, settings, share)
            stack.callback(self._tool_runner.close)
            self.plugins = PluginManagementService(self._tool_runner, observer=observer)
            self.jobs = JobManagementService(self.plugins, self._store, on_created=self._created)
            self.analysis = AnalysisService(self.jobs)
            self._deliverer = Deliverer(
                self._outbox,
                secrets,
                keep_seconds=settings.keep_hours * _SECONDS_AN_HOUR,
                shown=shown,
            )
            self._name_webhooks()
            self._dispatcher = JobDispatcher(
                self._store, self.analysis, threads=settings.job_threads, only=only
            )
            self._closing = stack.pop_all()
        self._looks = Looks(self._look, "toolrunner-look")
        self._counting = Looks(self._count_jobs, "toolrunner-count")
        self._is_forked = False
        forks.in_each_child(self, Backend._in_child)

    def _in_child(self) -> None:
        """Refuse everything: jobs and counts are kept under the parent's lease and connections."""
        self._is_forked = True
        self._tool_runner.closed_because = FORKED

    def _name_webhooks(self) -> None:
        """Post to the addresses of the settings.

        In a cluster a server that names none says nothing: one that was only started without them
        must not take from the others what they post.
        """
        if self.settings.webhooks or not self.settings.jobs:
            self._deliverer.post_to(self.settings.webhooks)

    def _created(self) -> None:
        self._dispatcher.wake()

    def start(self) -> None:
        """Begin to run jobs."""
        if self._is_forked:
            raise forks.ForkedError(FORKED)
        self._dispatcher.start()
        self._deliverer.start()

    def drain(self, seconds: float) -> None:
        """Take no more jobs; wait for those that run, and leave the rest for the next start."""
        if self._is_forked:
            return
        deadline = time.monotonic() + seconds
        self._dispatcher.drain(seconds)
        self._deliverer.drain(min(max(deadline - time.monotonic(), 0.0), _LAST_POSTS_SECONDS))

    def close(self) -> None:
        """Requeue the jobs that still run, and end all calls. A fork has none of them."""
        if self._is_forked:
            return
        self._dispatcher.drain(0)
        self._deliverer.drain(0)
        self._closing.close()

    def not_ready(self, problems: Mapping[str, str] | None = None) -> list[str]:
        """Return why nothing can be served now; empty when it can.

        ``problems``: what ``problems`` has only now returned, for who has asked it already.
        """
        if self._is_forked:
            return [FORKED]
        found = self.problems() if problems is None else problems
        return [*self._tool_runner.gaps(), *(found[part] for part in NEEDED if found[part])]

    def problems(self) -> dict[str, str]:
        """Return what is wrong with each part of the state folder, and what to do; "" if nothing.

        What is not ``NEEDED`` keeps nobody from being served. It takes no longer than a moment: of
        a store that does not answer it is what was known, and how long that is so.
        """
        known = self._looks.newest(_PATIENCE_SECONDS)
        jobs, silence = self._of_jobs(known), known.waiting_seconds
        # A lock or a full disk that PostgreSQL alone knows of shows only when a job is stored.
        if refused := "" if jobs else self._store.refused():
            accepting = f"jobs were refused in the last minute: {refused}"
        elif silence and not jobs:
            accepting = f"the job store has not answered for {silence:.1f} s: jobs may be refused"
        else:
            accepting = ""
        return {
            "jobs": jobs,
            "accepting": accepting,
            "suspensions": self.plugins.suspensions_problem(),
            "counts": self._counts.problem(),
            "webhooks": "" if known.found is None else known.found.webhooks,
        }

    def _of_jobs(self, known: Known[Seen]) -> str:
        """Return why jobs can be neither stored nor read, as far as is known."""
        silence = known.waiting_seconds
        if known.found is not None and (known.found.jobs or not silence):
            return known.found.jobs
        if self.together is not None and (away := self.together.away) is not None:
            return f"the job store: {away}"
        if known.found is None or silence > _SILENT_SECONDS:
            return f"the job store: it has not answered for {silence:.1f} s"
        return ""

    def _look(self) -> Seen:
        jobs = ""
        try:
            self._store.check()
        except OSError as error:
            jobs = f"the job store: {error}"
        webhooks, plugins = self._deliverer.problem(), self.plugins.list_plugins()
        return Seen(jobs, webhooks, self.stranded(), self.untaken(), plugins)

    def seen(self) -> Seen:
        """Return what ``problems`` has looked at last; nothing before that. It waits for nobody."""
        return self._looks.found or Seen()

    def counted_jobs(self) -> tuple[dict[JobStatus, int], JobFigures] | None:
        """Return how many jobs of all callers there are of each status, and what else to tell.

        ``None`` while the store does not say it within a moment; ``problems`` has the reason.
        """
        known = self._counting.newest(_PATIENCE_SECONDS)
        return None if known.waiting_seconds else known.found

    def _count_jobs(self) -> tuple[dict[JobStatus, int], JobFigures] | None:
        try:
            return self.jobs.job_counts(), self.jobs.job_figures()
        except (OSError, sqlite3.Error) as error:
            # The store has said it once, and ``problems`` says what to do about it.
            _LOG.debug("jobs cannot be counted: %s", error)
            return None

    def counts_set_aside(self) -> str:
        """Return where the counts are that could not be used; "" if none are."""
        return self._counts.set_aside()

    def untaken(self) -> list[AddressStatus]:
        """Return the addresses that want no messages, or whose messages were given up."""
        try:
            return [one for one in self.webhooks() if one.has_gone or one.failed]
        except OSError:  # ``problems`` says it
            return []

    def keep_reserve(self) -> None:
        """Have the room that an operator's commands need on a full disk, as far as there is any."""
        keep_reserve(self.settings.kept_state())

    def stranded(self) -> list[Stranded]:
        """Return what jobs wait for that nobody can run; none while jobs cannot be read.

        What this process could run is about to be: it has only not said so yet, after a start.
        """
        try:
            found = self._store.all_stranded()
            here = self._dispatcher.runnable() if found else {}
        except OSError:  # ``problems`` says it, or ``not_ready``
            return []
        return [
            one
            for one in found
            if one.plugin not in here or one.version not in {None, here[one.plugin]}
        ]

    def suspended(self, plugin_name: str, version: str | None) -> str:
        """Return in words why jobs for a version of a plugin wait, if it is only suspended."""
        return self.jobs.suspended(plugin_name, version)

    def reload(self, settings: Settings) -> None:
        """Read the plugins anew, and let those of the settings count that can be changed.

        Raises DiscoveryError, and leaves everything as it was.
        """
        self.plugins.reload(settings)
        self.settings = in_force(self.settings, settings)
        self._name_webhooks()
        self._dispatcher.wake()  # jobs may have waited for what is here only now

    def webhooks(self) -> list[AddressStatus]:
        """Return how each address stands that ended jobs are posted to; raises OSError."""
        return self._outbox.statuses()

    @property
    def most_calls(self) -> int:
        """How many calls may run and wait in this process."""
        return self._tool_runner.most_calls

    def waiting(self) -> int:
        """Return how many calls wait for their turn in this process."""
        return self._tool_runner.waiting

    def installed_environments(self) -> int | None:
        """Return how many environments are installed; ``None`` where nobody can tell."""
        try:
            return EnvironmentStore(self.settings.state).count()
        except OSError:
            return None

    def boxes(self) -> dict[str, BoxFigures]:
        """Return what there is to tell of the warm boxes of this process, by plugin."""
        return self._tool_runner.boxes()

    def residents(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of this process, by plugin."""
        return self._tool_runner.residents()

    def isolation_layers(self) -> list[str]:
        """Return the layers that confine calls here."""
        return list(self._tool_runner.isolation().layers)

    def layers(self) -> list[LayerStanding]:
        """Return how each layer stands here, and for one that is off why."""
        found = [
            LayerStanding(
                one.layer,
                one.ok,
                one.operation,
                "" if one.ok else one.detail or errno.errorcode.get(one.errno or 0, ""),
                one.remedy,
            )
            for one in self._tool_runner.trials()
        ]
        is_apart = _APART not in self._tool_runner.isolation().missing
        return [*found, LayerStanding(_APART, is_apart, "follows from the layers above")]

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
