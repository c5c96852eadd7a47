"""The ``plugins`` commands: list, show, check, new, disable and enable."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group

from toolrunner.api import documents
from toolrunner.api.cli.check import check as check_path
from toolrunner.api.cli.completion import plugin_names
from toolrunner.api.cli.console import plain
from toolrunner.api.cli.debugging import debug as run_plainly
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.misplaced import instead_of
from toolrunner.api.cli.options import Commands, PluginName, command, examples, group
from toolrunner.api.cli.outcomes import refuse_name
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.stats import stats_document
from toolrunner.api.cli.templates import Template, write_template
from toolrunner.api.cli.views.check import report_view
from toolrunner.api.cli.views.plugins import list_view, plugin_view
from toolrunner.api.cli.views.stats import stats_view
from toolrunner.api.typed_source import typed_source
from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.errors import shown, suggestion
from toolrunner.plugins.fields import legal_name
from toolrunner.runner.environments.sbom import bill_of_materials
from toolrunner.runner.environments.store import Environment
from toolrunner.runner.registry.plugin_state import PluginState
from toolrunner.runner.services.shared_state import as_servers_have_it

plugins_app = typer.Typer(cls=Commands, rich_markup_mode=None)


@plugins_app.command("list", epilog=examples("toolrunner plugins", "toolrunner plugins --json"))
@command
def list_plugins(session: Session) -> Exit:
    """List the plugins that are known here, also those that cannot run."""
    with as_servers_have_it(session.settings, session.registry):
        statuses = session.registry.list_all()
    if session.shared.as_json:
        session.terminal.document([documents.status_document(status) for status in statuses])
    else:
        session.terminal.show(list_view(statuses))
    return Exit.DONE


plugins_app.callback(invoke_without_command=True)(group(list_plugins))


@plugins_app.command(
    "show",
    epilog=examples(
        "toolrunner plugins show barcode",
        "toolrunner plugins show barcode --stats",
        "toolrunner plugins show my-plugin --sbom",
        "toolrunner plugins show my-plugin --types >my_plugin_types.py",
    ),
)
@command
def show_plugin(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A plugin's name.", autocompletion=plugin_names),
    ],
    sbom: Annotated[
        bool,
        typer.Option("--sbom", help="Print what its environment holds as CycloneDX JSON, alone."),
    ] = False,
    types: Annotated[
        bool,
        typer.Option("--types", help="Print Python source with types of what goes in and out."),
    ] = False,
    stats: Annotated[
        bool,
        typer.Option("--stats", help="Draw what is known of its calls on servers of this state."),
    ] = False,
) -> Exit:
    """Show one plugin: what it takes, its limits after the operator's caps, what it may reach."""
    with as_servers_have_it(session.settings, session.registry):
        if stats:
            return _show_stats(session, name)
        return _show(session, name, sbom=sbom, types=types)


def _show_stats(session: Session, name: str) -> Exit:
    """Show what is known of the calls of a plugin, or of each of its tools; nothing is loaded."""
    for one in session.registry.tools_of(name) or [name]:
        status = session.registry.get_status(one)
        if status is None:
            return _refuse_unknown(session, one, "plugins show --stats")
        plugin = documents.plugin_of(session.registry, one)
        limits = asdict(plugin.manifest.limits.capped(session.settings.caps)) if plugin else {}
        found = stats_document(session.settings, status, limits)
        if session.shared.as_json:
            session.terminal.document({"plugin": one, "stats": found})
        else:
            session.terminal.show(Group(plain(one, "bold"), stats_view(found)))
    return Exit.DONE


def _show(session: Session, name: str, *, sbom: bool, types: bool) -> Exit:
    names = session.registry.tools_of(name) or [name]
    if types and all(session.registry.get_status(one) for one in names):
        session.terminal.write(_types(session, name, names))
        return Exit.DONE
    return max(
        _show_one(session, one, sbom=sbom, before=names[:place][:1])
        for place, one in enumerate(names)
    )


def _types(session: Session, name: str, names: list[str]) -> str:
    plugins = [documents.plugin_of(session.registry, one) for one in names]
    manifests = [plugin.manifest for plugin in plugins if plugin is not None]
    if not manifests:
        raise Refused(f"{name} cannot be used: {session.registry.get_status(name).reason}")
    return typed_source(name, manifests)


def _show_one(session: Session, name: str, *, sbom: bool, before: list[str]) -> Exit:
    """Show a plugin or a tool; ``before`` has the first of its tools, once that was shown."""
    status = session.registry.get_status(name)
    if status is None:
        return _refuse_unknown(session, name, "plugins show")
    plugin = documents.plugin_of(session.registry, name)
    environment = session.registry.choice(name).environment
    if sbom:
        session.terminal.document(_sbom(plugin, environment, status.reason))
        return Exit.DONE
    document = documents.plugin_document(status, plugin, session.settings, environment)
    if plugin is not None and status.state != PluginState.UNAVAILABLE:
        # Only loading it, in a box, tells whether calls can be forked from it.
        with session.tool_runner() as tool_runner:
            document |= documents.loaded_document(tool_runner, name)
    if session.shared.as_json:
        session.terminal.document(document)
    else:
        first = [documents.plugin_of(session.registry, one) for one in before]
        session.terminal.show(plugin_view(document, plugin, *first))
    return Exit.DONE


