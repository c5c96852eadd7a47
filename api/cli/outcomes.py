"""Makes the calls of ``analyze`` and ``run``, and shows each as it ends."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from toolrunner.api.cli.artifacts import ArtifactFolder, told
from toolrunner.api.cli.calls import Done, Work, run_calls
from toolrunner.api.cli.exits import Exit, exit_of
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views import calls as views
from toolrunner.runner.services.wiring import analysis_of


def call_and_show(
    session: Session,
    plugin: str,
    work: Sequence[Work],
    jobs: int,
    *,
    out: ArtifactFolder | None = None,
) -> Exit:
    """Make the calls, show each as it ends, and return the worst outcome.

    What files they give back is written to ``out``, and without that told of alone.
    """
    worst = Exit.DONE
    with (
        session.tool_runner() as tool_runner,
        Progress(session.terminal, plugin, len(work)) as progress,
        closing(
            run_calls(analysis_of(tool_runner), plugin, work, jobs=jobs, watcher=progress.watcher)
        ) as calls,
    ):
        for done in calls:
            with progress.paused():
                show(session, done, out=out)
            worst = max(worst, exit_of(done.envelope))
    return worst


def show(
    session: Session,
    done: Done,
    *,
    was_called: bool = True,
    out: ArtifactFolder | None = None,
) -> None:
    """Show one call that has ended, as the options ask for it.

    Not ``was_called``: what is told of is no call, and has no identity that a log would name.
    """
    terminal, debug = session.terminal, session.shared.debug
    artifacts = done.call.artifacts
    done = replace(done, kept=told(artifacts) if out is None else out.keep(artifacts))
    for kept in done.kept:
        if kept.has_replaced:
            terminal.say(f"replaced {kept.file}")
    if session.shared.as_json:
        terminal.document(views.document(done, debug=debug))
        return
    if done.envelope is not None:
        view = views.error_view(done.envelope, file=done.file, debug=debug, was_called=was_called)
        terminal.err.print(view)
        return
    terminal.show(views.result_view(done))
    if session.shared.verbose and done.call.log_tail:
        terminal.say(f"{done.plugin} printed:\n{done.call.log_tail}")
