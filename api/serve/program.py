"""``toolrunner serve`` from its options to its exit status.

Opens the socket, or refuses to; makes the log and the tables of figures; then the supervisor runs.
Called by the command; makes nothing that a fork must not copy.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolrunner.api.http.context import ContextFilter
from toolrunner.api.http.tracing import MISSING, is_possible, is_wanted
from toolrunner.api.key_choice import kept_keys
from toolrunner.api.metrics.recording import begun, buried
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.logs import DescriptorHandler, JsonFormatter, TextFormatter, install
from toolrunner.api.serve.reloading import decided, warn_of_unknown_names
from toolrunner.api.serve.supervisor import Supervisor
from toolrunner.api.serve.worker import Worker
from toolrunner.runner.errors import one_line
from toolrunner.runner.jobs.blob_choice import check_usable
from toolrunner.runner.registry.plugin_state import Lack
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.shared_places import SharedPlaces
from toolrunner.runner.state.leases import Lease

_LOG = logging.getLogger("toolrunner.serve")
_STDERR = 2
_BACKLOG = 2048
_WHAT_TO_DO = {
    errno.EADDRINUSE: "; choose another port with --port, or any that is free with --port 0",
    errno.EACCES: "; ports below 1024 are for root: choose another one with --port",
    errno.EADDRNOTAVAIL: "; give an address of this host with --host",
}


class RefusedError(Exception):
    """What the options ask for cannot be served; the message says what to do instead."""


@dataclass(frozen=True)
class ServeOptions:
    """What the command line says. ``load`` reads the settings anew."""

    settings: Settings
    plugin_paths: tuple[str, ...]
    host: str
    port: int
    workers: int
    insecure: bool
    with_keys: bool
    is_json_log: bool
    level: int
    load: Callable[[], Settings]


def serve(options: ServeOptions) -> int:
    """Serve until a signal, and return the exit status.

    Raises RefusedError, DiscoveryError and OSError.
    """
    family, address = _resolved(options.host, options.port)
    needs_keys, why_nobody = _needs_keys(options, address)
    # Said once here, or else by each worker: a path of plugins that is not there, and the like.
    registry = PluginRegistry.discover(options.plugin_paths, settings=options.settings)
    plugins = registry.seen()
    if options.settings.traces_endpoint and not is_possible():
        raise RefusedError(f"traces_endpoint: {MISSING}")
    try:
        check_usable(options.settings.blobs)
    except ValueError as error:
        raise RefusedError(f"blobs: {error}") from None
    handler = DescriptorHandler(_STDERR)
    handler.setFormatter(JsonFormatter() if options.is_json_log else TextFormatter())
    handler.addFilter(ContextFilter())
    with (
        closing(_listening(family, address, options.port)) as listener,
        _shared_places(options) as places,
    ):
        install(handler, level=options.level)
        if why_nobody:
            # Nobody is let in, and /readyz says why: whoever looks at night finds a server.
            _LOG.error("nobody is let in until the keys can be read: %s", why_nobody)
        if is_wanted(options.settings) and not is_possible():
            # The variables may be set for all programs of a host.
            _LOG.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, and %s", MISSING)
        for name, lack in registry.lacking().items():
            if lack is Lack.MANIFEST:
                _LOG.warning("plugins: %s cannot run: %s", name, one_line(plugins[name].reason))
        warn_of_unknown_names(options.settings, plugins)
        _forget_figures(options.settings.kept_state())
        figures = Tables(options.workers)
        begun(figures)
        port = listener.getsockname()[1]
        shown = f"[{address}]" if family == socket.AF_INET6 else address
        worker = Worker(
            options.settings,
            options.plugin_paths,
            figures,
            needs_keys,
            options.load,
            os.getpid(),
            places,
            plugins,
        )
        return Supervisor(
            listener,
            worker,
            workers=options.workers,
            drain_seconds=options.settings.drain_seconds,
            drain_delay_seconds=options.settings.drain_delay_seconds,
            handler=handler,
            on_ready=lambda: _LOG.info("listening on http://%s:%d", shown, port),
            on_dead=partial(buried, figures),
            on_reload=partial(_reload, worker),
            hung_seconds=options.settings.hung_seconds,
        ).run()


@contextmanager
def _shared_places(options: ServeOptions) -> Iterator[SharedPlaces | None]:
    """Yield what workers take places from; one that is alone has all of them anyway."""
    if options.workers == 1:
        yield None
        return
    settings = options.settings
    numbers = (settings.max_concurrent, settings.max_parallel, settings.max_waiting)
    with closing(SharedPlaces(options.workers, *numbers)) as places:
        yield places


def _reload(worker: Worker) -> bool:
    """Read settings and plugins anew, for workers to come too; return whether they can be used."""
    settings = decided(worker.settings, worker.load, worker.plugin_paths, worker.plugins)
    if settings is None:
        return False
    worker.settings = settings
    return True


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


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        message = f"--host {host}: {error}; give an address of this host, such as 127.0.0.1"
        raise RefusedError(message) from None
    family, _, _, _, address = found[0]
    return family, str(address[0])


def _needs_keys(options: ServeOptions, address: str) -> tuple[bool, str]:
    """Return whether callers need keys, and why these cannot be read, if they cannot.

    Raises RefusedError where they need keys but nobody has one.
    """
    # An address may name its interface: fe80::1%eth0.
    is_loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if is_loopback and not options.with_keys:
        return False, ""
    with kept_keys(options.settings, is_served=True) as keys:
        try:
            if keys.has_keys():
                return True, ""
        except OSError as error:
            return True, str(error)
    if options.insecure and not options.with_keys:
        return False, ""
    along = ", or take a state folder's along (`toolrunner migrate --keys`)"
    message = (
        "there are no keys yet: make one with `toolrunner keys create NAME`"
        f"{along if options.settings.jobs else ''}"
        if options.with_keys
        else f"{options.host} can be reached from elsewhere, and there are no keys: make one with "
        "`toolrunner keys create NAME`, listen on 127.0.0.1, or give --insecure to serve everybody"
    )
    raise RefusedError(message)


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off, which costs each answer 40 ms, where TCP is named alone.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        words = _WHAT_TO_DO.get(error.errno or 0, "")
        message = f"cannot listen on {address}, port {port}: {error.strerror}{words}"
        raise OSError(error.errno, message) from None
    return listener
