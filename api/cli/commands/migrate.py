"""The ``migrate`` command: the tables of jobs that several machines share."""

from __future__ import annotations

from toolrunner.api.cli.console import counted
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.session import Session
from toolrunner.runner.jobs import cluster


def migrate(session: Session) -> Exit:
    """Give the PostgreSQL that `jobs` names the tables that this version needs.

    It may be run again, and by several at once. Without it no server uses such a database.
    """
    settings = session.settings
    steps = cluster.migrate(settings)
    if session.shared.as_json:
        session.terminal.document({"jobs": str(settings.jobs), "steps": steps})
    elif steps:
        session.terminal.say(f"{settings.jobs} has gone {counted(len(steps), 'step')}.")
    else:
        session.terminal.say(f"{settings.jobs} has all tables already.")
    return Exit.DONE
