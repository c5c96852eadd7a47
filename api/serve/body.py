"""What workers have in common, whatever they serve: what one is made from, and what it looks after.

A ``Body`` is made before the fork. What is open in one worker, and is done there beside serving, is
its ``Upkeep``. Knows neither the HTTP API nor its libraries.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from toolrunner.api.http.tracing import CallTracing, is_possible, is_wanted
from toolrunner.api.metrics.history import History
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.reloading import decided
from toolrunner.api.shown import public
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.registry.plugin_changes import Seen, plugin_changes
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings, SettingsError
from toolrunner.runner.shared_places import SharedPlaces

_LOG = logging.getLogger("toolrunner.serve")
# How old the figures of waiting calls, boxes and residents may be.
NOTE_SECONDS = 1.0
# How soon the room for an operator's commands is made again, once a full disk has some.
RESERVE_SECONDS = 30.0


@dataclass
class Body:
    """What all workers are made from, before the fork.

    ``settings`` change with a reload. ``load`` reads them anew, in the supervisor and in each
    worker. ``places`` are shared by all workers, where there are several. ``only``: the plugins
    whose jobs are run, all if empty. ``secret``: what all of them know alike, and nobody else.
    """

    settings: Settings
    plugin_paths: tuple[str, ...]
    figures: Tables
    load: Callable[[], Settings]
    places: SharedPlaces | None = None
    # The plugins that there are, by name: the supervisor's, to tell what a reload changes.
    plugins: dict[str, Seen] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    # What the figures have been, for who looks at the page.
    history: History = field(default_factory=History)
    secret: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)

    def reload(self) -> bool:
        """Read settings and plugins anew, for workers to come too; whether they can be used."""
        settings = decided(self.settings, self.load, self.plugin_paths, self.plugins)
        if settings is None:
            return False
        self.settings = settings
        return True

    def open(self, context: WorkerContext, stack: ExitStack) -> Upkeep:
        """Open what every worker stands on, in its process; ``stack`` closes it."""
        tracing = _tracing(self.settings)
        if tracing is not None:
            stack.callback(tracing.close)  # after the backend, whose calls end with it
        metrics = Metrics(self.figures, context.number, self.history)
        backend = Backend(
            self.settings,
            plugin_paths=self.plugin_paths,
            observer=metrics.observe,
            shown=public,
            share=None if self.places is None else self.places.share(context.number),
            only=self.only,
        )
        stack.callback(backend.close)
        if tracing is not None:
            backend.plugins.trace_with(tracing)
        return Upkeep(backend, metrics, tracing, self.load)


@dataclass(frozen=True)
class Upkeep:
    """What one worker has open, and does beside serving. Each method may take its time."""

    backend: Backend
    metrics: Metrics
    tracing: CallTracing | None
    load: Callable[[], Settings]

    def note(self) -> None:
        """Take note of what figures tell as of the last second."""
        self.metrics.waiting(self.backend.waiting())
        self.metrics.boxes(self.backend.boxes())
        self.metrics.residents(self.backend.residents())

    def problems(self) -> dict[str, str]:
        """Return what is wrong with each part that every worker has; "" if nothing."""
        return {**self.backend.problems(), "figures": self.metrics.problem()}

    def reload(self) -> frozenset[str]:
        """Read settings and plugins anew, or leave all as it was; return which have changed."""
        before = self.backend.plugins.seen()
        try:
            self.backend.reload(self.load())
        except (DiscoveryError, SettingsError, OSError) as error:
            _LOG.error("plugins stay as they were: %s", error)
        except Exception:  # noqa: BLE001 - logged; the worker goes on
            _LOG.exception("plugins stay as they were: a bug")
        else:
            _LOG.info("plugins are loaded again")
        after = self.backend.plugins.seen()
        return frozenset(change.plugin for change in plugin_changes(before, after))

    def drain(self, delay_seconds: float = 0.0) -> None:
        """Begin no job from now on; wait for those that run for as long as they may take."""
        try:
            self.backend.drain(delay_seconds + self.backend.settings.drain_seconds)
        except Exception:  # noqa: BLE001 - logged; the worker ends all the same
            _LOG.exception("jobs and webhooks are not waited for: a bug")


def _tracing(settings: Settings) -> CallTracing | None:
    """Return what writes traces, if somebody wants them."""
    return CallTracing(settings) if is_wanted(settings) and is_possible() else None
