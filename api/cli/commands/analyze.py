"""The ``analyze`` command."""

import os
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.analysis import ImageWork
from toolrunner.api.cli.calls import Work
from toolrunner.api.cli.exits import Exit
from toolrunner.api.cli.options import PluginName
from toolrunner.api.cli.outcomes import call_and_show
from toolrunner.api.cli.payloads import parse_options
from toolrunner.api.cli.session import Session
from toolrunner.plugins.errors import shown

DEFAULT_JOBS = 4


def analyze(
    session: Session,
    plugin: PluginName,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Files; - reads one from stdin.")
    ],
    mime_type: Annotated[
        str | None,
        typer.Option("--mime-type", metavar="TYPE", help="Do not guess the type from the content."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="For the plugin: JSON, or else text."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many at once.")] = min(
        os.cpu_count() or 1, DEFAULT_JOBS
    ),
) -> Exit:
    """Run a plugin on images, several at once; results come in the order of the files."""
    source = ImageWork(session, plugin, mime_type, parse_options(option or ()))
    work = [Work(partial(source.payload, name), shown(name)) for name in images]
    return call_and_show(session, plugin, work, min(jobs, session.settings.max_concurrent))
