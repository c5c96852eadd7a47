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


def readable_by(manifest: Manifest, settings: Settings, files: PluginFiles) -> dict[str, Found]:
    """Return the paths beside its own that a plugin may read, and what each leads to.

    Raises ``GovernedError`` for one that its manifest may not ask for.
    """
    own = settings.plugin.get(manifest.plugin)
    granted = {str(path): found(str(path), files) for path in (own.read if own else ())}
    readable: dict[str, Found] = {}
    for path in manifest.read:
        asked = found(path, files)
        if asked is None:
            continue
        if not any(given and _lies_in(asked.path, given.path) for given in granted.values()):
            _check(path, asked, manifest.plugin, settings, files)
        readable[asked.path] = asked
    for path, given in granted.items():
        if given is not None:
            # By the name that the operator gave, and by the one that Landlock sees.
            readable |= {path: given, given.path: given}
    return readable


def _check(path: str, asked: Found, name: str, settings: Settings, files: PluginFiles) -> None:
    """Refuse what a manifest asks to read, if it is, holds or lies in what no plugin may see."""
    grant = f'allow it in the settings: [plugin.{name}] read = ["{path}"]'
    shared = {os.path.realpath(folder) for folder in (*_SHARED, tempfile.gettempdir())}
    never = {os.path.realpath(secret) for secret in (*_NEVER, *_HOMES)} | _home()
    own = {os.path.realpath(secret): what for secret, what in _own_places(settings).items()}
    for secret in sorted(never | shared | own.keys()):
        is_inside = _lies_in(asked.path, secret) and (secret not in shared or asked.path == secret)
        if is_inside or _lies_in(secret, asked.path):
            of = f", {own[secret]}" if secret in own else ""
            raise _refused(
                f"{name} asks to read {path}, which plugins may not see for the sake of "
                f"{secret}{of}; move the data to where every user may read it, or {grant}"
            )
    if any(_lies_in(asked.path, folder) for folder in shared):
        private = files.private(asked)
        if private:
            raise _refused(
                f"{name} asks to read {path}, of which plugins may see only what everybody may "
                f"read, and {private}; put what it needs where nothing else is, let everybody "
                f"read that (chmod -R a+rX), or {grant}"
            )


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
