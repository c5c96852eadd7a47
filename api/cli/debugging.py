"""``plugins check --debug``: the plugin in a plain interpreter, without a box, in this terminal.

Called by ``commands``. This process becomes that interpreter: nothing of ours is left around the
plugin, and nothing of the plugin was in here before. Root is refused: what is debugged needs
none of what root may do. A program is not run here at all.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from typing import NoReturn

from toolrunner.api.cli.by_hand import by_hand
from toolrunner.api.cli.console import plain
from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.own_samples import sample_of
from toolrunner.api.cli.session import Session
from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.errors import shown
from toolrunner.runner.environments.choice import Environments
from toolrunner.runner.payloads.samples import request_of
from toolrunner.runner.plugin_files import PluginFiles
from toolrunner.runner.program import build_program
from toolrunner.sandbox.plain import RootError, become, check_user

_WARNING = """\
warning: {name} runs without a box now: it can read and change all that {user} can. Do this with
code of your own alone. breakpoint() stops in this terminal; without --debug it has a box again.
It is called with {about}."""
_AS_ROOT = (
    "--debug runs a plugin without a box, with all rights of whoever runs it, and root has all of "
    "them: run it as an ordinary user, as by: runuser -u NAME -- toolrunner plugins check --debug "
    "{path}"
)
_BY_HAND = (
    "{name} is a program: this line runs it in your shell, without a box, in a new folder that it "
    "names first. It is called with {about}."
)


def debug(session: Session, path: str, samples: Sequence[str] = ()) -> Exit:
    """Become an interpreter that runs the plugin at a path once; Refused where none should.

    Of a program, the line that runs it by hand is printed: it is its author's to run.
    """
    plugin = _only_plugin(path)
    if not plugin.manifest.command:
        _run_plainly(session, plugin, path, samples)
    sample = sample_of(plugin, samples, session.settings)
    session.terminal.say(_BY_HAND.format(name=plugin.name, about=sample.about))
    session.terminal.out.print(plain(by_hand(plugin, sample)), soft_wrap=True)
    return Exit.DONE


def _run_plainly(session: Session, plugin: Plugin, path: str, samples: Sequence[str]) -> NoReturn:
    try:
        check_user()
    except RootError as error:
        raise Refused(_AS_ROOT.format(path=shown(path))) from error
    choice = Environments(session.settings.state).choose(plugin)
    if choice.reason:
        raise Refused(choice.reason)
    sample = sample_of(plugin, samples, session.settings)
    if sample.is_made_up:
        message = f"{sample.about}, so there is nothing to call it with: give it --sample FILE"
        raise Refused(message)
    program = build_program(plugin, session.settings, PluginFiles(), choice)
    session.terminal.say(_WARNING.format(name=plugin.name, user=_user(), about=sample.about))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    become(program, request_of(sample.payload))


def _only_plugin(path: str) -> Plugin:
    found, broken = discovery.discover((path,), bundled=False)
    elsewhere = set(discovery.discover((), bundled=False)[1])
    here = [plugin for plugin in broken if plugin not in elsewhere]
    if here:
        raise Refused(here[0].reason)
    if len(found) != 1:
        what = ", ".join(plugin.name for plugin in found) or "no plugin"
        message = f"{shown(path)} has {what}: --debug runs one plugin, which is one tool alone"
        raise Refused(message)
    return found[0]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
