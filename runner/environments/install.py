"""Makes environments: one at a time on a state folder, each in a box, finished by one rename.

Called by the command line alone: no call of a plugin ever installs anything. Nothing of what is
installed is run here; whatever interrupts it, what is not finished does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.environments.contents import packages_of
from toolrunner.runner.environments.pins import Pin, all_hashed, digest_of
from toolrunner.runner.environments.prune import Pruned, prune_environments
from toolrunner.runner.environments.pythons import Python, choose_python
from toolrunner.runner.environments.reasons import failed
from toolrunner.runner.environments.resolve import (
    REQUIREMENTS,
    lock_remedy,
    make_lock,
    resolve,
)
from toolrunner.runner.environments.store import (
    BUILDING,
    FORMAT,
    RECORD,
    RECORD_CAP,
    SERVED_SUFFIX,
    WANTED,
    DamagedError,
    Environment,
    EnvironmentStore,
    this_platform,
)
from toolrunner.runner.environments.uv import configuration
from toolrunner.runner.environments.wish import Wish, lock_found, place_of, wish_of
from toolrunner.runner.environments.workshop import (
    DISK_MB,
    LIMITS,
    Bench,
    Options,
    Workshop,
    remove_any,
    sweep,
)
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.building import Builder, Copied, HostileTreeError, copy_tree, tree_bytes
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB, Limits

OnProgress = Callable[[str], None]

_LOCK = "lock"
_FILES_OF_UV = "uv"
_ENDLESS = 1 << 62  # bytes that no disk has: what cannot be measured counts as more


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin's environment, and where it is from.

    ``made`` by this install, made before for another plugin and ``shared``, or ``present``.
    """

    environment: Environment
    how: Literal["made", "shared", "present"]


def quiet(_words: str) -> None:
    """Say nothing."""


