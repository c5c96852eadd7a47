"""The ``serve`` command: its options, and nothing else. Registered by ``app``."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.options import KeepFailures
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.supervising import (
    MOST_WORKERS,
    LogForm,
    LogFormat,
    options_of,
    run_to_its_end,
)

_MOST_BY_DEFAULT = 4


def serve(
    session: Session,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=MOST_WORKERS, help="Processes that serve.")
    ] = min(os.cpu_count() or 1, _MOST_BY_DEFAULT),
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen elsewhere than on 127.0.0.1 though no key exists."),
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Ask for keys on 127.0.0.1 too; elsewhere always.")
    ] = False,
    log_format: LogForm = LogFormat.TEXT,
    keep_failures: KeepFailures = None,
) -> Exit:
    """Serve the HTTP API. SIGTERM finishes what runs; SIGHUP reads settings and plugins anew."""
    common = options_of(session.keeping(keep_failures), workers, log_format)
    from toolrunner.api.serve import program  # noqa: PLC0415 - half a second, for this alone

    options = program.ServeOptions(common, host, port, insecure, keys)
    return run_to_its_end(partial(program.serve, options))
