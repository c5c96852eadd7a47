"""The ``plugins`` commands about what plugins need: install, lock, prune."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from toolrunner.api.cli.calls import Done, refusal
from toolrunner.api.cli.commands.plugins import plugins_app
from toolrunner.api.cli.console import Terminal, counted, size_words
from toolrunner.api.cli.exits import Exit, Refused, exit_of
from toolrunner.api.cli.options import command, examples
from toolrunner.api.cli.outcomes import show
from toolrunner.api.cli.progress import Progress
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views.plugins import packages_words
from toolrunner.api.documents import packages_document, started
from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import Broken, Plugin
from toolrunner.plugins.errors import ManifestError, shown, suggestion
from toolrunner.runner.call import Call
from toolrunner.runner.environments.choice import INSTALL, install_command
from toolrunner.runner.environments.install import Installed, Installer, OnProgress
from toolrunner.runner.environments.store import Environment
from toolrunner.runner.environments.wish import wish_of
from toolrunner.runner.environments.workshop import Options
from toolrunner.runner.errors import ErrorType, GovernedError, one_line
from toolrunner.runner.registry.plugin_state import PluginState
from toolrunner.runner.registry.registry import PluginRegistry

_Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME|PATH]...",
        help="Plugins' names, files or folders; without any, all that need something.",
        show_default=False,
    ),
]
_AllowBuilds = Annotated[
    bool,
    typer.Option(
        "--allow-builds", help="Build packages that have no wheel; their code runs, in a box."
    ),
]
_Offline = Annotated[
    bool, typer.Option("--offline", help="Use no network: what was fetched before, and folders.")
]
_FindLinks = Annotated[
    list[str] | None,
    typer.Option(
        "--find-links",
        metavar="FOLDER",
        help="A folder with wheels, or a page of links to them; may be repeated.",
        show_default=False,
    ),
]
_WithCache = Annotated[
    bool, typer.Option("--cache", help="Also remove what was fetched, for installs to come.")
]


@plugins_app.command(
    "install",
    epilog=examples(
        "toolrunner plugins install",
        "toolrunner plugins install edge-detector",
        "toolrunner plugins install ./plugins --find-links ./wheels --offline",
    ),
)
@command
def install(
    session: Session,
    targets: _Targets = None,
    allow_builds: _AllowBuilds = False,
    offline: _Offline = False,
    find_links: _FindLinks = None,
) -> Exit:
    """Install what plugins need, each set of libraries once, apart from this program's own."""
    options = _options(allow_builds, offline, find_links)
    plugins, broken = _named(session, targets) if targets else (_lacking(session), [])
    if not plugins and not broken:
        session.terminal.say(
            "No plugin that is known here needs anything that is not here. Name others by their "
            f"paths: {INSTALL} PATH"
        )
        return Exit.DONE
    worst = max((_fail(session, one.name, _unreadable(one)) for one in broken), default=Exit.DONE)
    # One with the runner's packages is not passed over: it is refused, with the reason.
    needy = [one for one in plugins if _wishes(one) or one.manifest.environment == "runner"]
    for plugin in plugins:
        if plugin not in needy:
            _show_needless(session, plugin)
    return max(worst, _each(session, needy, options, _install)) if needy else worst


@plugins_app.command(
    "lock",
    epilog=examples(
        "toolrunner plugins lock my_plugin.py", "toolrunner plugins lock ./my-folder-plugin"
    ),
)
@command
def lock(
    session: Session,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A plugin's file or folder.")],
    allow_builds: _AllowBuilds = False,
    offline: _Offline = False,
    find_links: _FindLinks = None,
) -> Exit:
    """Write down beside a plugin which versions of what it needs are installed."""
    options = _options(allow_builds, offline, find_links)
    plugins, broken = _at(path)
    worst = max((_fail(session, one.name, _unreadable(one)) for one in broken), default=Exit.DONE)
    return max(worst, _each(session, plugins, options, _lock)) if plugins else worst


