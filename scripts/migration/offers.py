"""Plugins that metadata offer: the entry points of a distribution, or a manifest.json."""

from __future__ import annotations

from pathlib import Path

from migration import adapter, distribution
from migration.distribution import Distribution, Point
from migration.findings import Finding, Plan
from migration.folder import Place, change, folder_plugin
from migration.metadata import facts_of, manifest_json
from migration.source import UnreadableError


def offered(folder: Path, hosts: frozenset[str]) -> tuple[Plan, list[Path]]:
    """Return the plan for the plugins that a folder's metadata offer, and the folders they are."""
    found = distribution.read(folder)
    if isinstance(found, Finding):
        return Plan(by_hand=[found]), []
    if found is not None:
        return _distribution(found, hosts)
    if (folder / "manifest.json").is_file():
        return _declared(folder, hosts)
    return Plan(), []


def _distribution(found: Distribution, hosts: frozenset[str]) -> tuple[Plan, list[Path]]:
    groups = {point.group for point in found.points}
    if groups == {distribution.GROUP}:
        return Plan(), []
    made = Plan()
    packages = {point.module.partition(".")[0] for point in found.points}
    if len(groups) > 1 or len(packages) < len(found.points):
        what = "several plugins share a package, or a group"
        instead = f'give each plugin a package, and an entry point in "{distribution.GROUP}"'
        made.by_hand.append(Finding(found.path, 1, what, instead))
        return made, []
    values: dict[str, str] = {}
    folders: list[Path] = []
    for point in found.points:
        place = _place_of(found, point)
        if isinstance(place, Finding):
            made.by_hand.append(place)
            continue
        facts = facts_of(place.folder, found.facts)
        facts.name = facts.name or point.name
        part = folder_plugin(place, point.object, facts, hosts)
        made.add(part)
        folders.append(place.folder)
        values[point.name] = f"{place.package}.{adapter.ENTRY_MODULE}:run"
    if made.by_hand:
        return Plan(by_hand=made.by_hand, notes=made.notes), folders
    text, problem = distribution.edited(found, values, next(iter(packages)))
    if problem:
        return Plan(by_hand=[problem], notes=made.notes), folders
    change(made, found.path, text)
    return made, folders


def _place_of(found: Distribution, point: Point) -> Place | Finding:
    package, _, module = point.module.partition(".")
    folder = distribution.package_folder(found, point.module)
    if folder is None or not (module or (folder / "__init__.py").is_file()):
        what = f"the entry point {point.name} = {point.value} leads to no package here"
        instead = "have it name a module in a package, such as my_plugin.plugin:Plugin"
        return Finding(found.path, 1, what, instead)
    return Place(folder, module or "__init__", package)


def _declared(folder: Path, hosts: frozenset[str]) -> tuple[Plan, list[Path]]:
    """Return the plan for a folder whose plugin a manifest.json declares."""
    path = folder / "manifest.json"
    try:
        document = manifest_json(folder)
        facts = facts_of(folder)
    except UnreadableError as error:
        return Plan(by_hand=[error.finding]), [folder]
    if not {"entrypoint", "entry_point", "tools"} & document.keys():
        return Plan(), []  # somebody else's: a browser extension, a web page
    said = document.get("entrypoint") or document.get("entry_point") or ""
    module, _, name = str(said).partition(":")
    place = _declared_place(folder, module.removesuffix(".py").replace("/", "."))
    if place is None:
        what = f"its entrypoint {said!r} leads to no module here"
        return Plan(by_hand=[Finding(path, 1, what, "name a module of this folder")]), [folder]
    facts.name = facts.name or folder.name
    return folder_plugin(place, name, facts, hosts), [folder]


def _declared_place(folder: Path, module: str) -> Place | None:
    package = folder.name if (folder / "__init__.py").is_file() else ""
    first, _, rest = module.partition(".")
    if first == folder.name and rest:
        module, package = rest, folder.name
    for name in (module, "plugin") if module else ("plugin",):
        place = Place(folder, name, package)
        if place.file.is_file():
            return place
    return None
