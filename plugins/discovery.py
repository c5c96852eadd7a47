"""Finds plugins: the bundled ones, those of allowed distributions, and those on given paths.

Called by the registry. Reads manifests as text; never imports, compiles or runs plugin code, and
never lets one plugin take the name of another.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolrunner.plugins.errors import (
    DiscoveryError,
    ManifestError,
    NoManifest,
    shown,
    suggestion,
)
from toolrunner.plugins.fields import legal_name
from toolrunner.plugins.installed import installed_plugins
from toolrunner.plugins.instance import plugin_at, resolve_instance
from toolrunner.plugins.manifest import FOLDER_MANIFEST
from toolrunner.plugins.plugin import Broken, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Broken",
    "DiscoveryError",
    "Plugin",
    "discover",
    "resolve_instance",
    "runs_code_of_callers",
]

_LONGEST_NAME = 64
# Bundled plugins that run what callers send, and are there for those alone who allow them.
OFF_BY_DEFAULT = ("python",)
BUNDLED = Path(__file__).resolve().with_name("bundled")


def discover(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    *,
    allow_installed: str | Iterable[str] = (),
    bundled: bool = True,
    disable_bundled: Iterable[str] = (),
    allow_bundled: Iterable[str] = (),
    beneath: Iterable[str | os.PathLike[str]] = (),
) -> tuple[list[Plugin], list[Broken]]:
    """Return the plugins that there are, and those that cannot be used; every name occurs once.

    A plugin of several tools is one for each of them. Whether what a plugin asks for is installed
    is nothing that is looked at here. ``disable_bundled``: bundled ones that are as if not there.
    ``allow_bundled``: of those that are off by default, the ones that are there.
    ``paths`` are plugin files, folder plugins, and folders of either. ``beneath``: more of them, of
    which a plugin gives way to one of the same name in ``paths``. Raises DiscoveryError for a
    path that leads to no plugin: that is the operator's mistake and not a plugin's.
    """
    found: list[Plugin | Broken] = []
    if bundled:
        found += _bundled(disable_bundled, allow_bundled)
    allowed = [allow_installed] if isinstance(allow_installed, str) else allow_installed
    found += installed_plugins(allowed)
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    above = [plugin for path in given for plugin in _at(path)]
    names = {plugin.name for plugin in above}
    found += above
    for path in beneath:
        found += [plugin for plugin in _at(path) if plugin.name not in names]
    return _sorted_out(_each_file_once(found))


def runs_code_of_callers(plugin: Plugin) -> bool:
    """Tell whether what a plugin's calls do is its callers' own doing."""
    return plugin.name in OFF_BY_DEFAULT and plugin.path.parent == BUNDLED


def _bundled(disabled: Iterable[str], allowed: Iterable[str]) -> list[Plugin | Broken]:
    found = list(_in_folder(BUNDLED, "bundled"))
    names = [plugin.name for plugin in found]
    for setting, given in (("disable_bundled", disabled), ("allow_bundled", allowed)):
        for name in given:
            if name not in names:
                msg = f"{setting}: there is no bundled plugin {name}; {suggestion(name, names)}"
                raise DiscoveryError(msg)
    off = {*disabled, *OFF_BY_DEFAULT} - ({*allowed} - {*disabled})
    return [plugin for plugin in found if plugin.name not in off]


def _at(given: str | os.PathLike[str]) -> Iterator[Plugin | Broken]:
    """Yield what a path that the operator named holds."""
    text = os.fspath(given)
    origin = shown(text)
    if not text:
        msg = "an empty plugin path; name a plugin file or a folder of plugins ('.' for this one)"
        raise DiscoveryError(msg)
    path = Path(text)
    try:
        if not path.exists():
            hint = "; ~ is not expanded here" if text.startswith("~") else ""
            if "://" in text:
                hint = "; it is a URL: download what it leads to, and name that"
            msg = f"{origin}: there is no such file or folder; correct the plugin path{hint}"
            raise DiscoveryError(msg)
        if path.is_dir():
            yield from _in_folder(path, origin)
        elif path.is_file():
            yield _named_file(path, origin)
        else:
            msg = f"{origin}: neither a file nor a folder; name a plugin file or a folder of them"
            raise DiscoveryError(msg)
    except OSError as error:
        msg = f"{origin}: cannot be searched: {error.strerror}; let this user read it"
        raise DiscoveryError(msg) from None


def _named_file(path: Path, origin: str) -> Plugin | Broken:
    try:
        return _read(path, origin)
    except NoManifest as error:
        raise DiscoveryError(str(error)) from None


def _in_folder(folder: Path, origin: str) -> Iterator[Plugin | Broken]:
    """Yield the folder itself if it is one plugin, or else the plugins in it, by name."""
    if _is_plugin_folder(folder):
        yield _folder_plugin(folder, origin)
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a link cannot be followed
            if _is_plugin_folder(path):
                yield _folder_plugin(path, origin)
        elif path.suffix == ".py":
            try:
                yield _read(path, origin)
            except NoManifest:
                continue  # a helper, not a plugin


def _is_plugin_folder(folder: Path) -> bool:
    return os.path.lexists(folder / FOLDER_MANIFEST)


def _folder_plugin(folder: Path, origin: str) -> Plugin | Broken:
    try:
        return _read(folder, origin)
    except NoManifest as error:
        return _broken(folder, error)


def _read(path: Path, origin: str) -> Plugin | Broken:
    """Read one plugin; NoManifest passes, since what it means depends on who asked."""
    try:
        return plugin_at(path, origin)
    except NoManifest:
        raise
    except ManifestError as error:
        return _broken(path, error)


def _broken(path: Path, error: ManifestError) -> Broken:
    stem = path.stem if path.suffix == ".py" else path.name
    return Broken(
        error.stated.get("name", legal_name(stem)),
        Path(os.path.realpath(path)),
        f"ManifestError: {error}",
        error.stated.get("description", ""),
        error.stated.get("version", ""),
    )


def _each_file_once(found: Iterable[Plugin | Broken]) -> list[Plugin | Broken]:
    seen: set[Path] = set()
    once = []
    for plugin in found:
        if plugin.path is not None and plugin.path in seen:
            continue
        if plugin.path is not None:
            seen.add(plugin.path)
        once.append(plugin)
    return once


def _sorted_out(found: list[Plugin | Broken]) -> tuple[list[Plugin], list[Broken]]:
    claims: dict[str, list[Plugin]] = defaultdict(list)
    for plugin in found:
        if isinstance(plugin, Plugin):
            claims[plugin.name].append(plugin)
    usable: list[Plugin] = []
    broken: list[Broken] = []
    for claimants in claims.values():
        problem = _claim_problem(claimants)
        if problem is None:
            usable += claimants[0].each
        else:
            broken.append(problem)
    taken = set(claims)
    for plugin in found:
        if isinstance(plugin, Broken):
            # It may state the name of a good one, and must not hide that.
            free = _free_name(plugin.name, taken)
            taken.add(free)
            broken.append(replace(plugin, name=free))
    return usable, broken


def _claim_problem(claimants: list[Plugin]) -> Broken | None:
    """Return why none of the plugins of one name can be used, or ``None``."""
    first = claimants[0]
    if len(claimants) == 1:
        return None
    files = " and ".join(f"{shown(plugin.path)} ({plugin.origin})" for plugin in claimants)
    reason = f"ManifestError: {files} both claim the name {first.name}; rename one of them"
    manifest = first.manifest
    return Broken(first.name, first.path, reason, manifest.description, manifest.version)


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        suffix = f"-{number}"
        free = name[: _LONGEST_NAME - len(suffix)] + suffix
        number += 1
    return free
