"""The command ``toolrunner``: what its own options are, and which commands it has.

Run by ``main``. Each command has a module in ``commands``.
"""

from typing import Annotated

import typer

from toolrunner.api.cli.commands import environments as _environments  # noqa: F401 - of plugins
from toolrunner.api.cli.commands.analyze import analyze
from toolrunner.api.cli.commands.config import config_app
from toolrunner.api.cli.commands.doctor import doctor
from toolrunner.api.cli.commands.jobs import jobs_app
from toolrunner.api.cli.commands.keys import keys_app
from toolrunner.api.cli.commands.mcp import mcp
from toolrunner.api.cli.commands.migrate import migrate
from toolrunner.api.cli.commands.plugins import plugins_app
from toolrunner.api.cli.commands.replay import replay
from toolrunner.api.cli.commands.run import run
from toolrunner.api.cli.commands.serve import serve
from toolrunner.api.cli.commands.webhooks import webhooks_app
from toolrunner.api.cli.commands.worker import worker
from toolrunner.api.cli.options import (
    AsJson,
    Commands,
    Debug,
    PluginPaths,
    StateFolder,
    Verbose,
    command,
    examples,
    remember,
    shared_options,
)
from toolrunner.api.version import version

app = typer.Typer(
    name="toolrunner",
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.add_typer(plugins_app, name="plugins", help="List, show, check and write plugins.")
app.add_typer(
    jobs_app, name="jobs", help="List, follow, cancel, retry and purge the jobs of all callers."
)
app.add_typer(
    webhooks_app, name="webhooks", help="Show whom ended jobs are posted to, and the secrets."
)
app.add_typer(keys_app, name="keys", help="Make, list and revoke keys of the HTTP API.")
app.add_typer(config_app, name="config", help="Show the settings in force.")


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


app.command(
    epilog=examples(
        "toolrunner analyze barcode photo.jpg",
        "toolrunner analyze palette --option colours=3 --json *.png",
        "toolrunner analyze palette photos --recursive --out results --skip-existing",
        "curl -s https://example.org/a.png | toolrunner analyze image-info -",
    )
)(command(analyze))
app.command(
    epilog=examples(
        'toolrunner run text-stats --payload \'{"text": "Hello."}\'',
        "toolrunner run text-stats --payload @request.json",
        "toolrunner run text-stats --payload - < request.json",
    )
)(command(run))
app.command(
    epilog=examples(
        "toolrunner replay failures",
        "toolrunner replay failures/20260131T031244.120000Z-ocr-* --plugins fixed --json",
        "toolrunner replay failures --current-limits",
    )
)(command(replay))
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
app.command(
    epilog=examples(
        "toolrunner worker",
        "toolrunner --plugins /srv/plugins worker --jobs 4 --health 127.0.0.1:8001",
        "toolrunner worker --workers 2 --plugin ocr --plugin barcode --log-format json",
    )
)(command(worker))
app.command(
    epilog=examples(
        "toolrunner mcp",
        "toolrunner --plugins my_plugin.py mcp --files ~/Pictures",
        "claude mcp add toolrunner -- toolrunner mcp",
    )
)(command(mcp))
app.command(epilog=examples("toolrunner migrate", "toolrunner migrate --json"))(command(migrate))
