"""The options that every command has, and the decorator that gives them to it.

``commands`` declares each command with ``command``: what it adds is parsed before and after the
command's name alike. Knows the command-line library; decides nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from toolrunner.api.cli.completion import plugin_names
from toolrunner.api.cli.console import show_logs
from toolrunner.api.cli.exits import Exit, Interrupted, ReaderLeft
from toolrunner.api.cli.session import Session, Shared

_ENDLESS = 10_000  # characters

PluginPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--plugins",
        metavar="PATH",
        help="A plugin file, or a folder of plugins, beside TOOLRUNNER_PLUGINS; may be repeated.",
        show_default=False,
    ),
]
StateFolder = Annotated[
    str | None,
    typer.Option("--state", metavar="DIR", help="Folder that keeps state.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON documents on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also log what happens, not only warnings.")
]
PluginName = Annotated[
    str,
    typer.Argument(metavar="PLUGIN", help="A plugin's name.", autocompletion=plugin_names),
]
KeepFailures = Annotated[
    str | None,
    typer.Option(
        "--keep-failures",
        metavar="DIR",
        help="Keep failed calls there with their payloads, for `toolrunner replay`.",
        show_default=False,
    ),
]


class Commands(TyperGroup):
    """Some commands, each listed with the whole first sentence about it, however long that is."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the library's own
        """Write the list of commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(_ENDLESS)) for name, one in found if one is not None]
            )


def shared_options(
    plugins: PluginPaths = None,
    state: StateFolder = None,
    json: AsJson = False,
    debug: Debug = False,
    verbose: Verbose = False,
) -> Shared:
    """Return the shared options; the parameters are what the command line calls them."""
    return Shared(tuple(plugins or ()), state, json, debug, verbose)


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command(function: Callable[..., Exit]) -> Callable[..., None]:
    """Make a command of a function whose first argument is the Session and that returns an Exit."""
    own = _parameters(function)[1:]
    taken = {parameter.name for parameter in own}  # by an option of its own, of the same name
    shared = [one for one in _parameters(shared_options) if one.name not in taken]
    names = [parameter.name for parameter in shared]

    @functools.wraps(function)
    def run(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 - parsed
        after = shared_options(**{name: given.pop(name) for name in names if name in given})
        session = Session(_joined(ctx, after))
        show_logs(session.terminal, verbose=session.shared.verbose, debug=session.shared.debug)
        try:
            status = function(session, **given)
        except KeyboardInterrupt:
            raise Interrupted from None
        except BrokenPipeError:
            raise ReaderLeft from None
        raise typer.Exit(status)

    return _taking(run, [*own, *shared])


def group(default: Callable[..., None]) -> Callable[..., None]:
    """Return the callback of a group of commands; without any of them it runs ``default``."""

    def run(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 - parsed
        remember(ctx, shared_options(**given))
        if ctx.invoked_subcommand is None:
            default(ctx)

    run.__doc__ = default.__doc__
    return _taking(run, _parameters(shared_options))


def remember(ctx: typer.Context, shared: Shared) -> None:
    """Keep what was given before a command's name for the command."""
    ctx.obj = _joined(ctx, shared)


def _joined(ctx: typer.Context, after: Shared) -> Shared:
    return (ctx.obj if isinstance(ctx.obj, Shared) else Shared()).joined(after)


def _taking(run: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Give a function the signature that the library reads its options from."""
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    taken = [context, *parameters]
    run.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # as documented
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return run


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    ]
