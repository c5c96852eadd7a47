"""The ``analyze`` command."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.analysis import ImageWork
from toolrunner.api.cli.answers import AnswerFolder
from toolrunner.api.cli.artifacts import ArtifactFolder
from toolrunner.api.cli.calls import Work
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.inputs import STDIN, Input, inputs
from toolrunner.api.cli.misplaced import instead_of
from toolrunner.api.cli.options import KeepFailures, PluginName
from toolrunner.api.cli.outcomes import call_and_show, refuse_name
from toolrunner.api.cli.payloads import parse_options
from toolrunner.api.cli.progress import is_watched
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.tally import Tally
from toolrunner.plugins.errors import shown

DEFAULT_JOBS = 4


def analyze(
    session: Session,
    plugin: PluginName,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help="Files, folders, and patterns such as 'photos/*.jpg'; - reads one from stdin.",
            show_default=False,
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Also what is in the folders of a folder.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write a JSON file for each image there, and what files the plugin gives back, "
            "instead of showing results.",
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images with a result in --out.")
    ] = False,
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
    keep_failures: KeepFailures = None,
) -> Exit:
    """Run a plugin on images, several at once; results come in the order of the files.

    Of a folder, what is of no type that the plugin takes is passed over. With --out they come as
    they end, and --skip-existing goes on where an earlier run has stopped.
    """
    session = session.keeping(keep_failures)
    if skip_existing and out is None:
        message = "--skip-existing looks for results in --out DIR; name it"
        raise Refused(message)
    images = images or []
    if misplaced := instead_of(plugin, session.registry, "analyze", *images):
        return refuse_name(session, plugin, misplaced)
    if session.registry.get_status(plugin) is None:
        return call_and_show(session, plugin, [Work(dict)], 1)  # which says so, of no file
    if not images:
        message = f"name an image, or a folder of images: toolrunner analyze {plugin} IMAGE..."
        raise Refused(message)
    source = ImageWork(session, plugin, mime_type, parse_options(option or ()))
    answers = AnswerFolder(out) if out is not None else None
    artifacts = ArtifactFolder(out) if out is not None else None
    identity = answers.identity if answers is not None else None
    tally = Tally()
    kept = answers if skip_existing else None

    def found() -> Iterator[Input]:
        return inputs(images, recursive=recursive, out=identity)

    try:
        worst = call_and_show(
            session,
            plugin,
            _work(plugin, source, found(), kept, tally),
            min(jobs, session.settings.max_concurrent),
            total=sum(1 for _ in found()) if is_watched(session.terminal) else 0,
            out=artifacts,
            answers=answers,
            tally=tally,
        )
    except KeyboardInterrupt:
        if answers is not None:
            session.terminal.say("the same command with --skip-existing goes on from here")
        raise
    finally:
        _sum_up(session, plugin, tally, answers)
    if not tally.ended + tally.skipped:
        raise _nothing_found(plugin, images, recursive=recursive)
    return worst


def _sum_up(session: Session, plugin: str, tally: Tally, answers: AnswerFolder | None) -> None:
    """Say what has become of many files; leave no folder behind that nothing has come into."""
    if answers is not None:
        answers.unmake()
    if tally.found > 1 or (tally.found and answers is not None):
        session.terminal.say(tally.words(plugin))


def _nothing_found(plugin: str, images: list[str], *, recursive: bool) -> Refused:
    """Return what is raised where none of the files and folders has an image for the plugin."""
    where = ", ".join(shown(name) for name in images)
    hint = "" if recursive else "; --recursive looks into their folders too"
    return Refused(f"{where}: there is no image that {plugin} takes{hint}")


def _work(
    plugin: str,
    source: ImageWork,
    found: Iterator[Input],
    kept: AnswerFolder | None,
    tally: Tally,
) -> Iterator[Work]:
    """Yield a call for each file that needs one; ``kept`` has the results of an earlier run."""
    for item in found:
        if kept is not None and item.below and kept.has(item.below, plugin):
            tally.skipped += 1
        elif not source.takes(item):
            tally.passed_over += 1
        else:
            tally.absent += item.is_named and item.name != STDIN and not os.path.lexists(item.name)
            yield Work(partial(source.payload, item), shown(item.name), item.below)
            if source.is_hopeless:
                return
