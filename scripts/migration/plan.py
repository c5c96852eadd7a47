"""What has to be written for the plugins at a path. Reads files, writes none."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from migration import offers, shapes
from migration.calls import direct_calls
from migration.findings import Finding, Plan
from migration.folder import Place, folder_plugin, package_name
from migration.host import HOSTS
from migration.manifest import Facts
from migration.project_check import WORKER
from migration.single_file import adapted_file
from migration.source import Source, UnreadableError, has_manifest, imports, read_source
from migration.walk import MANIFEST, METADATA, files

_WORKER = Path(__file__).resolve().parents[2] / WORKER


def plan(path: Path, hosts: Iterable[str] = ()) -> Plan:
    """Return what bringing the plugins at a path here needs; a file, or a folder of anything."""
    known = frozenset({*HOSTS, *hosts})
    if path.is_symlink():
        path = path.resolve()  # a link is not replaced by a file
    if path.is_file() and path.name not in METADATA:
        made = Plan()
        try:
            made.add(_file(read_source(path), known, is_named=True))
        except UnreadableError as error:
            made.by_hand.append(error.finding)
        return made
    return _folder(path if path.is_dir() else path.parent, known)


def _folder(root: Path, hosts: frozenset[str]) -> Plan:
    made = Plan()
    inside: list[Path] = []
    paths = list(files(root))
    for folder in dict.fromkeys(path.parent for path in paths if path.name in METADATA):
        if not any(folder.is_relative_to(taken) for taken in inside):
            part, own = offers.offered(folder, hosts)
            _add(made, part)
            inside += own
    inside += [path.parent for path in paths if path.name == MANIFEST]
    for path in paths:
        if path.suffix != ".py" or any(path.is_relative_to(taken) for taken in inside):
            continue
        try:
            part = _file(read_source(path), hosts)
        except UnreadableError as error:
            part = Plan(by_hand=[error.finding])
        _add(made, part)
        inside += [change.path.parent for change in part.changes if change.path.name == MANIFEST]
    return made


def _add(made: Plan, part: Plan) -> None:
    """Add a plan, unless one of its plugins has the name of another: then neither would run."""
    for name in set(part.plugins) & set(made.plugins):
        path = part.changes[0].path if part.changes else Path(name)
        what = f"the name {name} is another plugin's, too"
        part.by_hand.append(Finding(path, 1, what, "give it a name of its own"))
    made.add(part)


def _file(source: Source, hosts: frozenset[str], *, is_named: bool = False) -> Plan:
    """Return the plan for a file that no metadata speak of: a plugin, or code that calls some."""
    siblings = _siblings(source)
    if has_manifest(source.text):
        return adapted_file(source, None, Facts(), hosts, siblings)
    found = shapes.find(source, is_named=is_named)
    if not found:
        calls = [] if source.path.resolve() == _WORKER else list(direct_calls(source))
        if is_named and not calls:
            what = "there is no plugin in this file"
            instead = "a plugin is a class with run, run_tool or analyze, named ...Plugin"
            return Plan(by_hand=[Finding(source.path, 1, what, instead)])
        return Plan(by_hand=calls)
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
        other = _other_plugin(source.path)
        if other is not None:
            what = f"imports files beside it, and {other.name} there is a plugin, too"
            return Plan(by_hand=[Finding(source.path, 1, what, "give each plugin a folder")])
        facts.name = facts.name or (
            folder.resolve().name if source.path.stem == "plugin" else source.path.stem
        )
        place = Place(folder, source.path.stem, package_name(folder))
        return folder_plugin(place, shape.owner or shape.method, facts, hosts)
    facts.name = facts.name or source.path.stem
    return adapted_file(source, shape, facts, hosts, siblings)


def _other_plugin(path: Path) -> Path | None:
    """Return another plugin in the folder of a file, if there is one."""
    for other in sorted(path.parent.glob("*.py")):
        if other != path:
            try:
                source = read_source(other)
            except UnreadableError:
                continue  # said where it is looked at itself
            if has_manifest(source.text) or shapes.find(source):
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
