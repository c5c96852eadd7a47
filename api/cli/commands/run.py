"""The ``run`` command."""

from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.artifacts import ArtifactFolder
from toolrunner.api.cli.calls import Work
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.misplaced import instead_of
from toolrunner.api.cli.options import PluginName
from toolrunner.api.cli.outcomes import call_and_show, refuse_name
from toolrunner.api.cli.payloads import json_payload
from toolrunner.api.cli.session import Session


def run(
    session: Session,
    plugin: PluginName,
    payload: Annotated[
        str,
        typer.Option(
            "--payload",
            metavar="JSON|@FILE|-",
            help="A JSON object, a file that holds one, or - for stdin. "
            'For plugins that take images, "image" is base64.',
        ),
    ] = "{}",
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="A folder for the files that the plugin gives back; made if it is not there.",
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Run a plugin once on a JSON payload."""
    if misplaced := instead_of(plugin, session.registry, "run"):
        return refuse_name(session, plugin, misplaced)
    folder = None if out is None else ArtifactFolder(out)
    work = [Work(partial(json_payload, payload))]
    return call_and_show(session, plugin, work, 1, out=folder)