def _refuse_unknown(session: Session, name: str, line: str) -> Exit:
    known = suggestion(name, session.registry.list_plugins())
    words = f"there is no plugin {shown(name)[:100]}; {known}"
    return refuse_name(session, name, instead_of(name, session.registry, line) or words)


def _sbom(plugin: Plugin | None, environment: Environment | None, reason: str) -> dict[str, Any]:
    if plugin is None or environment is None:
        message = reason or "its calls use the runner's own packages: it has no environment"
        raise Refused(message)
    return bill_of_materials(plugin, environment)


@plugins_app.command(
    "check",
    epilog=examples(
        "toolrunner plugins check my_plugin.py",
        "toolrunner plugins check .",
        "toolrunner plugins check my_plugin.py --sample report.pdf",
        "toolrunner plugins check --debug my_plugin.py",
    ),
)
@command
def check_plugin(
    session: Session,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A plugin's file or folder, or a folder of them.")
    ],
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Run it once WITHOUT a box, with your own rights, for a debugger: of code of your "
            "own alone. (toolrunner --debug plugins check shows tracebacks.)",
        ),
    ] = False,
    sample: Annotated[
        list[str] | None,
        typer.Option(
            "--sample",
            metavar="FILE",
            help="What to call it with: an image, a JSON object, or a file; repeated, all of them "
            "go into the one call. Without it, a sample beside the plugin, or one of ours.",
            show_default=False,
        ),
    ] = None,
) -> Exit:
    """Check a plugin: its manifest, that it loads in the sandbox, and that it answers a sample."""
    if debug:
        return run_plainly(session, path, sample or [])
    worst = Exit.DONE
    for report in check_path(session, path, sample or []):
        if session.shared.as_json:
            session.terminal.document(report.document())
        else:
            session.terminal.show(report_view(report, debug=session.shared.debug))
        worst = max(worst, report.status)
    return worst


@plugins_app.command("disable", epilog=examples("toolrunner plugins disable my-plugin"))
@command
def disable_plugin(session: Session, name: PluginName) -> Exit:
    """Take no calls of a plugin until it is enabled, on all servers that share this state."""
    return _switched(session, name, "disable", "is disabled: it takes no calls")


@plugins_app.command("enable", epilog=examples("toolrunner plugins enable my-plugin"))
@command
def enable_plugin(session: Session, name: PluginName) -> Exit:
    """Take calls of a plugin again, also of one that is suspended for its failures."""
    return _switched(session, name, "enable", "takes calls")


def _switched(session: Session, name: str, what: str, words: str) -> Exit:
    session.settings.kept_state()  # refuses where there is no place for it
    registry = session.registry
    with as_servers_have_it(session.settings, registry):
        if not (registry.suspend if what == "disable" else registry.resume)(name):
            return _refuse_unknown(session, name, f"plugins {what}")
        names = registry.tools_of(name) or [name]
        statuses = [status for one in names if (status := registry.get_status(one))]
    if session.shared.as_json:
        for status in statuses:
            session.terminal.document(documents.status_document(status))
    else:
        session.terminal.say(f"{name} {words}")
    return Exit.DONE


@plugins_app.command(
    "new",
    epilog=examples(
        "toolrunner plugins new my-plugin",
        "toolrunner plugins new my-plugin --template json --dir ~/plugins",
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
    template: Annotated[
        Template, typer.Option("--template", help="What it is given, or written in.")
    ] = Template.IMAGE,
    json_input: Annotated[
        bool, typer.Option("--json-input", help="The same as --template json.")
    ] = False,
) -> Exit:
    """Write a new plugin with a sample and a test: it works at once and shows how."""
    _refuse_taken(session, name)
    made = write_template(name, folder, Template.JSON if json_input else template)
    if session.shared.as_json:
        files = [str(path) for path in made.files]
        session.terminal.document({"plugin": name, "path": str(made.path), "files": files})
    else:
        session.terminal.show(str(made.path))
    tests = next(path for path in made.files if path.name.startswith("test_"))
    session.terminal.say(
        f"Next: edit it, then\n"
        f"  toolrunner plugins check {made.path}\n"
        f"  toolrunner --plugins {made.path} {made.use}\n"
        f"  pytest {tests}"
    )
    return Exit.DONE


def _refuse_taken(session: Session, name: str) -> None:
    """Refuse the name of a plugin that is known here: used together, neither would run."""
    registry = session.registry
    for one in registry.tools_of(name) or [name]:
        if registry.get_status(one) is None:
            continue
        plugin = documents.plugin_of(registry, one)
        whose = f" ({shown(plugin.origin)})" if plugin is not None else ""
        raise Refused(
            f"there is a plugin {name} already{whose}, and of two of one name neither runs; "
            f"choose another name, such as {legal_name(f'my-{name}')}"
        )
