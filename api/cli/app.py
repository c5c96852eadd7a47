"""The commands of ``toolrunner``: what each takes, and in what order it does things.

Run by ``cli``. A command returns its exit status; reading, running and showing are other modules'.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Annotated

import typer

from toolrunner.api.cli.analysis import ImageWork
from toolrunner.api.cli.calls import Done, Work, refusal, run_calls
from toolrunner.api.cli.check import check as check_path
from toolrunner.api.cli.commands.doctor import doctor
from toolrunner.api.cli.commands.keys import keys_app
from toolrunner.api.cli.commands.serve import serve
from toolrunner.api.cli.exits import Exit, exit_of
from toolrunner.api.cli.options import (
    AsJson,
    Debug,
    PluginPaths,
    StateFolder,
    Verbose,
    command,
    examples,
    group,
    remember,
    shared_options,
)
from toolrunner.api.cli.payloads import json_payload, parse_options
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.session import Session, analysis
from toolrunner.api.cli.templates import write_template
from toolrunner.api.cli.views import calls as views
from toolrunner.api.cli.views import plugins as plugin_views
from toolrunner.api.cli.views.check import report_view
from toolrunner.api.version import version
from toolrunner.plugins.errors import shown, suggestion
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.registry.registry import PluginState

DEFAULT_JOBS = 4

app = typer.Typer(
    name="toolrunner",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
plugins_app = typer.Typer(rich_markup_mode=None)
config_app = typer.Typer(rich_markup_mode=None)
app.add_typer(plugins_app, name="plugins", help="List, show, check and write plugins.")
app.add_typer(keys_app, name="keys", help="Make, list and revoke keys of the HTTP API.")
app.add_typer(config_app, name="config", help="Show the settings in force.")

PluginName = Annotated[str, typer.Argument(metavar="PLUGIN", help="A plugin's name.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        found = version()
        typer.echo(
            f"toolrunner {found}" if found else "toolrunner, not installed: run from its source"
        )
        raise typer.Exit


@app.callback(
    epilog=examples(
        "toolrunner analyze barcode photo.jpg",
        'toolrunner run text-stats --payload \'{"text": "Hello."}\'',
        "toolrunner plugins new my-plugin && toolrunner plugins check my_plugin.py",
        "toolrunner doctor",
    )
    + "\n\n\b\nExit status: 0 done, 1 the plugin's or a limit's fault, 2 the caller's, "
    "3 the host's,\n130 interrupted; of several the worst.",
)
def toolrunner(
    ctx: typer.Context,
    plugins: PluginPaths = None,
    state: StateFolder = None,
    json: AsJson = False,
    debug: Debug = False,
    verbose: Verbose = False,
    version: Annotated[  # noqa: ARG001 - its callback has done everything
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run other people's plugins, each call in a confined process of its own."""
    remember(ctx, shared_options(plugins, state, json, debug, verbose))


@app.command(
    epilog=examples(
        "toolrunner analyze barcode photo.jpg",
        "toolrunner analyze palette --option colours=3 --json *.png",
        "curl -s https://example.org/a.png | toolrunner analyze image-info -",
    )
)
@command
def analyze(
    session: Session,
    plugin: PluginName,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Files; - reads one from stdin.")
    ],
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
) -> Exit:
    """Run a plugin on images, several at once; results come in the order of the files."""
    source = ImageWork(session, plugin, mime_type, parse_options(option or ()))
    work = [Work(partial(source.payload, name), shown(name)) for name in images]
    return _call(session, plugin, work, min(jobs, session.settings.max_concurrent))


@app.command(
    epilog=examples(
        'toolrunner run text-stats --payload \'{"text": "Hello."}\'',
        "toolrunner run text-stats --payload @request.json",
        "toolrunner run text-stats --payload - < request.json",
    )
)
@command
def run(
    session: Session,
    plugin: PluginName,
    payload: Annotated[
        str,
        typer.Option(
            "--payload",
            metavar="JSON|@FILE|-",
            help="A JSON object, a file that holds one, or - for stdin. "
            'For plugins that take images, "image" is base64.',
        ),
    ] = "{}",
) -> Exit:
    """Run a plugin once on a JSON payload."""
    return _call(session, plugin, [Work(partial(json_payload, payload))], 1)


def _call(session: Session, plugin: str, work: Sequence[Work], jobs: int) -> Exit:
    """Make the calls, show each as it ends, and return the worst outcome."""
    worst = Exit.DONE
    with (
        session.tool_runner() as tool_runner,
        Progress(session.terminal, plugin, len(work)) as progress,
        closing(
            run_calls(analysis(tool_runner), plugin, work, jobs=jobs, watcher=progress.watcher)
        ) as calls,
    ):
        for done in calls:
            with progress.paused():
                _show(session, done)
            worst = max(worst, exit_of(done.envelope))
    return worst


