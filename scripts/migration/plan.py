"""What has to be written for the plugins at a path. Reads files, writes none."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

from migration import foreign, offers, remains, shapes
from migration.calls import direct_calls
from migration.findings import Finding, Plan
from migration.folder import Place, folder_plugin, package_name, stated, there
from migration.host import HOSTS
from migration.manifest import Facts
from migration.names import Asked, join
from migration.project_check import WORKER
from migration.single_file import adapted_file
from migration.source import (
    Source,
    UnreadableError,
    has_manifest,
    imports,
    name_of,
    read_source,
)
from migration.walk import MANIFEST, METADATA, files

_WORKER = Path(__file__).resolve().parents[2] / WORKER


def plan(path: Path, hosts: Iterable[str] = (), names: Mapping[str, str] | None = None) -> Plan:
    """Return what bringing the plugins at a path here needs; a file, or a folder of anything.

    ``hosts`` are more modules of old hosts, ``names`` other names for plugins.
    """
    asked = Asked(frozenset({*HOSTS, *hosts}), names or {})
    if path.is_symlink():
        path = path.resolve()  # a link is not replaced by a file
    if path.is_dir() or path.name in METADATA:
        return _folder(path if path.is_dir() else path.parent, asked)
    made = Plan()
    try:
        join(made, _file(read_source(path), asked, is_named=True), asked.names)
    except UnreadableError as error:
        made.by_hand.append(error.finding)
    return made


def _folder(root: Path, asked: Asked) -> Plan:
    made = Plan()
    inside: list[Path] = []
    paths = list(files(root))
    for folder in dict.fromkeys(path.parent for path in paths if path.name in METADATA):
        if not any(folder.is_relative_to(taken) for taken in inside):
            part, own = offers.offered(folder, asked)
            join(made, part, asked.names)
            inside += own
    sources: list[Source] = []
    for path in paths:
        if any(path.is_relative_to(taken) for taken in inside):
            continue
        if path.name == MANIFEST:
            inside.append(path.parent)
            join(made, _there(path), asked.names)
        elif path.suffix == ".py":
            try:
                sources.append(read_source(path))
            except UnreadableError as error:
                made.by_hand.append(error.finding)
    bases = frozenset(base for source in sources for base in _bases(source))
    for source in sources:
        if not any(source.path.is_relative_to(taken) for taken in inside):
            part = _file(source, asked, bases)
            join(made, part, asked.names)
            inside += [one.path.parent for one in part.changes if one.path.name == MANIFEST]
    return made


def _bases(source: Source) -> set[str]:
    """Return the names of the classes that those of a file are derived from."""
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef)]
    return {name_of(base) for node in classes for base in node.bases}


def _there(toml: Path) -> Plan:
    """Return the plan for a folder that is a plugin of Toolrunner already."""
    made = Plan(plugins=there(toml))
    declared = stated(toml, "error_key")
    for path in files(toml.parent):
        if path.suffix == ".py":
            try:
                remains.note(made, read_source(path), declared)
            except UnreadableError as error:
                made.by_hand.append(error.finding)
    return made


def _file(
    source: Source, asked: Asked, bases: frozenset[str] = frozenset(), *, is_named: bool = False
) -> Plan:
    """Return the plan for a file that no metadata speak of: a plugin, or code that calls some."""
    siblings = _siblings(source)
    if has_manifest(source.text):
        return adapted_file(source, None, Facts(), asked, siblings)
    found = shapes.find(source, is_named=is_named, bases=bases)
    if not found:
        calls = [] if source.path.resolve() == _WORKER else list(direct_calls(source))
        calls += foreign.plugins(source, bases)
        if is_named and not calls:
            what = "there is no plugin in this file"
            instead = "a plugin is a class with run, run_tool or analyze, named ...Plugin"
            return Plan(by_hand=[Finding(source.path, 1, what, instead)])
        return Plan(left=calls)
    if len(found) > 1:
        line = max(one.line for one in found)
        what = f"{len(found)} plugins in one file"
        return Plan(by_hand=[Finding(source.path, line, what, "give each a file of its own")])
    [shape] = found
    if isinstance(shape, Finding):
        return Plan(by_hand=[shape])
    facts = Facts()
    facts.fill(shape.texts)
    if siblings:
        folder = source.path.parent
        other = _other_plugin(source.path, bases | _bases(source))
        if other is not None:
            what = f"imports files beside it, and {other.name} there is a plugin, too"
            return Plan(by_hand=[Finding(source.path, 1, what, "give each plugin a folder")])
        facts.name = facts.name or (
            folder.resolve().name if source.path.stem == "plugin" else source.path.stem
        )
        place = Place(folder, source.path.stem, package_name(folder))
        return folder_plugin(place, shape.owner or shape.method, facts, asked)
    facts.name = facts.name or source.path.stem
    return adapted_file(source, shape, facts, asked, siblings)


def _other_plugin(path: Path, bases: frozenset[str]) -> Path | None:
    """Return another plugin in the folder of a file, if there is one."""
    for other in sorted(path.parent.glob("*.py")):
        if other != path:
            try:
                source = read_source(other)
            except UnreadableError:
                continue  # said where it is looked at itself
            if has_manifest(source.text) or shapes.find(source, bases=bases):
                return other
    return None


def _siblings(source: Source) -> set[str]:
    """Return the modules beside a file that it imports."""
    folder = source.path.parent
    names: set[str] = set()
    for statement, _ in imports(source.tree):
        if isinstance(statement, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in statement.names}
        elif statement.level:
            # Two dots lead to what is around the plugin: its host.
            names |= {"."} if statement.level == 1 else set()
        else:
            names.add((statement.module or "").partition(".")[0])
    return {n for n in names if n == "." or (folder / f"{n}.py").is_file() or (folder / n).is_dir()}
