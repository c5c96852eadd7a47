"""``toolrunner webhooks``: whom ended jobs are posted to, what was not taken, and the secrets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from toolrunner.api.cli.console import moment_words, plain, table_of
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.kept_jobs import Posting, kept_posting, none_kept
from toolrunner.api.cli.options import Commands, command, examples, group
from toolrunner.api.cli.session import Session
from toolrunner.plugins.errors import suggestion
from toolrunner.runner.webhooks import addresses
from toolrunner.runner.webhooks.outbox import AddressStatus, Delivery, Outbox

_MOST_FAILED = 1_000
_MOST_SHOWN = 20
_MOST_CHARACTERS = 200

webhooks_app = typer.Typer(cls=Commands, rich_markup_mode=None)


@webhooks_app.command("list", epilog=examples("toolrunner webhooks", "toolrunner webhooks --json"))
@command
def list_webhooks(session: Session) -> Exit:
    """List the addresses, what waits for each, and the messages that were given up."""
    statuses: list[AddressStatus] = []
    failed: list[Delivery] = []
    with kept_posting(session.settings) as posting:
        if posting.outbox is not None:
            statuses = posting.outbox.statuses()
            failed = posting.outbox.failed(_MOST_FAILED)
        problem = posting.secrets.problem()
    known = {one.url for one in statuses}
    statuses += [
        AddressStatus(url, False, 0, 0, None)
        for url in session.settings.webhooks
        if url not in known
    ]
    if problem:  # whatever an address has answered before, this is what its messages wait for
        statuses = [one if one.has_gone else replace(one, reason=problem) for one in statuses]
    if session.shared.as_json:
        session.terminal.document(
            {
                "webhooks": [
                    {
                        "url": one.url,
                        "gone": one.has_gone,
                        "waiting": one.waiting,
                        "failed": one.failed,
                        "reason": one.reason,
                    }
                    for one in statuses
                ],
                "failed": [_document(one) for one in failed],
            }
        )
    elif statuses:
        session.terminal.show(_view(statuses, failed))
    else:
        session.terminal.say('There is no webhook: set webhooks = ["https://..."] in the settings.')
    return Exit.DONE


webhooks_app.callback(invoke_without_command=True)(group(list_webhooks))


@webhooks_app.command(
    "secret",
    epilog=examples(
        "toolrunner webhooks secret https://example.org/jobs",
        "toolrunner webhooks secret https://example.org/jobs --rotate",
        "toolrunner webhooks secret https://example.org/jobs --set - < secret.txt",
    ),
)
@command
def show_secret(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="An address, as in the settings.")],
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the last one goes on signing too.")
    ] = False,
    given: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="-",
            help="Use the one on standard input (whsec_...); the last one goes on signing too.",
            show_default=False,
        ),
    ] = None,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Let the newest alone sign.")
    ] = False,
) -> Exit:
    """Print the secret that an address's messages are signed with; it is made if there is none."""
    if rotate + forget_old + (given is not None) > 1:
        message = "choose one of --rotate, --set and --forget-old"
        raise Refused(message)
    try:
        addresses.check(url)
        with kept_posting(session.settings) as posting:
            _insist_on_address(session, url, posting)
            secrets = posting.secrets
            if given is not None:
                found = secrets.replace(url, _read(given))
            elif rotate:
                found = secrets.replace(url)
            else:
                found = secrets.forget_old(url) if forget_old else secrets.of(url)
    except ValueError as error:
        raise Refused(str(error)) from None
    if session.shared.as_json:
        session.terminal.document({"url": url, "secrets": list(found)})
    else:
        session.terminal.show(found[0])
        if len(found) > 1:
            session.terminal.say("The one before it still signs too, until --forget-old.")
    if url not in session.settings.webhooks:
        session.terminal.say("This address is not among webhooks in the settings.")
    return Exit.DONE


@webhooks_app.command(
    "retry",
    epilog=examples(
        "toolrunner webhooks retry", "toolrunner webhooks retry https://example.org/jobs"
    ),
)
@command
def retry_messages(
    session: Session,
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="Only of this address.", show_default=False),
    ] = None,
) -> Exit:
    """Post what waits at once, and what was given up again, also after a 410 Gone."""
    with _outbox(session) as outbox:
        urls = [one.url for one in outbox.statuses()]
        if url is not None:
            _insist_on_known(url, urls)
        count = sum(outbox.retry(one) for one in ([url] if url else urls))
    if session.shared.as_json:
        session.terminal.document({"messages": count})
    else:
        session.terminal.say(f"Messages that are posted now: {count}.")
    return Exit.DONE


@webhooks_app.command("drop", epilog=examples("toolrunner webhooks drop https://example.org/jobs"))
@command
def drop_address(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="One that no settings name.")],
) -> Exit:
    """Post to an address no more, and forget what waits for it; its secret stays."""
    if url in session.settings.webhooks:
        message = f"{url} is among webhooks in the settings: take it out there first"
        raise Refused(message)
    with _outbox(session) as outbox:
        _insist_on_known(url, [one.url for one in outbox.statuses()])
        outbox.drop(url)
    if session.shared.as_json:
        session.terminal.document({"dropped": url})
    else:
        session.terminal.say(f"Nothing is posted to {url} any more.")
    return Exit.DONE


@contextmanager
def _outbox(session: Session) -> Iterator[Outbox]:
    with kept_posting(session.settings) as posting:
        if posting.outbox is None:
            raise Refused(none_kept(session.settings))
        yield posting.outbox


def _insist_on_known(url: str, urls: Sequence[str]) -> None:
    if url not in urls:
        message = f"there is no webhook {url!r}; `toolrunner webhooks` lists them"
        raise Refused(message)


def _insist_on_address(session: Session, url: str, posting: Posting) -> None:
    """Refuse an address that nothing is posted to: a secret for it would be of no use."""
    known = {*session.settings.webhooks, *posting.secrets.known()}
    if posting.outbox is not None:
        known.update(one.url for one in posting.outbox.statuses())
    if url not in known:
        hint = suggestion(url, sorted(known)) if known else f"set webhooks = [{json.dumps(url)}]"
        message = f"{url} is not among webhooks in the settings; {hint}"
        raise Refused(message)


def _read(given: str) -> str:
    if given != "-":
        message = (
            "a secret on the command line is seen by others: give it on standard input, --set -"
        )
        raise Refused(message)
    return sys.stdin.read(_MOST_CHARACTERS).strip()


def _document(one: Delivery) -> dict[str, object]:
    return {
        "url": one.url,
        "id": one.message.id,
        "job": one.message.job,
        "attempts": one.attempts,
        "reason": one.reason,
        "failed_at": None if one.failed_at is None else one.failed_at.isoformat(),
    }


def _view(statuses: list[AddressStatus], failed: list[Delivery]) -> RenderableType:
    table = table_of("address", "waiting", "given up", "reason")
    for one in statuses:
        words = "gone: posted to no more. " if one.has_gone else ""
        table.add_row(
            plain(one.url, "bold"),
            str(one.waiting),
            str(one.failed),
            plain(words + (one.reason or ""), "yellow"),
        )
    if not failed:
        return table
    below = table_of("job", "address", "attempts", "given up", "reason")
    for each in failed[:_MOST_SHOWN]:
        below.add_row(
            each.message.job,
            plain(each.url),
            str(each.attempts),
            moment_words(each.failed_at),
            plain(each.reason or ""),
        )
    return Group(table, Text(), below)
