"""What ``serve`` and ``worker`` do alike between their options and their workers' first fork.

The plugins are looked at, the log is begun, and what all workers share is made; then the supervisor
runs. Makes nothing that a fork must not copy.
"""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from toolrunner.api.http.context import ContextFilter
from toolrunner.api.http.tracing import MISSING, is_possible, is_wanted
from toolrunner.api.metrics.recording import begun
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.body import Body
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.listening import RefusedError
from toolrunner.api.serve.logs import DescriptorHandler, JsonFormatter, TextFormatter, install
from toolrunner.api.serve.reloading import warn_of_unknown_names
from toolrunner.api.serve.supervisor import Supervisor
from toolrunner.api.serve.ticker import Ticker
from toolrunner.runner.errors import one_line
from toolrunner.runner.jobs.blob_choice import check_usable
from toolrunner.runner.registry.plugin_state import Lack
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.shared_places import SharedPlaces
from toolrunner.runner.state.leases import Lease

_LOG = logging.getLogger("toolrunner.serve")
_STDERR = 2


@dataclass(frozen=True)
class Options:
    """What the command line says, whatever is served. ``load`` reads the settings anew."""

    settings: Settings
    plugin_paths: tuple[str, ...]
    workers: int
    is_json_log: bool
    level: int
    load: Callable[[], Settings]


@dataclass(frozen=True)
class Prepared:
    """What the supervisor needs: what workers are made from, how many, and where the log goes."""

    body: Body
    workers: int
    handler: logging.Handler

    def supervise(
        self,
        run_worker: Callable[[WorkerContext], None],
        *,
        listener: socket.socket | None,
        on_ready: Callable[[], None],
        on_dead: Callable[[int, int | None], str],
        drain_delay_seconds: float = 0.0,
        ticker: Ticker | None = None,
    ) -> int:
        """Run workers until a signal ends them, and return the exit status."""
        return Supervisor(
            listener,
            run_worker,
            workers=self.workers,
            drain_seconds=self.body.settings.drain_seconds,
            drain_delay_seconds=drain_delay_seconds,
            handler=self.handler,
            on_ready=on_ready,
            on_dead=on_dead,
            on_reload=self.body.reload,
            hung_seconds=self.body.settings.hung_seconds,
            ticker=ticker,
        ).run()


def checked(options: Options) -> PluginRegistry:
    """Return the plugins that there are, once what can be refused has been.

    Said once here, or else by each worker. Raises RefusedError and DiscoveryError.
    """
    registry = PluginRegistry.discover(options.plugin_paths, settings=options.settings)
    if options.settings.traces_endpoint and not is_possible():
        raise RefusedError(f"traces_endpoint: {MISSING}")
    try:
        check_usable(options.settings.blobs)
    except ValueError as error:
        raise RefusedError(f"blobs: {error}") from None
    return registry


@contextmanager
def prepared(
    options: Options, registry: PluginRegistry, only: tuple[str, ...] = ()
) -> Iterator[Prepared]:
    """Begin the log, say in it what is to be looked at, and make what workers share.

    ``only``: the plugins whose jobs are run, all if empty.
    """
    handler = DescriptorHandler(_STDERR)
    handler.setFormatter(JsonFormatter() if options.is_json_log else TextFormatter())
    handler.addFilter(ContextFilter())
    settings, plugins = options.settings, registry.seen()
    with _shared_places(options) as places:
        install(handler, level=options.level)
        if is_wanted(settings) and not is_possible():
            # The variables may be set for all programs of a host.
            _LOG.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, and %s", MISSING)
        for name, lack in registry.lacking().items():
            if lack is Lack.MANIFEST:
                _LOG.warning("plugins: %s cannot run: %s", name, one_line(plugins[name].reason))
        warn_of_unknown_names(settings, plugins)
        _forget_figures(settings.kept_state())
        figures = Tables(options.workers)
        begun(figures)
        body = Body(settings, options.plugin_paths, figures, options.load, places, plugins, only)
        yield Prepared(body, options.workers, handler)


@contextmanager
def _shared_places(options: Options) -> Iterator[SharedPlaces | None]:
    """Yield what workers take places from; one that is alone has all of them anyway."""
    if options.workers == 1:
        yield None
        return
    settings = options.settings
    numbers = (settings.max_concurrent, settings.max_parallel, settings.max_waiting)
    with closing(SharedPlaces(options.workers, *numbers)) as places:
        yield places


def _forget_figures(state: Path) -> None:
    """Delete what servers of earlier versions have left: they counted in files, and some died."""
    servers, figures = state / "servers", state / "figures"
    if not figures.is_dir():
        return
    with suppress(OSError), closing(Lease(servers)) as lease:
        for path in figures.iterdir():
            if not (servers / path.name).exists() or lease.is_dead(path.name):
                shutil.rmtree(path, ignore_errors=True)
    for folder in (servers, figures):
        with suppress(OSError):  # one of them may live
            folder.rmdir()
