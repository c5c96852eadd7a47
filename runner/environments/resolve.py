"""From what a plugin needs to what exactly is installed: uv resolves, in the box.

Also makes locks. A lock decides what it pins; whether that is what the plugin asks for is looked
at here, without the network.
"""

from __future__ import annotations

import json
from pathlib import Path

from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.environments.pins import (
    Pin,
    PinError,
    all_hashed,
    parse_pins,
    unanswered,
)
from toolrunner.runner.environments.pythons import Python
from toolrunner.runner.environments.reasons import failed
from toolrunner.runner.environments.wish import (
    FOLDER_LOCKS,
    SCRIPT_LOCK_SUFFIX,
    Wish,
    lock_paths,
    read_capped,
)
from toolrunner.runner.environments.workshop import Bench
from toolrunner.runner.errors import ErrorType, GovernedError

PROJECT_LOCK, REQUIREMENTS = FOLDER_LOCKS

_SCRIPT = "plugin.py"
_SCRIPT_LOCK = f"{_SCRIPT}{SCRIPT_LOCK_SUFFIX}"
_PLAIN = ("--no-header", "--no-annotate")


def resolve(bench: Bench, plugin: Plugin, wish: Wish, python: Python) -> tuple[Pin, ...]:
    """Return what is to be installed; ``GovernedError`` if that cannot be found out."""
    if wish.lock is None:
        text = _compiled(bench, [_put_dependencies(bench, wish)])
    elif wish.lock_name == REQUIREMENTS:
        text = _of_requirements(bench, plugin, wish)
    else:
        text = _exported(bench, plugin, wish)
    pins = _parsed(text)
    if wish.lock is not None:
        missing = unanswered(pins, wish.dependencies, python)
        if missing:
            remedy = lock_remedy(plugin, wish)
            message = f"its lock does not answer its dependencies: {missing}; {remedy}"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
    return pins


def lock_remedy(plugin: Plugin, wish: Wish) -> str:
    """Return how to mend the lock of a plugin that is of no use; "" if it has none."""
    if wish.lock is None:
        return ""
    if wish.lock_name == REQUIREMENTS:
        return f"correct its {REQUIREMENTS}, or make it anew with what has made it"
    return f"make its lock anew: toolrunner plugins lock {plugin.found_at}"


def _of_requirements(bench: Bench, plugin: Plugin, wish: Wish) -> str:
    """Return what a requirements.txt comes to: itself, if it leaves nothing open."""
    assert wish.lock is not None
    text = wish.lock.decode("utf-8", "replace")
    try:
        if all_hashed(parse_pins(text)):
            return text
    except PinError:
        pass
    files = [bench.put(REQUIREMENTS, wish.lock)]
    if wish.dependencies:
        files.append(_put_dependencies(bench, wish))
    return _compiled(bench, files, lock_remedy(plugin, wish))


def _put_dependencies(bench: Bench, wish: Wish) -> str:
    return bench.put("dependencies.in", "\n".join(wish.dependencies))


def _exported(bench: Bench, plugin: Plugin, wish: Wish) -> str:
    """Return what one of uv's locks pins, with hashes."""
    remedy = lock_remedy(plugin, wish)
    options = _put_project(bench, plugin, wish)
    text = _ran(bench, "read its lock", remedy, "export", *options, "--frozen")
    if all_hashed(_parsed(text)):
        return text
    # A lock of local wheels has no hashes of them: they are made now. What depends on what is
    # looked at again, as uv opens no wheel otherwise.
    return _compiled(bench, [bench.put("exported.in", text)], remedy)


def _put_project(bench: Bench, plugin: Plugin, wish: Wish | None) -> list[str]:
    """Write down what uv takes for a script or a project; return the options that name it.

    A file of the plugin's own is not needed for it: what counts stands in its manifest.
    """
    manifest = plugin.manifest
    dependencies = json.dumps(list(manifest.dependencies))
    requires = manifest.requires_python or ">=3.11"
    if plugin.kind == "file":
        block = f"requires-python = {json.dumps(requires)}\ndependencies = {dependencies}"
        lines = "".join(f"# {line}\n" for line in block.splitlines())
        script = bench.put(_SCRIPT, f"# /// script\n{lines}# ///\n")
        if wish is not None and wish.lock is not None:
            bench.put(_SCRIPT_LOCK, wish.lock)
        return ["--script", script]
    own = _own_project(plugin)
    text = (
        f'[project]\nname = "plugin-{manifest.name}"\nversion = "0"\n'
        f"requires-python = {json.dumps(requires)}\ndependencies = {dependencies}\n"
    )
    bench.put("pyproject.toml", text if own is None else own)
    if wish is not None and wish.lock is not None:
        bench.put(PROJECT_LOCK, wish.lock)
        return ["--no-dev", "--no-emit-project"]
    return []


def _own_project(plugin: Plugin) -> bytes | None:
    """Return a plugin's own ``pyproject.toml``, which nobody may have laid a link in place of."""
    path = plugin.path / "pyproject.toml"
    if not path.is_file() or path.is_symlink():
        return None
    try:
        return read_capped(path)
    except OSError as error:
        message = f"its pyproject.toml cannot be read: {error}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None


def _compiled(bench: Bench, files: list[str], remedy: str = "") -> str:
    return _ran(bench, "resolve", remedy, "pip", "compile", *files, "--generate-hashes")


def _ran(bench: Bench, what: str, remedy: str, *arguments: str) -> str:
    output = bench.uv(*arguments, *_PLAIN)
    if output.status != 0:
        raise failed(what, output, offline=bench.offline, lock_remedy=remedy)
    return output.text


def _parsed(text: str) -> tuple[Pin, ...]:
    try:
        return parse_pins(text)
    except PinError as error:
        message = f"what was resolved cannot be installed: {error}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None


def make_lock(bench: Bench, plugin: Plugin) -> tuple[Path, bytes]:
    """Return the path of a plugin's lock, and what is to stand in it."""
    options = _put_project(bench, plugin, None)
    output = bench.uv("lock", *options)
    if output.status != 0:
        raise failed("lock", output, offline=bench.offline)
    text = bench.read(_SCRIPT_LOCK if plugin.kind == "file" else PROJECT_LOCK)
    return lock_paths(plugin)[0], text
