"""``toolrunner serve`` from its options to its exit status.

Opens the socket, or refuses to; what else there is to make is ``prepared``'s. Called by the
command.
"""

from __future__ import annotations

import logging
import os
from contextlib import closing
from dataclasses import dataclass

from toolrunner.api.key_choice import kept_keys
from toolrunner.api.metrics.history import STEP_SECONDS
from toolrunner.api.metrics.recording import buried
from toolrunner.api.serve.listening import Address, RefusedError, listening, resolved
from toolrunner.api.serve.prepared import Options, checked, prepared
from toolrunner.api.serve.ticker import Ticker
from toolrunner.api.serve.worker import Worker
from toolrunner.api.withdrawals import Wires

_LOG = logging.getLogger("toolrunner.serve")


@dataclass(frozen=True)
class ServeOptions:
    """What the command line says of the HTTP API, beside what ``common`` has."""

    common: Options
    host: str
    port: int
    insecure: bool
    with_keys: bool


def serve(options: ServeOptions) -> int:
    """Serve until a signal, and return the exit status.

    Raises RefusedError, DiscoveryError and OSError.
    """
    common = options.common
    address = resolved(options.host, options.port, ("--host", "--port"))
    needs_keys, why_nobody = _needs_keys(options, address)
    registry = checked(common)
    with (
        closing(listening(address)) as listener,
        prepared(common, registry) as ready,
        closing(Wires(common.workers)) as wires,
    ):
        if why_nobody:
            # Nobody is let in, and /readyz says why: whoever looks at night finds a server.
            _LOG.error("nobody is let in until the keys can be read: %s", why_nobody)
        figures, history, url = ready.body.figures, ready.body.history, address.url(listener)

        def on_dead(pid: int, status: int | None) -> str:
            return f"requests lost with it: {buried(figures, pid, status)}"

        return ready.supervise(
            Worker(ready.body, needs_keys, os.getpid(), wires),
            listener=listener,
            drain_delay_seconds=common.settings.drain_delay_seconds,
            on_ready=lambda: _LOG.info("listening on %s", url),
            on_dead=on_dead,
            ticker=Ticker(STEP_SECONDS, lambda: history.note(figures.read())),
        )


def _needs_keys(options: ServeOptions, address: Address) -> tuple[bool, str]:
    """Return whether callers need keys, and why these cannot be read, if they cannot.

    Raises RefusedError where they need keys but nobody has one.
    """
    if address.is_loopback and not options.with_keys:
        return False, ""
    with kept_keys(options.common.settings, is_served=True) as keys:
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
        f"{along if options.common.settings.jobs else ''}"
        if options.with_keys
        else f"{options.host} can be reached from elsewhere, and there are no keys: make one with "
        "`toolrunner keys create NAME`, listen on 127.0.0.1, or give --insecure to serve everybody"
    )
    raise RefusedError(message)
