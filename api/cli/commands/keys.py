"""``toolrunner keys``: makes, lists and revokes the keys of the HTTP API."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from toolrunner.api.cli.console import plain, table_of
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.options import command, examples
from toolrunner.api.cli.session import Session
from toolrunner.api.keys import MOST_PER_MINUTE, Key, KeyRefusedError, KeyStore

keys_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@keys_app.command(
    "create",
    epilog=examples(
        "toolrunner keys create alice",
        "toolrunner keys create shop --plugin barcode --plugin palette --per-minute 60",
    ),
)
@command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    plugin: Annotated[
        list[str] | None,
        typer.Option("--plugin", metavar="PLUGIN", help="Allow only this one; may be repeated."),
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option("--per-minute", min=1, max=MOST_PER_MINUTE, help="Requests that it may make."),
    ] = None,
) -> Exit:
    """Make a key, and print it: the only time that it can be seen."""
    with closing(KeyStore(session.settings.kept_state())) as store:
        try:
            key, token = store.create(name, plugins=plugin, per_minute=per_minute)
        except KeyRefusedError as error:
            raise Refused(str(error)) from None
    if session.shared.as_json:
        session.terminal.document({**_document(key), "token": token})
    else:
        session.terminal.show(token)
    session.terminal.say(f"Key {key.id} of {key.name}. Keep it: it cannot be shown again.")
    return Exit.DONE


@keys_app.command("list", epilog=examples("toolrunner keys list", "toolrunner keys list --json"))
@command
def show_all(session: Session) -> Exit:
    """List all keys, revoked ones included, without their secrets."""
    with closing(KeyStore(session.settings.kept_state())) as store:
        keys = store.list()
    if session.shared.as_json:
        session.terminal.document([_document(key) for key in keys])
    elif keys:
        session.terminal.show(_view(keys))
    else:
        session.terminal.say("There is no key. `toolrunner keys create NAME` makes one.")
    return Exit.DONE


@keys_app.command(
    "revoke", epilog=examples("toolrunner keys revoke alice", "toolrunner keys revoke 1a2b3c4d")
)
@command
def revoke(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, or its id.")],
) -> Exit:
    """Revoke a key: from now on it opens nothing, also in servers that run."""
    with closing(KeyStore(session.settings.kept_state())) as store:
        revoked = store.revoke(key)
    if revoked is None:
        message = f"there is no key {key!r} that could be revoked; `toolrunner keys list` has all"
        raise Refused(message)
    if session.shared.as_json:
        session.terminal.document(_document(revoked))
    else:
        session.terminal.say(f"Revoked key {revoked.id} of {revoked.name}.")
    return Exit.DONE


def _document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "plugins": None if key.plugins is None else list(key.plugins),
        "per_minute": key.per_minute,
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
    }


def _view(keys: list[Key]) -> RenderableType:
    table = table_of("id", "name", "plugins", "per minute", "created", "")
    for key in keys:
        table.add_row(
            key.id,
            plain(key.name, "bold"),
            plain("all" if key.plugins is None else ", ".join(key.plugins)),
            "any" if key.per_minute is None else str(key.per_minute),
            key.created_at.isoformat(" ", "minutes")[:16],
            plain("revoked", "yellow") if key.revoked_at else "",
        )
    return table
