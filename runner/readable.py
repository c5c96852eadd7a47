"""What a plugin may read beside its own file or folder: what it asks for, and what is granted.

A manifest never gets secrets for the asking, nor what others keep for themselves. What the
operator's settings name for a plugin is granted as it stands.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.jobs.blob_places import FolderPlace, place_of
from toolrunner.runner.plugin_files import PluginFiles, unreadable
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.settings.sources import settings_files
from toolrunner.sandbox.ending import SCARCE
from toolrunner.sandbox.paths import ForeignLinkError, Found

# There are secrets in them, or other processes.
_NEVER = (
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/mail",
    "/var/backups",
)
# Below these are the homes of people; nothing in one is a plugin's for the asking.
_HOMES = ("/home", "/root", "/Users")
# Where programs put what is for nobody else, scratch folders of calls as well: of these, only what
# everybody may read.
_SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - looked at, not written to


def found(path: str, files: PluginFiles) -> Found | None:
    """Return what a path leads to, ``None`` for nothing; refuse a way that others could change."""
    try:
        return files.find(path)
    except ForeignLinkError as error:
        message = f"PermissionError: {path}: {error.strerror}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None
    except OSError as error:
        if error.errno in SCARCE:
            raise unreadable(path, error) from error
        return None


def readable_by(
    manifest: Manifest, settings: Settings, files: PluginFiles
) -> tuple[dict[str, Found], tuple[str, ...]]:
    """Return the paths beside its own that a plugin may read, and what each leads to.

    And those that lead to nothing. Raises ``GovernedError`` for one that its manifest may not ask
    for.
    """
    own = settings.plugin.get(manifest.plugin)
    granted = {str(path): found(str(path), files) for path in (own.read if own else ())}
    allowed = [os.path.realpath(path) for path in granted]
    allowed += [given.path for given in granted.values() if given is not None]
    readable: dict[str, Found] = {}
    absent = [path for path, given in granted.items() if given is None]
    for path in manifest.read:
        asked = found(path, files)
        # What is not there yet is judged by where it would be.
        real = os.path.realpath(path) if asked is None else asked.path
        if not any(_lies_in(real, given) for given in allowed):
            _check(path, real, manifest.plugin, settings)
            if asked is not None:
                _check_for_all(path, asked, manifest.plugin, files)
        if asked is None:
            absent.append(path)
        else:
            readable[asked.path] = asked
    for path, given in granted.items():
        if given is not None:
            # By the name that the operator gave, and by the one that Landlock sees.
            readable |= {path: given, given.path: given}
    return readable, tuple(dict.fromkeys(absent))


def absent_paths(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the paths that a plugin is to read and that cannot be found, with who names each."""
    own = settings.plugin.get(manifest.plugin)
    by_operator = f"read of [plugin.{manifest.plugin}] in the settings"
    named = dict.fromkeys((str(path) for path in (own.read if own else ())), by_operator)
    named |= dict.fromkeys(manifest.read, "read of its manifest")
    files = PluginFiles()
    return {path: by for path, by in named.items() if _is_absent(path, files)}


def _is_absent(path: str, files: PluginFiles) -> bool:
    try:
        return found(path, files) is None
    except GovernedError:  # it is there, and refused, which calls are told
        return False


def _check(path: str, real: str, name: str, settings: Settings) -> None:
    """Refuse what a manifest asks to read, if it is, holds or lies in what no plugin may see."""
    shared, grant = _shared(), _grant(path, name)
    never = {os.path.realpath(secret) for secret in (*_NEVER, *_HOMES)} | _home()
    own = {os.path.realpath(secret): what for secret, what in _own_places(settings).items()}
    for secret in sorted(never | shared | own.keys()):
        is_inside = _lies_in(real, secret) and (secret not in shared or real == secret)
        if is_inside or _lies_in(secret, real):
            of = f", {own[secret]}" if secret in own else ""
            raise _refused(
                f"{name} asks to read {path}, which plugins may not see for the sake of "
                f"{secret}{of}; move the data to where every user may read it, or {grant}"
            )


def _check_for_all(path: str, asked: Found, name: str, files: PluginFiles) -> None:
    """Refuse what lies in a shared folder, and is not all for everybody to read."""
    if not any(_lies_in(asked.path, folder) for folder in _shared()):
        return
    private = files.private(asked)
    if private:
        raise _refused(
            f"{name} asks to read {path}, of which plugins may see only what everybody may "
            f"read, and {private}; put what it needs where nothing else is, let everybody "
            f"read that (chmod -R a+rX), or {_grant(path, name)}"
        )


def _shared() -> set[str]:
    return {os.path.realpath(folder) for folder in (*_SHARED, tempfile.gettempdir())}


def _grant(path: str, name: str) -> str:
    return f'allow it in the settings: [plugin.{name}] read = ["{path}"]'


def _own_places(settings: Settings) -> dict[str, str]:
    """Return where Toolrunner itself keeps secrets, and what is said of each."""
    places = {str(settings.state): "the state folder"}
    blobs = place_of(settings.blobs)
    if isinstance(blobs, FolderPlace):
        places[str(blobs.folder)] = "where `blobs` has the payloads and results of jobs"
    if settings.keep_failures is not None:
        places[str(settings.keep_failures)] = "where `keep_failures` has the payloads of calls"
    return places | {str(path): "the settings file" for path in settings_files()}


def _home() -> set[str]:
    home = os.path.expanduser("~")  # noqa: PTH111 - Path's raises for users without one
    if not home.startswith("/") or os.path.realpath(home) == "/":  # the "home" of a service
        return set()
    return {os.path.realpath(home)}


def _refused(message: str) -> GovernedError:
    return GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)


def _lies_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)
