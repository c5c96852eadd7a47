"""The ``migrate`` command: the tables of jobs that several machines share."""

from __future__ import annotations

from typing import Annotated

import typer

from toolrunner.api.cli.console import counted
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.session import Session
from toolrunner.api.key_choice import take_along
from toolrunner.runner.jobs import cluster


def migrate(
    session: Session,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", help="Take the keys of the state folder along: they are all servers'."
        ),
    ] = False,
) -> Exit:
    """Give the PostgreSQL that `jobs` names the tables that this version needs.

    It may be run again, and by several at once. Without it no server uses such a database.
    """
    settings = session.settings
    if keys and not settings.kept_state().is_dir():
        message = f"--keys: there is no folder {settings.state}; name that of the keys with --state"
        raise Refused(message)
    steps = cluster.migrate(settings)
    taken = {"keys": take_along(settings)} if keys else {}
    if session.shared.as_json:
        session.terminal.document({"jobs": str(settings.jobs), "steps": steps, **taken})
        return Exit.DONE
    if steps:
        session.terminal.say(f"{settings.jobs} has gone {counted(len(steps), 'step')}.")
    else:
        session.terminal.say(f"{settings.jobs} has all tables already.")
    if keys:
        session.terminal.say(f"It has {counted(taken['keys'], 'key')} more.")
    return Exit.DONE
