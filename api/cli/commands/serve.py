"""The ``serve`` command: its options, and nothing else. Registered by ``app``."""

from __future__ import annotations

import logging
import os
from enum import StrEnum
from typing import Annotated

import typer

from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.options import KeepFailures
from toolrunner.api.cli.session import Session

_MOST_WORKERS = 4


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


def serve(
    session: Session,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="Processes that serve.")
    ] = min(os.cpu_count() or 1, _MOST_WORKERS),
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen elsewhere than on 127.0.0.1 though no key exists."),
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Ask for keys on 127.0.0.1 too; elsewhere always.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="The log on stderr.")
    ] = LogFormat.TEXT,
    keep_failures: KeepFailures = None,
) -> Exit:
    """Serve the HTTP API. SIGTERM finishes what runs; SIGHUP reads settings and plugins anew."""
    session = session.keeping(keep_failures)
    # Half a second of imports, which no other command needs.
    from toolrunner.api.serve import program  # noqa: PLC0415 - see above

    options = program.ServeOptions(
        session.settings.for_serving(),
        session.shared.plugins,
        host,
        port,
        workers,
        insecure,
        keys,
        log_format is LogFormat.JSON,
        logging.DEBUG if session.shared.debug else logging.INFO,
        lambda: session.load_settings().for_serving(),
    )
    try:
        status = program.serve(options)
    except program.RefusedError as error:
        raise Refused(str(error)) from None
    if status not in list(Exit):
        raise typer.Exit(status)
    return Exit(status)
