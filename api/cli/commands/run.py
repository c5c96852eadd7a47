"""The ``run`` command."""

from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.calls import Work
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.options import PluginName
from toolrunner.api.cli.outcomes import call_and_show
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
) -> Exit:
    """Run a plugin once on a JSON payload."""
    return call_and_show(session, plugin, [Work(partial(json_payload, payload))], 1)
