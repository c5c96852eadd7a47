"""The ``replay`` command: runs failed calls again that ``--keep-failures`` has written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from toolrunner.api.cli.calls import Done, Work, refusal, run_calls
from toolrunner.api.cli.console import plain
from toolrunner.api.cli.exits import Exit, Refused, exit_of
from toolrunner.api.cli.outcomes import show
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views import calls as views
from toolrunner.api.documents import plugin_of
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.replay.bundle import Bundle, BundleError, FailedCall, bundles_at
from toolrunner.runner.replay.comparison import (
    Outcome,
    cause_of,
    changes,
    in_words,
    limits_again,
    outcome_of,
)
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import ToolRunner

_STYLES = {Outcome.SUCCEEDED: "green", Outcome.SAME: "red"}


def replay(
    session: Session,
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="What --keep-failures has written: one failed call, or a folder of them.",
            show_default=False,
        ),
    ],
    current_limits: Annotated[
        bool,
        typer.Option(
            "--current-limits", help="Under the limits of now, and not those of the failed call."
        ),
    ] = False,
) -> Exit:
    """Run failed calls again, and say whether they fail as they did.

    Each with its payload, under the limits that were in force. A plugin that is suspended is run
    all the same, and what comes of it counts for nobody. A plugin of --plugins takes the place of
    one of the settings that has its name.
    """
    session = replace(session, paths_win=True)
    try:
        found = [folder for path in bundles for folder in bundles_at(Path(path))]
    except BundleError as error:
        raise Refused(str(error)) from None
    worst, counts = Exit.DONE, dict.fromkeys(Outcome, 0)
    for folder in found:
        try:
            again = _run(session, Bundle(folder), current_limits=current_limits)
        except BundleError as error:
            again = _unusable(folder, error)
        _show(session, again)
        counts[again.outcome] += 1
        worst = max(worst, exit_of(again.done.envelope))
    if len(found) > 1:
        words = ", ".join(f"{_WORDS[one]}: {number}" for one, number in counts.items() if number)
        session.terminal.say(f"{len(found)} failed calls; {words}")
    return worst


_WORDS = {
    Outcome.SAME: "fail as they did",
    Outcome.SUCCEEDED: "succeed now",
    Outcome.OTHER: "fail in another way",
    Outcome.NOT_RUN: "could not be run",
}


@dataclass(frozen=True, slots=True)
class _Again:
    """A failed call that was run again; ``call`` is ``None`` for what is none that can be read."""

    call: FailedCall | None
    done: Done
    outcome: Outcome
    changes: tuple[str, ...]


def _run(session: Session, bundle: Bundle, *, current_limits: bool) -> _Again:
    call, settings = bundle.call, session.settings
    caps = settings.caps if current_limits else limits_again(call, settings.caps)
    # Nothing that comes of it may replace what was kept of the call itself.
    chosen = settings.model_copy(update={"caps": caps, "keep_failures": None})
    with (
        ToolRunner(session.registry, settings=chosen) as tool_runner,
        Progress(session.terminal, call.plugin, 1) as progress,
    ):
        session.registry.heed_no_suspensions()
        work = [Work(partial(_payload, bundle), file=str(bundle.folder))]
        analysis = analysis_of(tool_runner)
        with closing(run_calls(analysis, call.plugin, work, watcher=progress.watcher)) as calls:
            done = next(calls)
    now = None if done.envelope is None else done.envelope["error"]
    found = tuple(_changes(session, call, chosen))
    return _Again(call, done, outcome_of(call.error, now), found)


def _unusable(folder: Path, error: BundleError) -> _Again:
    call, refused = Call(), GovernedError(ErrorType.VALIDATION_ERROR, str(error))
    done = Done("", str(folder), call, None, refusal("", call, refused))
    return _Again(None, done, Outcome.NOT_RUN, ())


def _payload(bundle: Bundle) -> dict[str, Any]:
    try:
        return bundle.payload()
    except BundleError as error:
        raise GovernedError(ErrorType.VALIDATION_ERROR, str(error)) from None


def _changes(session: Session, call: FailedCall, settings: Settings) -> Iterator[str]:
    if not session.registry.is_available(call.plugin):
        return
    plugin = plugin_of(session.registry, call.plugin)
    if plugin is not None:
        if session.shared.plugins and session.beneath.is_available(call.plugin):
            below = plugin_of(session.beneath, call.plugin)
            if below is not None and below.path != plugin.path:
                yield f"{plugin.path} took the place of {below.path}"
        choice = session.registry.choice(call.plugin)
        yield from changes(call, plugin, choice, plugin.manifest.limits.capped(settings.caps))


def _show(session: Session, again: _Again) -> None:
    then = None if again.call is None else cause_of(again.call.error)
    error = None if again.done.envelope is None else again.done.envelope["error"]
    if session.shared.as_json:
        document = views.document(again.done, debug=session.shared.debug)
        document["replay"] = {
            "call_id": None if again.call is None else again.call.call_id,
            "outcome": again.outcome,
            "then": then,
            "now": None if error is None else cause_of(error),
            "changed": list(again.changes),
        }
        session.terminal.document(document)
        return
    show(session, again.done, was_called=again.call is not None)
    if again.call is None or then is None:
        return
    words = plain(f"{again.call.call_id} of {again.call.failed_at}: ")
    words.append_text(plain(_said(again, then, error), _STYLES.get(again.outcome, "yellow")))
    session.terminal.show(words)
    for change in again.changes:
        session.terminal.show(plain(f"  {change}"))


def _said(again: _Again, then: Mapping[str, object], error: Mapping[str, Any] | None) -> str:
    was = in_words(then)
    match again.outcome:
        case Outcome.SUCCEEDED:
            return f"succeeds now; it was {was}"
        case Outcome.SAME:
            return f"fails as it did: {was}"
        case Outcome.OTHER:
            assert error is not None
            return f"fails in another way: {in_words(cause_of(error))}; it was {was}"
        case Outcome.NOT_RUN:
            return f"could not be run; it was {was}"