@plugins_app.command("prune", epilog=examples("toolrunner plugins prune"))
@command
def prune(session: Session, with_cache: _WithCache = False) -> Exit:
    """Remove installed libraries that no plugin known here needs: name all with --plugins."""
    plugins = [plugin for plugin, _ in _known(session)]
    with Installer(session.settings, on_wait=_waiting(session)) as installer:
        pruned = installer.prune(plugins, with_cache=with_cache)
    if session.shared.as_json:
        session.terminal.document(
            {
                "removed": pruned.removed,
                "in_use": pruned.in_use,
                "bytes": pruned.bytes,
                "cache_bytes": pruned.cache_bytes,
                "plugins": pruned.plugins,
            }
        )
        return Exit.DONE
    words = f"Removed {counted(len(pruned.removed), 'environment')}, {size_words(pruned.bytes)}"
    if with_cache:
        words += f", and what was fetched, {size_words(pruned.cache_bytes)}"
    session.terminal.show(f"{words}.")
    for path in pruned.plugins:
        session.terminal.say(
            f"{shown(path)} has none any more, as no plugin that is known here needs it; if a "
            "server runs it, install it again, and prune with --plugins"
        )
    if pruned.in_use:
        session.terminal.say(
            f"{counted(len(pruned.in_use), 'environment')} that no plugin known here needs, and "
            "that a server or a call uses, stayed; name its plugins with --plugins, or prune again "
            "when it has ended"
        )
    return Exit.DONE


_Step = Callable[[Session, Installer, Plugin, OnProgress], dict[str, Any]]


def _each(session: Session, plugins: Iterable[Plugin], options: Options, step: _Step) -> Exit:
    """Do something with each plugin, go on after one that fails, and return the worst outcome."""
    worst = Exit.DONE
    with Installer(session.settings, options, on_wait=_waiting(session)) as installer:
        for plugin in plugins:
            try:
                with Progress(session.terminal, plugin.name, 1) as progress:
                    teller = _teller(session.terminal, plugin.name, progress)
                    document = step(session, installer, plugin, teller)
            except GovernedError as error:
                worst = max(worst, _fail(session, plugin.name, error))
                continue
            if session.shared.as_json:
                session.terminal.document(document)
    return worst


def _fail(session: Session, name: str, error: GovernedError) -> Exit:
    """Show what has failed for one plugin, as a call's error is shown; return the outcome."""
    call = Call()
    done = Done(name, None, call, None, refusal(name, call, error))
    show(session, done, was_called=False)
    return exit_of(done.envelope)


def _unreadable(broken: Broken) -> GovernedError:
    return GovernedError(ErrorType.PLUGIN_UNAVAILABLE, broken.reason)


def _waiting(session: Session) -> Callable[[], None]:
    return lambda: session.terminal.say("Another install is under way: waiting for it to end.")


def _teller(terminal: Terminal, name: str, progress: Progress) -> OnProgress:
    """Return what shows how far it is: a bar on a terminal, lines elsewhere."""
    if progress.is_shown:
        return lambda words: progress.watcher.on_progress(0.0, words)
    return lambda words: terminal.say(f"{name}: {one_line(words)}")


def _install(
    session: Session, installer: Installer, plugin: Plugin, teller: OnProgress
) -> dict[str, Any]:
    began = time.monotonic()
    installed = installer.install(plugin, teller)
    if installed is not None and installed.how != "present":
        _load_once(session, plugin, teller)
    if not session.shared.as_json:
        session.terminal.show(_installed_words(plugin, installed, time.monotonic() - began))
    if installed is None:
        return {"plugin": plugin.name, "environment": None, "how": None}
    document = environment_document(installed.environment)
    return {"plugin": plugin.name, "environment": document, "how": installed.how}


def _show_needless(session: Session, plugin: Plugin) -> None:
    if session.shared.as_json:
        session.terminal.document({"plugin": plugin.name, "environment": None, "how": None})
    else:
        session.terminal.show(_installed_words(plugin, None, 0.0))


def _load_once(session: Session, plugin: Plugin, teller: OnProgress) -> None:
    """Load a plugin in its box, so that what its import writes into caches is there for calls."""
    teller("loading it once")
    registry = PluginRegistry()
    first = plugin.each[0]
    registry.register(first.name, instance=first)
    with session.tool_runner(registry) as tool_runner:
        start = started(tool_runner, first.name)
    if start.mode == "failed":
        words = one_line("; ".join(start.reasons))
        session.terminal.say(f"{plugin.name}: it cannot be loaded: {words}")


