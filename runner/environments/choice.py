"""Which modules a plugin's calls find: those of an environment of its own, or the runner's.

Asked by the registry when it has read a plugin, and again when an environment has been installed
or removed. Reads manifests and the records of environments; no network, and no other program.
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from toolrunner.plugins.discovery import BUNDLED
from toolrunner.plugins.errors import shown
from toolrunner.plugins.requirements import fits_this_python, missing_requirements, unmet
from toolrunner.runner.environments.pythons import NO_PYTHON, is_any_like
from toolrunner.runner.environments.store import (
    FOLDER,
    RECORD,
    WANTED,
    Environment,
    EnvironmentStore,
)
from toolrunner.runner.environments.wish import Wish, lock_found, place_of, wish_of
from toolrunner.runner.settings.settings import is_default_state
from toolrunner.sandbox.interpreter import Interpreter, with_packages

if TYPE_CHECKING:
    from toolrunner.plugins.plugin import Plugin

Kind = Literal["runner", "own", ""]

INSTALL: Final = "toolrunner plugins install"  # in a reason, before what it is to install

_CHANGED = "; since the last install its dependencies or its lock have changed"
_SETTLED_SECONDS = 0.1  # two changes may bear one time, if they are closer than a clock tick


@dataclass(frozen=True, slots=True)
class Choice:
    """What a plugin's calls see; ``reason``: why it cannot run here, and then ``kind`` is "".

    ``install``: the command that makes the environment, which a reason for want of one ends with;
    "" where it would fail.
    ``is_optional``: the plugin is bundled, and nobody has installed one for it so far.
    """

    kind: Kind
    environment: Environment | None = None
    reason: str = ""
    install: str = ""
    is_optional: bool = False

    def interpreter(self) -> Interpreter | None:
        """Return what runs its boxes, ``None`` for the runner's own; ``UnusableError``."""
        found = self.environment
        if found is None:
            return None
        packages = (str(found.site_packages),)
        record = str(found.folder / RECORD)
        return with_packages(str(found.interpreter), packages, record, found.identity)

    @property
    def name(self) -> str:
        """What tells the environment from all others; "" for the runner's."""
        return "" if self.environment is None else self.environment.folder.name

    @property
    def is_lost(self) -> bool:
        """Whether what it would see has been removed since."""
        return self.environment is not None and not self.environment.is_there()


class Environments:
    """The environments below a state folder, as plugins need them. Thread-safe."""

    def __init__(self, state: Path | None) -> None:
        """``state``: it need not be there; ``None`` where no environment is ever looked for."""
        self._store = None if state is None else EnvironmentStore(state)
        self._state = state
        self._wanted = "" if state is None else str(state / FOLDER / WANTED)

    def choose(self, plugin: Plugin) -> Choice:
        """Return what a plugin's calls see as things are now."""
        manifest = plugin.manifest
        if manifest.environment == "runner" or self._store is None:
            reason = missing_requirements(manifest)
            if not reason:
                return Choice("runner")
            return Choice("", None, reason, is_optional=_is_bundled(plugin))
        try:
            wish = wish_of(plugin)
        except OSError as error:
            return Choice("", None, f"OSError: its lock cannot be read: {error}")
        if wish is None:
            return Choice("runner")
        found = self._store.find(wish)
        if found is not None:
            return Choice("own", found)
        why_own = _why_own(plugin, wish, self._store)
        lacking = unmet(manifest)
        if lacking is None and not why_own:
            return Choice("runner")
        words = lacking or f"PackageNotFoundError: {why_own}"
        is_optional = _is_bundled(plugin) and not self._store.has_served(manifest.plugin)
        if not fits_this_python(manifest) and not is_any_like(manifest.requires_python):
            words = f"{words}, and no other of this host fits; {NO_PYTHON}"
            return Choice("", None, words, is_optional=is_optional)
        if self._store.has_answered_another(wish, place_of(plugin)):
            words = f"{words}{_CHANGED}"
        install = install_command(plugin, self._state)
        return Choice("", None, f"{words}: {install}", install, is_optional)

    def stamp(self) -> int | None:
        """Return a number that is another one once environments have come or gone.

        ``None`` while that cannot be told: there has been a change only now.
        """
        if not self._wanted:
            return 0
        try:
            changed = os.stat(self._wanted).st_mtime_ns  # noqa: PTH116 - each call asks
        except OSError:
            return 0
        return changed if time.time() - changed / 1e9 > _SETTLED_SECONDS else None


def install_command(plugin: Plugin, state: Path | None) -> str:
    """Return what installs a plugin's environment below a state folder, as a shell takes it.

    Only bundled plugins and installed ones are known by their names wherever it is typed.
    """
    place = "" if state is None or is_default_state(state) else f"--state {_word(state)} "
    is_known = plugin.kind == "installed" or _is_bundled(plugin)
    return f"{INSTALL} {place}{plugin.manifest.plugin if is_known else _word(plugin.found_at)}"


def _is_bundled(plugin: Plugin) -> bool:
    return plugin.path.parent == BUNDLED


def _word(path: str | os.PathLike[str]) -> str:
    return shlex.quote(shown(path))


def _why_own(plugin: Plugin, wish: Wish, store: EnvironmentStore) -> str:
    """Return why the runner's packages would not do even if they meet all; nothing if they would.

    What somebody has pinned, or had installed, is never answered by other versions in silence.
    """
    if wish.lock is not None:
        return f"needs what its {lock_found(plugin)} pins, which is not installed"
    if plugin.manifest.environment == "own":
        return "needs an environment of its own, which is not installed"
    if store.has_served(plugin.manifest.plugin):
        return "has had an environment of its own, and one for what it needs now is not installed"
    return ""
