"""What ``serve`` and ``worker`` have in common on the command line: options, and how they end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.session import Session, Shared
from toolrunner.runner.call_log import PRINTED
from toolrunner.runner.settings.settings import Settings

if TYPE_CHECKING:
    from toolrunner.api.serve.prepared import Options

MOST_WORKERS = 256


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


LogForm = Annotated[LogFormat, typer.Option("--log-format", help="The log on stderr.")]


def options_of(
    session: Session,
    workers: int,
    log_format: LogFormat,
    adapted: Callable[[Settings], Settings] = Settings.for_serving,
) -> Options:
    """Return what a supervisor is made from.

    ``adapted``: what of the settings holds for this command, also of those that are reread.
    """
    # Half a second of imports, which no other command needs.
    from toolrunner.api.serve.prepared import Options  # noqa: PLC0415 - see above

    return Options(
        adapted(session.settings),
        session.shared.plugins,
        workers,
        log_format is LogFormat.JSON,
        level_of(session.shared),
        lambda: adapted(session.load_settings()),
    )


def level_of(shared: Shared) -> int:
    """Return from which level on the log is written."""
    if shared.debug:
        return logging.DEBUG
    return PRINTED if shared.verbose else logging.INFO


def run_to_its_end(program: Callable[[], int]) -> Exit:
    """Run a supervised program, and return how it has ended."""
    from toolrunner.api.serve.listening import RefusedError  # noqa: PLC0415 - as above

    try:
        status = program()
    except RefusedError as error:
        raise Refused(str(error)) from None
    if status not in list(Exit):
        raise typer.Exit(status)
    return Exit(status)