class Installer:
    """Holds a state folder's environments for as long as it is entered. Not thread-safe."""

    def __init__(
        self,
        settings: Settings,
        options: Options | None = None,
        *,
        on_wait: Callable[[], None] = lambda: None,
        layers: Layers | None = None,
        limits: Limits = LIMITS,
        disk_mb: int = DISK_MB,
    ) -> None:
        """``on_wait`` is called where another install has to end first.

        ``layers``: apply these instead of all that the host has, as ``Sandbox`` does.
        """
        self._settings = settings
        self._options = options or Options()
        self._on_wait = on_wait
        self._layers = layers
        self._limits = limits
        self._disk_mb = disk_mb
        self.store = EnvironmentStore(settings.state)
        self._folder = self.store.folder
        self._building = self._folder / BUILDING
        self._stack = contextlib.ExitStack()
        self._workshop: Workshop

    def __enter__(self) -> Installer:
        with contextlib.ExitStack() as stack:
            try:
                self._make_folders()
            except OSError as error:
                state = self._settings.state
                message = (
                    f"the state folder {state} cannot be used: {error.filename}: {error.strerror}; "
                    "let this user write to it, or choose another one: --state DIR"
                )
                raise GovernedError(ErrorType.SANDBOX_ERROR, message) from None
            stack.enter_context(self._locked())
            sweep(self._building)
            degraded = self._settings.isolation == "degraded"
            builder = stack.enter_context(Builder(degraded=degraded, layers=self._layers))
            self._workshop = Workshop(
                builder,
                self._building,
                configuration(),
                self._options,
                limits=self._limits,
                disk_mb=self._disk_mb,
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _make_folders(self) -> None:
        self._settings.kept_state().mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder, mode in (
            (self._folder, 0o755),
            (self._folder / WANTED, 0o755),
            (self._building, 0o700),
            (self._folder / _FILES_OF_UV, 0o700),
        ):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(mode)
            found = folder.lstat()
            if found.st_uid != os.geteuid() or folder.is_symlink():
                message = (
                    f"{folder} belongs to user {found.st_uid}: install as that user, or choose "
                    "another state folder: --state DIR"
                )
                raise GovernedError(ErrorType.SANDBOX_ERROR, message)
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                message = f"other users can change {folder}: chmod go-w, or --state DIR"
                raise GovernedError(ErrorType.SANDBOX_ERROR, message)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let nobody else install here meanwhile; wait for who does."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._folder / _LOCK, flags, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def install(self, plugin: Plugin, on_progress: OnProgress = quiet) -> Installed | None:
        """Give a plugin its environment; ``None`` if it needs none. ``GovernedError``.

        ``on_progress`` hears in words what is done.
        """
        self._workshop.on_progress = on_progress
        _refuse_the_runners(plugin)
        wish = _wish(plugin)
        if wish is None:
            return None
        present = self.store.find(wish)
        if present is not None:
            self._mark(plugin)
            return Installed(present, "present")
        python = choose_python(wish.requires_python)
        remedy = lock_remedy(plugin, wish)
        with self._workshop.bench(python) as bench:
            on_progress("resolving")
            pins = resolve(bench, plugin, wish, python) if _has_packages(wish) else ()
            builder = wish.key if self._options.allow_builds else ""
            digest = digest_of(pins, python, builder=builder)
            environment = self._known(digest)
            how: Literal["made", "shared"] = "made" if environment is None else "shared"
            if environment is None:
                environment = self._make(bench, pins, python, digest, remedy)
        self._mark(plugin)
        answer = {"digest": digest, "plugin": place_of(plugin)}
        self._write(self._folder / WANTED / f"{wish.key}.json", answer)
        return Installed(environment, how)

    def _mark(self, plugin: Plugin) -> None:
        """Note that a plugin has had an environment, whatever it asks for later."""
        if not self.store.has_served(plugin.name):
            self._write(self._folder / WANTED / f"{plugin.name}{SERVED_SUFFIX}", {})

    def lock(self, plugin: Plugin, on_progress: OnProgress = quiet) -> Path:
        """Write down, beside a plugin, what exactly its dependencies come to."""
        self._workshop.on_progress = on_progress
        _refuse_the_runners(plugin)
        if not plugin.manifest.dependencies:
            message = f"{plugin.name} has no dependencies to lock"
            if lock_found(plugin) == REQUIREMENTS:
                message = (
                    f"the manifest of {plugin.name} names no dependencies, and its {REQUIREMENTS} "
                    "is its lock: make that anew, for instance with "
                    "`uv pip compile --generate-hashes`"
                )
            raise GovernedError(ErrorType.VALIDATION_ERROR, message)
        python = choose_python(plugin.manifest.requires_python or None)
        with self._workshop.bench(python) as bench:
            on_progress("resolving")
            path, text = make_lock(bench, plugin)
        _replace(path, text)
        return path

    def _known(self, digest: str) -> Environment | None:
        """Return the environment of a digest, which another plugin may have had made."""
        try:
            return self.store.read(digest)
        except FileNotFoundError:
            return None
        except (DamagedError, OSError):
            remove_any(self._folder / digest)
            return None

    def _make(
        self, bench: Bench, pins: tuple[Pin, ...], python: Python, digest: str, remedy: str
    ) -> Environment:
        if pins:
            ending = "" if len(pins) == 1 else "s"
            self._workshop.on_progress(f"installing {len(pins)} package{ending}")
            self._fill(bench, pins, remedy)
        with contextlib.ExitStack() as stack:
            new = Path(tempfile.mkdtemp(dir=self._building))
            stack.callback(remove_any, new)
            folder = new / digest
            site_packages = f"lib/python{python.short}/site-packages"
            target = folder / site_packages
            target.parent.mkdir(parents=True)
            copied = self._taken_over(bench, target) if pins else _empty(target)
            record = {
                "format": FORMAT,
                "digest": digest,
                "platform": this_platform(),
                "python": {
                    "executable": python.executable,
                    "version": python.version,
                    "implementation": python.implementation,
                    "abi": python.abi,
                },
                "site_packages": site_packages,
                "packages": packages_of(target, copied, pins),
                "builds": self._options.allow_builds,
            }
            if len(json.dumps(record)) > RECORD_CAP:
                message = "it holds more packages than can be told of; use other versions"
                raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
            self._write(folder / RECORD, record)
            for made in (target.parent, target.parent.parent):
                made.chmod(0o555)
            folder.chmod(0o755)  # to move it, its owner has to be allowed to write to it
            os.sync()  # so that after a power cut, too, what has its name is whole
            folder.rename(self._folder / digest)
            (self._folder / digest).chmod(0o555)
        return self.store.read(digest)

    def _fill(self, bench: Bench, pins: Iterable[Pin], remedy: str) -> None:
        lines = [_line(pin) for pin in pins]
        hashed = ["--require-hashes"] if all_hashed(pins) else []
        output = bench.uv(
            "pip",
            "install",
            *("--target", str(bench.target)),
            *("--requirement", bench.put("pinned.txt", "\n".join(lines) + "\n")),
            "--no-deps",
            "--compile-bytecode",
            *hashed,
        )
        if output.status != 0:
            raise failed("install", output, offline=bench.offline, lock_remedy=remedy)

    def _taken_over(self, bench: Bench, target: Path) -> Copied:
        self._workshop.on_progress("taking over")
        most = self._disk_mb * MIB
        try:
            return copy_tree(str(bench.target), str(target), owner=bench.owner, most_bytes=most)
        except FileNotFoundError:
            words = "there is nothing where it was to be installed"
        except HostileTreeError as error:
            words = f"what was installed cannot be used: {error}"
        message = f"{words}; use other versions of its dependencies"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        """Write a record, so that it is there whole or not at all."""
        with tempfile.NamedTemporaryFile("w", dir=self._building, delete=False) as file:
            json.dump(document, file)
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        Path(file.name).replace(path)

    def prune(self, plugins: Iterable[Plugin], *, with_cache: bool = False) -> Pruned:
        """Remove what none of these plugins needs; ``with_cache``: what uv has kept as well."""
        known = list(plugins)
        wishes = [wish for plugin in known if (wish := _wish(plugin)) is not None]
        pruned = prune_environments(self._folder, self._building, (wish.key for wish in wishes))
        places = {place_of(plugin) for plugin in known}
        unknown = tuple(place for place in pruned.plugins if place not in places)
        pruned = replace(pruned, plugins=unknown)
        if not with_cache:
            return pruned
        cache = self._folder / _FILES_OF_UV
        size = tree_bytes(str(cache), _ENDLESS)
        remove_any(cache)
        return replace(pruned, cache_bytes=size if size <= _ENDLESS else 0)


def _refuse_the_runners(plugin: Plugin) -> None:
    """Refuse a plugin that no environment would help."""
    if plugin.manifest.environment == "runner":
        message = (
            f'{plugin.name} says environment = "runner": nothing is installed or locked for it; '
            "install what it needs where toolrunner itself is installed, or take that line out of "
            "its manifest"
        )
        raise GovernedError(ErrorType.VALIDATION_ERROR, message)


def _wish(plugin: Plugin) -> Wish | None:
    try:
        return wish_of(plugin)
    except OSError as error:
        message = f"the lock of {plugin.name} cannot be read: {error}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None


def _replace(path: Path, text: bytes) -> None:
    """Write a file whole or not at all, in a folder where others may lay links for its writer."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, 0o644), "wb") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _has_packages(wish: Wish) -> bool:
    return bool(wish.dependencies) or wish.lock is not None


def _empty(target: Path) -> Copied:
    target.mkdir()
    return Copied()


def _line(pin: Pin) -> str:
    return " ".join([str(pin.requirement), *(f"--hash={one}" for one in pin.hashes)])