def _installed_words(plugin: Plugin, installed: Installed | None, seconds: float) -> str:
    if installed is None:
        return f"{plugin.name}: needs nothing"
    what = packages_words(packages_document(installed.environment))
    if installed.how == "made":
        return f"{plugin.name}: installed {what}, in {seconds:.1f} s"
    if installed.how == "shared":
        return f"{plugin.name}: has an environment that was here before, {what}"
    return f"{plugin.name}: installed already, {what}"


def _lock(
    session: Session, installer: Installer, plugin: Plugin, teller: OnProgress
) -> dict[str, Any]:
    path = installer.lock(plugin, teller)
    if not session.shared.as_json:
        session.terminal.show(shown(path))
    wish = wish_of(plugin)
    if wish is not None and installer.store.find(wish) is None:
        command = install_command(plugin, session.settings.state)
        session.terminal.say(f"{plugin.name}: install what it pins before the next call: {command}")
    return {"plugin": plugin.name, "lock": str(path)}


def environment_document(environment: Environment) -> dict[str, Any]:
    """Return an environment as JSON shows it."""
    return {
        "digest": environment.digest,
        "folder": str(environment.folder),
        "python": environment.python_version,
        "bytes": sum(package.bytes for package in environment.packages),
        "packages": packages_document(environment),
    }


def _options(allow_builds: bool, offline: bool, find_links: list[str] | None) -> Options:
    places = []
    for place in find_links or ():
        if "://" in place:
            places.append(place)
            continue
        if not Path(place).is_dir():
            message = f"{shown(place)}: there is no such folder; name one that holds wheels"
            raise Refused(message)
        places.append(os.path.realpath(place))
    return Options(allow_builds, offline, tuple(places))


def _known(session: Session) -> list[tuple[Plugin, bool]]:
    """Return the plugins that are known and sound, and whether each of them lacks something."""
    found = {}
    for status in session.registry.list_all():
        try:
            plugin = session.registry.plugin(status.name).entire
        except ManifestError:
            continue
        found[plugin.name] = plugin, status.state == PluginState.UNAVAILABLE
    return list(found.values())


def _lacking(session: Session) -> list[Plugin]:
    return [
        plugin
        for plugin, lacks in _known(session)
        if lacks and plugin.manifest.environment != "runner" and _wishes(plugin)
    ]


def _wishes(plugin: Plugin) -> bool:
    try:
        return wish_of(plugin) is not None
    except OSError:
        return True  # its lock cannot be read: what is done with it says so, of it alone


def _named(session: Session, targets: Iterable[str]) -> tuple[list[Plugin], list[Broken]]:
    """Return the plugins of some names and paths, each once, and what at them is broken."""
    plugins: dict[str, Plugin] = {}
    broken: list[Broken] = []
    for target in targets:
        found, bad = _at(target) if _is_path(target) else ([_of_name(session, target)], [])
        for plugin in found:
            plugins.setdefault(str(plugin.path), plugin)
        broken += [one for one in bad if one not in broken]
    return list(plugins.values()), broken


def _is_path(target: str) -> bool:
    return os.sep in target or target in {".", ".."} or target.endswith(".py")


def _at(path: str) -> tuple[list[Plugin], list[Broken]]:
    """Return what is at a path, sound and broken; DiscoveryError or Refused if there is nothing."""
    found, broken = discovery.discover((path,), bundled=False)
    elsewhere = set(discovery.discover((), bundled=False)[1])
    bad = [plugin for plugin in broken if plugin not in elsewhere]
    if not found and len(bad) == 1:
        raise Refused(bad[0].reason)
    if not found and not bad:
        message = f"{shown(path)}: there is no plugin in this folder"
        raise Refused(message)
    return list({one.entire.name: one.entire for one in found}.values()), bad


def _of_name(session: Session, name: str) -> Plugin:
    try:
        return session.registry.plugin(next(iter(session.registry.tools_of(name)), name)).entire
    except KeyError:
        known = suggestion(name, session.registry.list_plugins())
        message = f"there is no plugin {shown(name)[:100]}; {known}"
        if Path(name).exists():
            message += f"; for the file or folder, write ./{shown(name)}"
        else:
            message += f"; a plugin that is not among them is named by its path: {INSTALL} PATH"
        raise Refused(message) from None
    except ManifestError:
        status = session.registry.get_status(name)
        message = f"{name} cannot be used: {status.reason}"
        raise Refused(message) from None
