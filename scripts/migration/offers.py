"""Plugins that metadata offer: the entry points of a distribution, or a manifest.json."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

from migration import adapter, distribution, entry_points, shapes
from migration.distribution import Distribution, Point
from migration.findings import Finding, Plan
from migration.folder import Place, change, folder_plugin, package_name
from migration.metadata import facts_of, manifest_json
from migration.names import Asked, join
from migration.shape import Shape
from migration.source import UnreadableError, read_source, read_text
from migration.walk import MANIFEST


def offered(folder: Path, asked: Asked) -> tuple[Plan, list[Path]]:
    """Return the plan for the plugins that a folder's metadata offer, and the folders they are."""
    try:
        found = distribution.read(folder)
        if found is not None:
            return _distribution(found, asked)
        if (folder / "manifest.json").is_file():
            return _declared(folder, asked)
    except UnreadableError as error:
        return Plan(by_hand=[error.finding]), [folder]
    return Plan(), []


def _distribution(found: Distribution, asked: Asked) -> tuple[Plan, list[Path]]:
    theirs = [point for point in found.points if point.group != distribution.GROUP]
    points = [point for point in theirs if _is_ours(found, point)]
    # One plugin may be offered to several hosts.
    points = list({(p.name, p.value): p for p in reversed(points)}.values())[::-1]
    others = _of_others(found, theirs)
    if not points:
        return Plan(left=others), []
    packages = list(dict.fromkeys(point.module.partition(".")[0] for point in points))
    if len(packages) < len(points):
        what = "several plugins share a package"
        instead = f'give each plugin a package, and an entry point in "{distribution.GROUP}"'
        return Plan(by_hand=[Finding(found.path, 1, what, instead)]), [found.path.parent]
    made = Plan(notes=others)
    values: dict[str, str] = {}
    folders: list[Path] = []
    there = {p.module.partition(".")[0] for p in found.points if p.group == distribution.GROUP}
    for point in points:
        place = _place_of(found, point)
        if isinstance(place, Finding):
            made.by_hand.append(place)
            continue
        facts = facts_of(place.folder, found.facts)
        facts.name = facts.name or point.name
        part = folder_plugin(place, point.object, facts, asked)
        join(made, part, asked.names)
        folders.append(place.folder)
        if place.package not in there:
            values[point.name] = _entry(place, part)
    text, problem = entry_points.edited(found, points[0].group, values, packages)
    if problem and not made.by_hand:
        made.by_hand.append(problem)
    if made.by_hand:  # all of a distribution or nothing
        return Plan(by_hand=made.by_hand, left=made.left, notes=made.notes), [found.path.parent]
    change(made, found.path, text)
    return made, folders


def _is_ours(found: Distribution, point: Point) -> bool:
    """Tell whether an entry point is a plugin of the kind that is migrated here.

    Other programs have groups of plugins, too.
    """
    if point.group.startswith("forgesyte"):
        return True
    place = _place_of(found, point)
    if isinstance(place, Finding) or not place.file.is_file():
        return False
    called = shapes.find(read_source(place.file), point.object)
    return any(isinstance(one, Shape) for one in called)


def _of_others(found: Distribution, points: list[Point]) -> list[Finding]:
    """Return the entry points that are plugins of another kind."""
    lines = found.text.split("\n")
    return [
        Finding(
            found.path,
            next((i for i, line in enumerate(lines, 1) if point.value in line), 1),
            f"{point.name} = {point.value} of the group {point.group} is a plugin of another kind",
            "to have it here, write run(payload) in a file of its own, which calls it",
        )
        for point in points
        if not _is_ours(found, point)
    ]


def _entry(place: Place, part: Plan) -> str:
    """Return the entry point's new value: what the manifest says, or will say."""
    toml = place.folder / MANIFEST
    made = [one.after.decode("utf-8") for one in part.changes if one.path == toml]
    entry = f"{adapter.ENTRY_MODULE}:run"
    if made or toml.is_file():
        with contextlib.suppress(ValueError):  # discovery says what is wrong with it
            document = tomllib.loads(made[0] if made else read_text(toml))
            entry = document.get("tool", {}).get("toolrunner", {}).get("entry", entry)
    return f"{place.package}.{entry.removeprefix(f'{place.package}.')}"


def _place_of(found: Distribution, point: Point) -> Place | Finding:
    package, _, module = point.module.partition(".")
    folder = distribution.package_folder(found, point.module)
    if folder is None or not (module or (folder / "__init__.py").is_file()):
        what = f"the entry point {point.name} = {point.value} leads to no package here"
        instead = "have it name a module in a package, such as my_plugin.plugin:Plugin"
        return Finding(found.path, 1, what, instead)
    return Place(folder, module or "__init__", package)


def _declared(folder: Path, asked: Asked) -> tuple[Plan, list[Path]]:
    """Return the plan for a folder whose plugin a manifest.json declares."""
    path = folder / "manifest.json"
    document = manifest_json(folder)
    facts = facts_of(folder)
    if not {"entrypoint", "entry_point", "tools"} & document.keys():
        return Plan(), []  # somebody else's: a browser extension, a web page
    said = document.get("entrypoint") or document.get("entry_point") or ""
    module, _, name = str(said).partition(":")
    place = _declared_place(folder, module.removesuffix(".py").replace("/", "."))
    if place is None:
        what = f"its entrypoint {said!r} leads to no module here"
        return Plan(by_hand=[Finding(path, 1, what, "name a module of this folder")]), [folder]
    facts.name = facts.name or folder.resolve().name
    return folder_plugin(place, name, facts, asked), [folder]


def _declared_place(folder: Path, module: str) -> Place | None:
    package = package_name(folder)
    first, _, rest = module.partition(".")
    if first == folder.resolve().name and rest:
        module, package = rest, first
    if module and not all(part.isidentifier() for part in module.split(".")):
        return None
    for name in (module, "plugin") if module else ("plugin",):
        place = Place(folder, name, package)
        if place.file.is_file():
            return place
    return None
