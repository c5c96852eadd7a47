"""``toolrunner worker`` from its options to its exit status: it runs jobs, and serves no API.

Called by the command. Neither it nor what it starts imports FastAPI or uvicorn.
"""

from __future__ import annotations

import logging
import re
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from socket import socket

from toolrunner.api.metrics.recording import buried
from toolrunner.api.serve.jobs_worker import JobsWorker
from toolrunner.api.serve.listening import Address, RefusedError, listening, resolved
from toolrunner.api.serve.prepared import Options, checked, prepared
from toolrunner.runner.names import unknown
from toolrunner.runner.settings.settings import Settings

_LOG = logging.getLogger("toolrunner.serve")
_OPTION = "--health"
_PLACE = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:]*)):(?P<port>[0-9]{1,5})")
_MOST_PORT = 65535


@dataclass(frozen=True)
class WorkerOptions:
    """What the command line says of a worker, beside what ``common`` has.

    ``only``: the plugins whose jobs are run, all if empty. ``health``: HOST:PORT, if any.
    """

    common: Options
    only: tuple[str, ...]
    health: str | None


def work(options: WorkerOptions) -> int:
    """Run jobs until a signal, and return the exit status.

    Raises RefusedError, DiscoveryError and OSError.
    """
    common = options.common
    address = None if options.health is None else place_of(options.health)
    registry = checked(common)
    _check_names(options.only, registry.list_plugins())
    with _listener(address) as listener, prepared(common, registry, options.only) as ready:
        figures, settings = ready.body.figures, common.settings

        def on_ready() -> None:
            if listener is not None and address is not None:
                _LOG.info("probes and figures at %s", address.url(listener))
            number = common.workers * settings.job_threads
            _LOG.info(
                "taking jobs of %s, at most %d at once%s",
                _told(settings),
                number,
                f", of these plugins alone: {', '.join(options.only)}" if options.only else "",
            )

        def on_dead(pid: int, status: int | None) -> str:
            buried(figures, pid, status)
            return "what it ran is run again as its retries allow"

        run_worker = JobsWorker(ready.body, is_private=address is None or address.is_loopback)
        return ready.supervise(run_worker, listener=listener, on_ready=on_ready, on_dead=on_dead)


def place_of(health: str) -> Address:
    """Return where ``--health`` leads; raises RefusedError."""
    found = _PLACE.fullmatch(health)
    host = "" if found is None else found["address"] or found["name"] or ""
    if found is None or not host or int(found["port"]) > _MOST_PORT:
        message = f"{_OPTION} {health}: give HOST:PORT, such as 127.0.0.1:8001 or [::1]:8001"
        raise RefusedError(message)
    try:
        return resolved(host, int(found["port"]), (_OPTION, _OPTION))
    except RefusedError as error:
        message = f"{error}, as HOST:PORT"
        raise RefusedError(message) from None


def _check_names(only: tuple[str, ...], known: list[str]) -> None:
    """Refuse names of no plugin: nobody would notice a worker that waits for the wrong jobs."""
    for name in only:
        if name not in known and not any(one.startswith(f"{name}:") for one in known):
            raise RefusedError(f"--plugin {name}: {unknown(name, known)}")


def _listener(address: Address | None) -> AbstractContextManager[socket | None]:
    return nullcontext() if address is None else closing(listening(address))


def _told(settings: Settings) -> str:
    return str(settings.jobs) or f"the state folder {settings.kept_state()}"
