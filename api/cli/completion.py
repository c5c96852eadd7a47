"""What the shell offers where a plugin's name is meant; files it offers by itself.

Called by the command-line library while a line is being typed: whatever goes wrong, it says
nothing. Names are all that it hands on: zsh evaluates what it is given, and descriptions are other
people's words.
"""

from __future__ import annotations

import logging

import typer

from toolrunner.api.cli.session import Session, Shared


def plugin_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin like that, also of the plugins that this very line adds."""
    logging.disable()
    paths: list[str] = []
    state = None
    here: typer.Context | None = ctx
    while here is not None:
        paths += here.params.get("plugins") or ()
        state = state or here.params.get("state")
        here = here.parent  # type: ignore[assignment]  # of the class that it derives from
    try:
        registry = Session(Shared(plugins=tuple(paths), state=state)).registry
        return [name for name in registry.list_plugins() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - broken settings are told by the command itself
        return []
