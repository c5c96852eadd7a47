"""The ``doctor`` command: its options, and what they lead to. Registered by ``app``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from toolrunner.api.attack_report import keep
from toolrunner.api.cli import doctor as doctors
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.session import Session
from toolrunner.plugins.corpus import Fault, faults
from toolrunner.plugins.errors import DiscoveryError, suggestion
from toolrunner.runner.settings.settings import SettingsError

if TYPE_CHECKING:
    from toolrunner.api.attack.campaign import Case


def doctor(
    session: Session,
    attack: Annotated[
        bool,
        typer.Option(
            "--attack",
            help="Run hostile plugins here, which do no harm if they escape, and say which did.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only attacks whose names begin so; * stands for anything. Repeatable.",
        ),
    ] = None,
) -> Exit:
    """Find out what this host can isolate, by trying each layer for real."""
    if only and not attack:
        raise Refused("--only chooses among attacks: add --attack")
    found = doctors.examine()
    if attack:
        return _attack(session, found, _chosen(only or [""]))
    said = _said(session)
    is_callable = found.is_floor_met and said.settings is not None and not said.mistakes
    taken = _costs(session) if is_callable else []
    if session.shared.as_json:
        session.terminal.document(doctors.document(found, said, taken))
    else:
        session.terminal.show(doctors.view(found, said, taken))
    return Exit.DONE if found.is_floor_met else Exit.HOST


def _costs(session: Session) -> list[doctors.Cost]:
    # It needs what runs plugins, which the other commands do not wait for.
    from toolrunner.api.cli.costs import costs  # noqa: PLC0415 - see above

    return costs(session)


def _keep(session: Session, cases: Sequence[Case]) -> None:
    """Keep the outcomes in the state folder, for the page of a server that has it."""
    try:
        keep(session.settings.kept_state(), cases)
    except (OSError, SettingsError) as error:
        session.terminal.say(f"The report is not kept for the page: {error}")


def _said(session: Session) -> doctors.Said:
    """Return what the operator has said, or what is wrong with it: that is none of the host."""
    try:
        settings = session.settings
    except SettingsError as error:
        return doctors.Said(None, tuple(str(error).splitlines()))
    try:
        known = session.registry.list_plugins()
    except DiscoveryError as error:
        return doctors.Said(settings, (str(error),))
    return doctors.Said(settings, doctors.misnamed(settings, known))


def _chosen(patterns: list[str]) -> list[Fault]:
    """Return the faults whose names begin so; refuse a pattern that none has."""
    known = faults()
    for pattern in patterns:
        if not any(fnmatchcase(fault.name, f"{pattern}*") for fault in known):
            hint = suggestion(pattern, [fault.name for fault in known])
            raise Refused(f"there is no attack whose name begins with {pattern!r}; {hint}")
    return [f for f in known if any(fnmatchcase(f.name, f"{p}*") for p in patterns)]


def _attack(session: Session, found: doctors.Examination, chosen: list[Fault]) -> Exit:
    # They need what runs plugins, which the other commands do not wait for.
    from toolrunner.api.attack import apart  # noqa: PLC0415 - see above
    from toolrunner.api.cli.views import attack as view  # noqa: PLC0415 - see above

    cases = []
    is_accepted = session.settings.isolation == "degraded" and not found.user_gap
    is_refused = not found.is_floor_met and not is_accepted
    if is_refused:
        for line in doctors.refusal(found):
            session.terminal.say(line)
    else:
        with (
            apart.attacker(chosen, session.settings, found.host.layers) as results,
            Progress(session.terminal, "attacks", len(chosen)) as progress,
        ):
            for found_out in results:
                cases += found_out
                progress.watcher.on_done()
    if cases:
        _keep(session, cases)
    if session.shared.as_json:
        session.terminal.document(view.document(cases))
    elif cases:
        session.terminal.show(view.view(cases))
    if any(case.outcome == "escaped" for case in cases):
        return Exit.PLUGIN
    return Exit.HOST if is_refused else Exit.DONE
