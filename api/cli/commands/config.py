"""The ``config`` command."""

from typing import Annotated

import typer

from toolrunner.api import documents
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.options import Commands, command, examples, group
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views.settings import settings_view
from toolrunner.runner.settings.sources import settings_file

config_app = typer.Typer(cls=Commands, rich_markup_mode=None)


@config_app.command("show", epilog=examples("toolrunner config show", "toolrunner config --json"))
@command
def show_config(
    session: Session,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show also what [plugin.NAME] config holds.")
    ] = False,
) -> Exit:
    """Show the settings file, and every setting, its value, and where it came from."""
    file = settings_file()
    is_there = file is not None and file.exists()
    rows = documents.settings_document(session.settings, session.shared.plugins, reveal=reveal)
    if session.shared.as_json:
        told = {"file": None if file is None else str(file), "file_is_there": is_there}
        session.terminal.document({**told, "settings": rows})
    else:
        session.terminal.show(settings_view(rows, file, is_there=is_there))
    return Exit.DONE


config_app.callback(invoke_without_command=True)(group(show_config))
