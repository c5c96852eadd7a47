"""Makes the calls of ``analyze`` and ``run``, and shows each as it ends."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

from toolrunner.api.cli.answers import AnswerFolder
from toolrunner.api.cli.artifacts import ArtifactFolder, told
from toolrunner.api.cli.calls import Done, Work, refusal, run_calls
from toolrunner.api.cli.exits import Exit, Refused, exit_of, judged
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.remedies import of_a_limit
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.tally import Tally
from toolrunner.api.cli.views import calls as views
from toolrunner.api.documents import plugin_of
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType, GovernedError, build_error_envelope
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.tracebacks import Place, own_place


def call_and_show(
    session: Session,
    plugin: str,
    work: Iterable[Work],
    jobs: int,
    *,
    total: int = 1,
    out: ArtifactFolder | None = None,
    answers: AnswerFolder | None = None,
    tally: Tally | None = None,
) -> Exit:
    """Make the calls, show each as it ends, and return the worst outcome.

    What files they give back is written to ``out``, and without that told of alone. ``total``: how
    many there are, for the progress bar. ``answers``: where to write each; then they come in the
    order in which they end, and what cannot be written is an error of the one call. ``tally``
    counts them.
    """
    worst = Exit.DONE
    with (
        session.tool_runner() as tool_runner,
        Progress(session.terminal, plugin, total) as progress,
        closing(
            run_calls(
                analysis_of(tool_runner),
                plugin,
                work,
                jobs=jobs,
                watcher=progress.watcher,
                in_order=answers is None,
                with_bytes=out is not None,
            )
        ) as calls,
    ):
        for done in calls:
            with progress.paused():
                ended = show(session, done, out=out, answers=answers)
            if tally is not None:
                tally.count(ended.envelope)
                progress.leave_out(tally.skipped + tally.passed_over)
            worst = max(worst, exit_of(ended.envelope))
    return worst


def refuse_name(session: Session, plugin: str, words: str) -> Exit:
    """Show that there is no plugin of a name, in these words."""
    call = Call()
    error = GovernedError(ErrorType.PLUGIN_NOT_FOUND, words)
    show(session, Done(plugin, None, call, None, refusal(plugin, call, error)))
    return Exit.CALLER


def show(
    session: Session,
    done: Done,
    *,
    was_called: bool = True,
    out: ArtifactFolder | None = None,
    answers: AnswerFolder | None = None,
) -> Done:
    """Show one call that has ended, as the options ask for it, and write it to ``answers``.

    Not ``was_called``: what is told of is no call, and has no identity that a log would name.
    Returns the call, as an error if ``answers`` or its files could not be written. Without
    ``answers`` that is raised, after the result was shown.
    """
    terminal, debug = session.terminal, session.shared.debug
    done, problem = _written(session, done, out, answers)
    if session.shared.as_json:
        terminal.document(views.document(done, debug=debug))
    elif done.envelope is not None:
        place, advice = _for_the_author(session, done)
        view = views.error_view(
            done.envelope,
            file=done.file,
            debug=debug,
            was_called=was_called,
            place=place,
            advice=advice,
        )
        terminal.err.print(view, crop=False)
    elif answers is None:
        terminal.show(views.result_view(done))
    is_asked = session.shared.verbose or (answers is None and not session.shared.as_json)
    if done.envelope is None and done.call.log_tail and is_asked:
        terminal.err.print(views.printed_view(done, whole=session.shared.verbose))
    if problem is not None:
        raise problem
    return done


def _written(
    session: Session, done: Done, out: ArtifactFolder | None, answers: AnswerFolder | None
) -> tuple[Done, OSError | Refused | None]:
    """Write what a call has come to; return it as it is to be shown, and what is raised then."""
    problem: OSError | Refused | None = None
    if out is not None:
        artifacts = done.call.artifacts
        try:
            done = replace(done, kept=out.keep(artifacts, done.below))
        except (OSError, Refused) as error:
            problem, done = error, replace(done, kept=told(artifacts))
    for one in done.kept:
        if one.has_replaced:
            session.terminal.say(f"replaced {one.file}")
    if answers is None:
        return done, problem
    if problem is not None:
        done = _unwritten(done, problem)
    if done.below:
        try:  # the last: what is there is there as a whole
            answers.write(done.below, views.document(done, debug=session.shared.debug))
        except (OSError, Refused) as error:
            done = _unwritten(done, error)
    return done, None


def _unwritten(done: Done, problem: OSError | Refused) -> Done:
    """Return a call as an error, since something of it could not be written."""
    status, words = judged(problem)
    status = max(status, exit_of(done.envelope))
    if done.envelope is not None:
        error = done.envelope["error"]
        if error["message"].startswith(words):  # what is in the way of its files is in its own too
            return done
        words = f"{words}; the call ended with {error['type']}: {error['message']}"
    envelope = build_error_envelope(
        ErrorType.VALIDATION_ERROR if status is Exit.CALLER else ErrorType.INTERNAL_ERROR,
        words,
        plugin=done.plugin,
        call_id=done.call.call_id,
        usage=done.call.usage,
        isolation=done.call.isolation,
    )
    return replace(done, result=None, envelope=envelope)


def _for_the_author(session: Session, done: Done) -> tuple[Place | None, str]:
    """Return where an error came from, and what to do where the plugin is somebody's own."""
    if done.envelope is None or not session.registry.is_available(done.plugin):
        return None, ""
    plugin = plugin_of(session.registry, done.plugin)
    if plugin is None:
        return None, ""
    place = own_place(done.envelope, plugin.path)
    is_own = plugin.kind in {"file", "folder"} and plugin.origin != "bundled"
    is_program = bool(plugin.manifest.command)
    advice = of_a_limit(done.envelope["error"], is_program=is_program) if is_own else ""
    return place, advice
