"""The ``run`` command."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.analysis import manifest_of
from toolrunner.api.cli.artifacts import ArtifactFolder
from toolrunner.api.cli.calls import Work
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.misplaced import instead_of
from toolrunner.api.cli.options import KeepFailures, PluginName
from toolrunner.api.cli.outcomes import call_and_show, refuse_name
from toolrunner.api.cli.payloads import files_payload, json_payload, parse_options
from toolrunner.api.cli.session import Session
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox.limits import MIB

_LONGEST_ENDING = 6


def run(
    session: Session,
    plugin: PluginName,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="For a plugin that takes files: files, folders and patterns such as "
            "'pages/*.pdf', all of them for the one call; - is stdin.",
            show_default=False,
        ),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(
            "--payload",
            metavar="JSON|@FILE|-",
            help="A JSON object, a file that holds one, or - for stdin; {} without it. "
            'For plugins that take images, "image" is base64.',
            show_default=False,
        ),
    ] = None,
    mime_type: Annotated[
        str | None,
        typer.Option(
            "--mime-type", metavar="TYPE", help="Of the files, if their names do not say."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Beside files: JSON, or else text."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="A folder for the files that the plugin gives back; made if it is not there.",
            show_default=False,
        ),
    ] = None,
    keep_failures: KeepFailures = None,
) -> Exit:
    """Run a plugin once, on a JSON payload or on files."""
    session = session.keeping(keep_failures)
    if misplaced := instead_of(plugin, session.registry, "run", *(files or ())):
        return refuse_name(session, plugin, misplaced)
    if files and payload is not None:
        message = "give files or --payload, not both; --option KEY=VALUE goes with files"
        raise Refused(message)
    if mime_type is not None and not files:
        message = "--mime-type goes with files"
        raise Refused(message)
    if option and not files:
        message = "--option goes with files; put it into --payload"
        raise Refused(message)
    given = partial(
        files_payload, files or [], mime_type=mime_type, options=parse_options(option or [])
    )
    make = _payload(session, plugin, given if files else None, payload)
    folder = None if out is None else ArtifactFolder(out)
    ended = call_and_show(session, plugin, [Work(make)], 1, out=folder)
    if folder is not None and ended is Exit.CALLER:
        folder.unmake()
    return ended


def _payload(
    session: Session,
    plugin: str,
    of_files: Callable[..., object] | None,
    payload: str | None,
) -> Callable[[], object]:
    """Return what makes the payload of the call; ``of_files`` of files, if some were given."""
    manifest = manifest_of(session.registry, plugin)
    takes_files = manifest is not None and manifest.input == "files"
    if manifest is None:
        return partial(json_payload, payload or "{}")
    if payload is not None:
        return partial(_of_json, manifest, payload)
    if manifest.input == "json" and not of_files:
        return dict
    if not takes_files or of_files is None:
        return partial(_refuse, manifest)
    most = manifest.limits.capped(session.settings.caps).payload_mb
    return partial(of_files, max_bytes=int(most * MIB))


def _of_json(manifest: Manifest, payload: str) -> object:
    """Return what --payload says, unless it names files: JSON holds what is in them."""
    found = json_payload(payload)
    if isinstance(found, dict) and manifest.input != "json":
        given = found.get("files")
        names = given if isinstance(given, list) else [found.get("image")]
        if any(isinstance(name, str) and _is_name(name) for name in names):
            return _refuse(manifest)
    return found


def _is_name(text: str) -> bool:
    """Tell whether a text is a file's name, as no base64 has a dot, rather than what is in it."""
    return "." in text[-_LONGEST_ENDING:] and not text.startswith("data:")


def _refuse(manifest: Manifest) -> object:
    """Say how the plugin is given what it takes."""
    name = manifest.name
    ways = {
        "image": f"takes images; use: toolrunner analyze {name} IMAGE",
        "json": f"takes JSON; use: toolrunner run {name} --payload '{{...}}', or --payload @FILE",
        "files": f"takes files; use: toolrunner run {name} FILE...",
    }
    raise GovernedError(ErrorType.VALIDATION_ERROR, f"{name} {ways[manifest.input]}")