def _show(session: Session, done: Done) -> None:
    terminal, debug = session.terminal, session.shared.debug
    if session.shared.as_json:
        terminal.document(views.document(done, debug=debug))
        return
    if done.envelope is not None:
        terminal.err.print(views.error_view(done.envelope, file=done.file, debug=debug))
        return
    terminal.show(views.result_view(done))
    if session.shared.verbose and done.call.log_tail:
        terminal.say(f"{done.plugin} printed:\n{done.call.log_tail}")


@plugins_app.command("list", epilog=examples("toolrunner plugins", "toolrunner plugins --json"))
@command
def list_plugins(session: Session) -> Exit:
    """List the plugins that are known here, also those that cannot run."""
    statuses = session.registry.list_all()
    if session.shared.as_json:
        session.terminal.document([plugin_views.status_document(status) for status in statuses])
    else:
        session.terminal.show(plugin_views.list_view(statuses))
    return Exit.DONE


plugins_app.callback(invoke_without_command=True)(group(list_plugins))


@plugins_app.command("show", epilog=examples("toolrunner plugins show barcode"))
@command
def show_plugin(
    session: Session, name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin's name.")]
) -> Exit:
    """Show one plugin: what it takes, its limits after the operator's caps, what it may reach."""
    status = session.registry.get_status(name)
    if status is None:
        known = suggestion(name, session.registry.list_plugins())
        error = GovernedError(
            ErrorType.PLUGIN_NOT_FOUND, f"there is no plugin {shown(name)[:100]}; {known}"
        )
        call = Call()
        _show(session, Done(name, None, call, None, refusal(name, call, error)))
        return Exit.CALLER
    plugin = plugin_views.plugin_of(session.registry, name)
    document = plugin_views.plugin_document(status, plugin, session.settings)
    if plugin is not None and status.state != PluginState.UNAVAILABLE:
        # Only loading it, in a box, tells whether calls can be forked from it.
        with session.tool_runner() as tool_runner:
            document["start"] = plugin_views.start_document(tool_runner, name)
    if session.shared.as_json:
        session.terminal.document(document)
    else:
        session.terminal.show(plugin_views.plugin_view(document, plugin))
    return Exit.DONE


@plugins_app.command(
    "check", epilog=examples("toolrunner plugins check my_plugin.py", "toolrunner plugins check .")
)
@command
def check_plugin(
    session: Session,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A plugin's file or folder, or a folder of them.")
    ],
) -> Exit:
    """Check a plugin: its manifest, that it loads in the sandbox, and that it answers a sample."""
    worst = Exit.DONE
    for report in check_path(session, path):
        if session.shared.as_json:
            session.terminal.document(report.document())
        else:
            session.terminal.show(report_view(report, debug=session.shared.debug))
        worst = max(worst, report.status)
    return worst


@plugins_app.command(
    "new",
    epilog=examples(
        "toolrunner plugins new my-plugin",
        "toolrunner plugins new my-plugin --json-input --dir ~/plugins",
    ),
)
@command
def new_plugin(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens, at most 64."),
    ],
    folder: Annotated[
        str, typer.Option("--dir", metavar="DIR", help="Where to write it; made if need be.")
    ] = ".",
    json_input: Annotated[
        bool, typer.Option("--json-input", help="It takes a JSON object, not an image.")
    ] = False,
) -> Exit:
    """Write a new plugin: one file, which works at once and shows how."""
    path = write_template(name, folder, json_input=json_input)
    if session.shared.as_json:
        session.terminal.document({"plugin": name, "path": str(path)})
    else:
        session.terminal.show(str(path))
    use = (
        f"run {name} --payload '{{\"numbers\": [1, 2, 30]}}'"
        if json_input
        else (f"analyze {name} IMAGE.png")
    )
    session.terminal.say(
        f"Next: edit it, then\n"
        f"  toolrunner plugins check {path}\n"
        f"  toolrunner --plugins {path} {use}"
    )
    return Exit.DONE


@config_app.command("show", epilog=examples("toolrunner config show", "toolrunner config --json"))
@command
def show_config(
    session: Session,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show also what [plugin.NAME] config holds.")
    ] = False,
) -> Exit:
    """Show every setting, its value, and where it came from."""
    rows = plugin_views.settings_document(session.settings, session.shared.plugins, reveal=reveal)
    if session.shared.as_json:
        session.terminal.document({"settings": rows})
    else:
        session.terminal.show(plugin_views.settings_view(rows))
    return Exit.DONE


config_app.callback(invoke_without_command=True)(group(show_config))


app.command(
    epilog=examples(
        "toolrunner doctor",
        "toolrunner doctor --attack",
        "toolrunner doctor --attack --only escape/ --only tree/fork_bomb --json",
    )
)(command(doctor))
app.command(
    epilog=examples(
        "toolrunner serve",
        "toolrunner serve --port 0 --workers 2 --log-format json",
        "toolrunner keys create me && toolrunner serve --host 0.0.0.0",
    )
)(command(serve))
