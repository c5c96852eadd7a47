"""``toolrunner keys``: makes, lists and revokes the keys of the HTTP API."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from toolrunner.api.cli.console import plain, table_of
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.kept_jobs import all_of, cancel_each, in_parts, kept_jobs
from toolrunner.api.cli.options import Commands, command, examples
from toolrunner.api.cli.session import Session
from toolrunner.api.key import MOST_PER_MINUTE, Key, KeyRefusedError, Keys, Role
from toolrunner.api.key_choice import kept_keys, with_keys
from toolrunner.runner.jobs.job import JobFilter, JobStatus
from toolrunner.runner.names import unknown
from toolrunner.runner.services.shared_state import as_servers_have_it
from toolrunner.runner.settings.settings import Settings

keys_app = typer.Typer(cls=Commands, rich_markup_mode=None, no_args_is_help=True)


@keys_app.command(
    "create",
    epilog=examples(
        "toolrunner keys create alice",
        "toolrunner keys create shop --plugin barcode --plugin palette --per-minute 60",
        "toolrunner keys create prometheus --role operator",
        "toolrunner keys create alice --also",
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
    role: Annotated[
        Role,
        typer.Option(
            "--role", help="An operator has /metrics, all jobs, and the server's controls."
        ),
    ] = Role.CALLER,
    force: Annotated[
        bool, typer.Option("--force", help="Allow plugins that are not there yet.")
    ] = False,
    also: Annotated[
        bool, typer.Option("--also", help="Make it beside the one that has the name already.")
    ] = False,
) -> Exit:
    """Make a key, and print it: the only time that it can be seen."""
    if plugin and not force:
        _insist_on_plugins(session, plugin)
    with kept_keys(session.settings) as store:
        try:
            key, token = store.create(
                name, plugins=plugin, per_minute=per_minute, role=role, also=also
            )
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
    with kept_keys(session.settings) as store:
        keys = store.list()
    if session.shared.as_json:
        session.terminal.document([_document(key) for key in keys])
    elif keys:
        session.terminal.show(_view(keys))
    else:
        session.terminal.say("There is no key. `toolrunner keys create NAME` makes one.")
    return Exit.DONE


@keys_app.command(
    "revoke",
    epilog=examples(
        "toolrunner keys revoke alice", "toolrunner keys revoke 1a2b3c4d --cancel-jobs"
    ),
)
@command
def revoke(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, or its id.")],
    cancel_jobs: Annotated[
        bool, typer.Option("--cancel-jobs", help="Cancel the jobs of its name as well.")
    ] = False,
) -> Exit:
    """Revoke a key: it opens nothing any more, and what runs of its requests ends."""
    try:
        revoked = with_keys(session.settings, lambda store: store.revoke(key))
    except KeyRefusedError as error:
        raise Refused(str(error)) from None
    if revoked is None:
        with kept_keys(session.settings) as store:
            raise Refused(_not_revoked(store, key, cancel_jobs=cancel_jobs))
    cancelled = _cancelled(session.settings, revoked.name) if cancel_jobs else None
    if session.shared.as_json:
        more = {} if cancelled is None else {"cancelled_jobs": cancelled}
        session.terminal.document({**_document(revoked), **more})
    else:
        session.terminal.say(f"Revoked key {revoked.id} of {revoked.name}.")
        if cancelled is not None:
            session.terminal.say(f"Cancelled jobs: {cancelled}.")
    return Exit.DONE


def _not_revoked(store: Keys, key: str, *, cancel_jobs: bool) -> str:
    """Return why no key is revoked, and what cancels the jobs of one that was revoked before."""
    message = f"there is no key {key!r} that could be revoked; `toolrunner keys list` has all"
    names = {one.name for one in store.list() if key in {one.id, one.name}}
    if not cancel_jobs or not names:
        return message
    return (
        f"the key {key!r} was revoked before; `toolrunner jobs cancel --all --caller {names.pop()}`"
        " cancels the jobs of its name"
    )


def _cancelled(settings: Settings, caller: str) -> int:
    """Cancel what a caller has left and has not ended; return how many jobs that are."""
    count = 0
    with kept_jobs(settings) as store:
        for status in (JobStatus.PENDING, JobStatus.RUNNING) if store else ():
            assert store is not None
            ids = [job.id for job in all_of(store, JobFilter(caller, status))]
            in_parts(settings, store, ids, partial(cancel_each, store))
            count += len(ids)
    return count


def _insist_on_plugins(session: Session, names: list[str]) -> None:
    """Refuse a key for what nobody could call: a name that was mistyped is found out now."""
    with as_servers_have_it(session.settings, session.registry):
        known = [*session.registry.list_plugins(), *(session.registry.offers() or ())]
    for name in names:
        if name not in known and not any(one.startswith(f"{name}:") for one in known):
            message = f"{unknown(name, known)}; --force makes the key all the same"
            raise Refused(message)


def _document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "plugins": None if key.plugins is None else list(key.plugins),
        "per_minute": key.per_minute,
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
    }


def _view(keys: list[Key]) -> RenderableType:
    table = table_of("id", "name", "role", "plugins", "per minute", "created", "")
    for key in keys:
        table.add_row(
            key.id,
            plain(key.name, "bold"),
            key.role,
            plain("all" if key.plugins is None else ", ".join(key.plugins)),
            "any" if key.per_minute is None else str(key.per_minute),
            key.created_at.isoformat(" ", "minutes")[:16],
            plain("revoked", "yellow") if key.revoked_at else "",
        )
    return table
