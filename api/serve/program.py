"""``toolrunner serve`` from its options to its exit status.

Opens the socket, or refuses to; makes the log and the folder of figures; then the supervisor runs.
Called by the command; makes nothing that a fork must not copy.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolrunner.api.http.context import ContextFilter
from toolrunner.api.http.metrics import dead, prepare
from toolrunner.api.keys import KeyStore
from toolrunner.api.serve.logs import DescriptorHandler, JsonFormatter, TextFormatter, install
from toolrunner.api.serve.supervisor import Supervisor
from toolrunner.api.serve.worker import Worker
from toolrunner.runner.settings.settings import Settings
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
    """What the command line says."""

    settings: Settings
    plugin_paths: tuple[str, ...]
    host: str
    port: int
    workers: int
    insecure: bool
    with_keys: bool
    is_json_log: bool
    level: int


def serve(options: ServeOptions) -> int:
    """Serve until a signal, and return the exit status. Raises RefusedError and OSError."""
    family, address = _resolved(options.host, options.port)
    needs_keys = _needs_keys(options, address)
    handler = DescriptorHandler(_STDERR)
    handler.setFormatter(JsonFormatter() if options.is_json_log else TextFormatter())
    handler.addFilter(ContextFilter())
    with (
        closing(_listening(family, address, options.port)) as listener,
        _metrics_folder(options.settings.kept_state()) as metrics_folder,
    ):
        install(handler, level=options.level)
        # Read once the folder is known, and before the forks: the workers share its memory.
        import prometheus_client  # noqa: F401, PLC0415 - see above

        port = listener.getsockname()[1]
        shown = f"[{address}]" if family == socket.AF_INET6 else address
        worker = Worker(options.settings, options.plugin_paths, metrics_folder, needs_keys)
        return Supervisor(
            listener,
            worker,
            workers=options.workers,
            drain_seconds=options.settings.drain_seconds,
            handler=handler,
            on_ready=lambda: _LOG.info("listening on http://%s:%d", shown, port),
            on_dead=partial(dead, metrics_folder),
        ).run()


@contextmanager
def _metrics_folder(state: Path) -> Iterator[Path]:
    """Yield this server's folder of figures; those that killed servers have left are deleted."""
    folders = state / "figures"
    folders.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(Lease(state / "servers")) as lease:
        for path in folders.iterdir():
            if lease.is_dead(path.name):
                shutil.rmtree(path, ignore_errors=True)
        folder = folders / lease.name
        prepare(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        message = f"--host {host}: {error}; give an address of this host, such as 127.0.0.1"
        raise RefusedError(message) from None
    family, _, _, _, address = found[0]
    return family, str(address[0])


def _needs_keys(options: ServeOptions, address: str) -> bool:
    """Return whether callers need keys; raises RefusedError where they would but nobody has one."""
    # An address may name its interface: fe80::1%eth0.
    is_loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if is_loopback and not options.with_keys:
        return False
    with closing(KeyStore(options.settings.kept_state())) as keys:
        if keys.has_keys():
            return True
    if options.insecure and not options.with_keys:
        return False
    message = (
        "there are no keys yet: make one with `toolrunner keys create NAME`"
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
