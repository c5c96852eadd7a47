"""Plugins of installed distributions: entry points of the group ``toolrunner.plugins``.

Called by ``discovery``. Reads the metadata and the lists of files that installers leave behind,
and never imports what an entry point names: a distribution runs only if the operator allowed it.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName, canonicalize_name

from toolrunner.plugins import fields
from toolrunner.plugins.errors import ManifestError
from toolrunner.plugins.fields import legal_name
from toolrunner.plugins.manifest import FOLDER_MANIFEST, read_toml
from toolrunner.plugins.plugin import Broken, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import Distribution, EntryPoint

GROUP = "toolrunner.plugins"


@dataclass(frozen=True, slots=True)
class _Offer:
    """One entry point, and the distribution that makes it."""

    point: EntryPoint
    distribution: Distribution
    title: str


def installed_plugins(allowed: Iterable[str]) -> Iterator[Plugin | Broken]:
    """Yield each plugin that an installed distribution offers; Broken where it is not allowed."""
    wanted = {canonicalize_name(name): name for name in allowed}
    folders: set[Path] = set()
    for name, distribution in _distributions():
        is_allowed = name in wanted
        try:
            offers = _offers(name, distribution)
        except Exception as error:  # noqa: BLE001 - foreign metadata must not stop discovery
            if is_allowed:
                wanted.pop(name)
                yield _unreadable(name, error)
            continue
        if offers and is_allowed:
            wanted.pop(name)
        for offer in offers:
            yield _located(offer, folders) if is_allowed else _not_allowed(name, offer)
    for asked in wanted.values():
        yield _not_installed(asked)


def _distributions() -> Iterator[tuple[NormalizedName, Distribution]]:
    """Yield each distribution that an import would find, by its normalized name."""
    seen: set[NormalizedName] = set()
    for distribution in importlib.metadata.distributions():
        try:
            stated: str | None = distribution.name
        except Exception:  # noqa: BLE001, S112 - a damaged distribution has no name to allow
            continue
        if not stated or canonicalize_name(stated) in seen:
            continue
        name = canonicalize_name(stated)
        seen.add(name)
        yield name, distribution


def _offers(name: str, distribution: Distribution) -> list[_Offer]:
    points = [point for point in distribution.entry_points if point.group == GROUP]
    return [_Offer(point, distribution, _title(name, distribution)) for point in points]


def _title(name: str, distribution: Distribution) -> str:
    version: str | None = distribution.version
    return f"{name} {version}" if version else name


def _located(offer: _Offer, folders: set[Path]) -> Plugin | Broken:
    file = None
    try:
        package, file = _manifest_file(offer)
        folder = file.parent.resolve()
        if folder in folders:
            raise _error(offer, "two entry points share one toolrunner.toml; give each a package")
        folders.add(folder)
        manifest = read_toml(file, needs_entry=False)
        entry = _entry(offer, package, manifest.entry)
    except ManifestError as error:
        return Broken(
            error.stated.get("name", legal_name(offer.point.name)),
            file,
            f"ManifestError: {error}",
            error.stated.get("description", ""),
            error.stated.get("version", ""),
        )
    return Plugin(manifest, folder, entry, "installed", f"installed: {offer.title}")


def _manifest_file(offer: _Offer) -> tuple[str, Path]:
    """Return the package and the toolrunner.toml nearest to the entry point's module."""
    parts = _named(offer).partition(":")[0].split(".")
    if not all(part.isidentifier() for part in parts):
        raise _error(offer, 'must be "package.module:object"')
    listed = offer.distribution.files
    own = None if listed is None else {file.as_posix() for file in listed}
    for depth in range(len(parts), 0, -1):
        relative = "/".join([*parts[:depth], FOLDER_MANIFEST])
        if own is not None and relative not in own:
            continue
        file = Path(str(offer.distribution.locate_file(relative)))
        if file.is_file():
            return ".".join(parts[:depth]), file
    text = (
        f"no {FOLDER_MANIFEST} in its package among the files of {offer.title}; ship it as package "
        "data (an editable install lists no files: add its folder to the plugin paths instead)"
    )
    raise _error(offer, text)


def _entry(offer: _Offer, package: str, stated: str) -> str:
    """Return the entry with the module's full name; the two places that name it must agree."""
    named = _named(offer)
    if stated and not stated.startswith((f"{package}.", f"{package}:")):
        stated = f"{package}.{stated}"
    if ":" not in named:
        named = stated
    if not named:
        raise _error(offer, 'names no object; write "package.module:object"')
    try:
        fields.entry(named)
    except ValueError as error:
        raise _error(offer, str(error)) from None
    if stated and stated != named:
        text = f"its {FOLDER_MANIFEST} says {stated}; make the two the same, or remove that one"
        raise _error(offer, text)
    return named


def _named(offer: _Offer) -> str:
    """Return the entry point's value without its extras and spaces."""
    return offer.point.value.partition("[")[0].replace(" ", "")


def _error(offer: _Offer, text: str) -> ManifestError:
    line = ascii(f"{offer.point.name} = {offer.point.value}")[1:-1]
    return ManifestError(f"{offer.title}: entry_points.txt: [{GROUP}] {line}: {text}")


def _not_allowed(name: str, offer: _Offer) -> Broken:
    reason = (
        f"PermissionError: the installed distribution {offer.title} is not allowed to run; to "
        f'trust it, add it to the settings: allow_installed = ["{name}"]'
    )
    version = offer.title.partition(" ")[2]
    return Broken(legal_name(offer.point.name), None, reason, "", version)


def _not_installed(asked: str) -> Broken:
    reason = (
        f"PackageNotFoundError: allow_installed names {asked!a}, but no installed "
        f"distribution of that name has entry points in the group {GROUP}; install it, or remove "
        "it from the settings"
    )
    return Broken(legal_name(asked), None, reason)


def _unreadable(name: str, error: Exception) -> Broken:
    reason = (
        f"ManifestError: the metadata of the installed distribution {name} cannot be read "
        f"({type(error).__name__}); install it again"
    )
    return Broken(legal_name(name), None, reason)
