"""What has to be written for the plugins at a path. Reads files, writes none."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration import adapter, distribution, host, manifest, requirements, shapes
from migration.calls import direct_calls
from migration.distribution import Distribution, Point
from migration.findings import Change, Finding, Plan
from migration.manifest import Facts
from migration.shapes import Shape
from migration.source import (
    Source,
    UnreadableError,
    bound_names,
    has_manifest,
    imports,
    read_source,
    read_text,
    script_block,
)

MANIFEST = "toolrunner.toml"
_SKIPPED = {"node_modules", "build", "dist", "venv", "site-packages", "tests", "test"}
_METADATA = ("pyproject.toml", "setup.cfg", "setup.py", "manifest.json")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a plugin's code lies. ``package`` is "" where its folder is no package."""

    folder: Path
    module: str
    package: str = ""

    @property
    def file(self) -> Path:
        """The module's file."""
        path = self.folder.joinpath(*self.module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def plan(path: Path, hosts: Iterable[str] = ()) -> Plan:
    """Return what bringing the plugins at a path here needs; a file, or a folder of anything."""
    known = frozenset({*host.HOSTS, *hosts})
    if path.is_file() and path.name not in _METADATA:
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
    files = list(_files(root))
    for folder in dict.fromkeys(path.parent for path in files if path.name in _METADATA):
        if not any(folder.is_relative_to(taken) for taken in inside):
            part, own = _offered(folder, hosts)
            made.add(part)
            inside += own
    inside += [path.parent for path in files if path.name == MANIFEST]
    for path in files:
        if path.suffix != ".py" or any(path.is_relative_to(taken) for taken in inside):
            continue
        try:
            part = _file(read_source(path), hosts)
        except UnreadableError as error:
            part = Plan(by_hand=[error.finding])
        made.add(part)
        inside += [change.path.parent for change in part.changes if change.path.name == MANIFEST]
    return made


def _files(root: Path) -> Iterator[Path]:
    """Yield the files that matter below a folder: no links, no tests, nothing that was built."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and name[0] not in "._"
        )
        for name in sorted(names):
            path = Path(folder, name)
            is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
            if is_test or path.is_symlink():
                continue
            if path.suffix == ".py" or name in {*_METADATA, MANIFEST}:
                yield path


def _offered(folder: Path, hosts: frozenset[str]) -> tuple[Plan, list[Path]]:
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
        facts = _facts_of(place.folder, found.facts)
        facts.name = facts.name or point.name
        part = _folder_plugin(place, point.object, facts, hosts)
        made.add(part)
        folders.append(place.folder)
        values[point.name] = f"{place.package}.{adapter.ENTRY_MODULE}:run"
    if made.by_hand:
        return Plan(by_hand=made.by_hand, notes=made.notes), folders
    text, problem = distribution.edited(found, values, next(iter(packages)))
    if problem:
        return Plan(by_hand=[problem], notes=made.notes), folders
    _change(made, found.path, text)
    return made, folders


def _place_of(found: Distribution, point: Point) -> _Place | Finding:
    package, _, module = point.module.partition(".")
    folder = distribution.package_folder(found, point.module)
    if folder is None or not (module or (folder / "__init__.py").is_file()):
        what = f"the entry point {point.name} = {point.value} leads to no package here"
        instead = "have it name a module in a package, such as my_plugin.plugin:Plugin"
        return Finding(found.path, 1, what, instead)
    return _Place(folder, module or "__init__", package)


def _facts_of(folder: Path, said: Facts | None = None) -> Facts:
    """Return what a folder's manifest.json says, and after it what ``said`` knows."""
    facts = said or Facts()
    document = _manifest_json(folder / "manifest.json")
    texts = {key: value for key, value in document.items() if isinstance(value, str)}
    own = Facts(
        name=texts.get("id") or texts.get("name", ""),
        version=texts.get("version", ""),
        description=texts.get("description", ""),
        requires_python=facts.requires_python,
        dependencies=facts.dependencies,
        tools=manifest.tools_said(document.get("tools")),
    )
    for key in ("dependencies", "requirements"):
        listed = document.get(key)
        if not own.dependencies and isinstance(listed, list):
            own.dependencies = [one for one in listed if isinstance(one, str)]
    own.fill({"version": facts.version, "description": facts.description})
    return own


def _manifest_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        finding = Finding(
            path, getattr(error, "lineno", 1), f"not valid JSON: {error}", "correct it"
        )
        raise UnreadableError(finding) from None
    return document if isinstance(document, dict) else {}


def _declared(folder: Path, hosts: frozenset[str]) -> tuple[Plan, list[Path]]:
    """Return the plan for a folder whose plugin a manifest.json declares."""
    path = folder / "manifest.json"
    try:
        document = _manifest_json(path)
        facts = _facts_of(folder)
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
    return _folder_plugin(place, name, facts, hosts), [folder]


def _declared_place(folder: Path, module: str) -> _Place | None:
    package = folder.name if (folder / "__init__.py").is_file() else ""
    first, _, rest = module.partition(".")
    if first == folder.name and rest:
        module, package = rest, folder.name
    for name in (module, "plugin") if module else ("plugin",):
        place = _Place(folder, name, package)
        if place.file.is_file():
            return place
    return None


def _file(source: Source, hosts: frozenset[str], *, is_named: bool = False) -> Plan:
    """Return the plan for a file that no metadata speak of: a plugin, or code that calls some."""
    siblings = _siblings(source)
    if has_manifest(source.text):
        return _adapted_file(source, None, Facts(), hosts, siblings)
    found = shapes.find(source, is_named=is_named)
    if not found:
        calls = list(direct_calls(source))
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
        package = folder.name if (folder / "__init__.py").is_file() else ""
        facts.name = facts.name or (
            folder.name if source.path.stem == "plugin" else source.path.stem
        )
        place = _Place(folder, source.path.stem, package)
        return _folder_plugin(place, shape.owner or shape.method, facts, hosts)
    facts.name = facts.name or source.path.stem
    return _adapted_file(source, shape, facts, hosts, siblings)


def _siblings(source: Source) -> set[str]:
    """Return the modules beside a file that it imports."""
    folder = source.path.parent
    names: set[str] = set()
    for statement, _ in imports(source.tree):
        if isinstance(statement, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in statement.names}
        elif statement.level:
            names.add(".")
        else:
            names.add((statement.module or "").partition(".")[0])
    return {n for n in names if n == "." or (folder / f"{n}.py").is_file() or (folder / n).is_dir()}


def _adapted_file(
    source: Source, shape: Shape | None, facts: Facts, hosts: frozenset[str], local: set[str]
) -> Plan:
    """Return the plan for a single file; without a ``shape`` it has its manifest already."""
    made = Plan()
    replaced = host.without_host(source, hosts, local)
    made.by_hand += replaced.by_hand
    text = replaced.text
    if shape is not None:
        made.by_hand += _taken(source, shape)
        facts.dependencies = _needed(source, hosts, made, script_block(text) is not None)
        text = _with_block(text, facts, shape)
        if not (shape.is_plain and shape.owner in {"Plugin", ""}):
            text = _with_adapter(text, shape)
        _tell(made, source, shape, facts)
    if not made.by_hand and text != source.text:
        made.changes.append(Change(source.path, source.data, source.encode(text)))
    return made


def _taken(source: Source, shape: Shape) -> Iterator[Finding]:
    """Yield the names that Toolrunner's entry needs, and that the file uses for something else."""
    wanted = {"run"}
    if not shape.is_plain:
        wanted |= {adapter.OBJECT, *adapter.needed_modules(shape)}
    elif not shape.owner:
        return  # the function itself is the entry
    for name, statement in bound_names(source.tree).items():
        is_module = isinstance(statement, ast.Import) and any(
            a.name == name for a in statement.names
        )
        if name in wanted and not is_module:
            what = f"the name {name} is taken at the top level, and Toolrunner's entry needs it"
            yield Finding(source.path, statement.lineno, what, "rename it")


def _needed(source: Source, hosts: frozenset[str], made: Plan, has_block: bool) -> list[str]:
    known = frozenset({*hosts, *sys.stdlib_module_names})
    found = requirements.dependencies_of(source.tree, set(), known)
    if found and not has_block:
        what = f"its dependencies were taken from its imports: {', '.join(found)}"
        made.notes.append(Finding(source.path, 1, what, "correct names and add versions"))
    return found


def _with_block(text: str, facts: Facts, shape: Shape) -> str:
    """Return the text with a PEP 723 block, or with our table in the one that it has."""
    table = manifest.tool_table(facts, shape, "")
    block = script_block(text)
    if block is not None:
        end = block[0].end("content")
        return text[:end] + _commented(table) + text[end:]
    new = ["# /// script", *_commented([*manifest.head(facts), *table]).splitlines(), "# ///"]
    lines = text.split("\n")
    at = 1 if lines[0].startswith("#!") else 0
    if lines[at].startswith("#") and "coding" in lines[at]:
        at += 1
    return "\n".join([*lines[:at], *([""] if at else []), *new, "", *lines[at:]])


def _commented(lines: list[str]) -> str:
    return "".join(f"# {line}\n" if line else "#\n" for line in lines)


def _with_adapter(text: str, shape: Shape) -> str:
    modules = adapter.needed_modules(shape)
    lines = [text.rstrip("\n"), "", ""]
    lines += ["# What Toolrunner calls; the plugin above is as it was."]
    lines += [f"import {name}  # noqa: E402" for name in modules] + [""] * bool(modules)
    return "\n".join([*lines, adapter.body(shape, shape.owner or shape.method)])


def _folder_plugin(place: _Place, wanted: str, facts: Facts, hosts: frozenset[str]) -> Plan:
    """Return the plan for a folder of modules: a toolrunner.toml, and an adapter if need be."""
    made = Plan()
    try:
        source = read_source(place.file)
        sources = [read_source(p) for p in _files(place.folder) if p.suffix == ".py"]
    except UnreadableError as error:
        return Plan(by_hand=[error.finding])
    local = {p.stem for p in place.folder.iterdir()} | {place.package}
    for one in sources:
        replaced = host.without_host(one, hosts, local)
        made.by_hand += replaced.by_hand
        if replaced.text != one.text:
            made.changes.append(Change(one.path, one.data, one.encode(replaced.text)))
    toml = place.folder / MANIFEST
    if toml.exists():
        return made
    found = shapes.find(source, wanted, is_named=True)
    if len(found) != 1:
        what = f"{len(found) or 'no'} plugin classes in it"
        made.by_hand.append(Finding(source.path, 1, what, "have the entry point name the one"))
        return made
    [shape] = found
    if isinstance(shape, Finding):
        made.by_hand.append(shape)
        return made
    facts.fill(shape.texts)
    entry = f"{place.module}:{shape.owner or shape.method}"
    if place.package or not shape.is_plain:
        entry = f"{adapter.ENTRY_MODULE}:run"
        has_init = (place.folder / "__init__.py").is_file()
        text = adapter.module(shape, place.module, place.package, has_init=has_init)
        _change(made, place.folder / f"{adapter.ENTRY_MODULE}.py", text)
    _tell(made, source, shape, facts)
    lines = [*manifest.head(facts), "", *manifest.tool_table(facts, shape, entry)]
    _change(made, toml, "\n".join(lines) + "\n")
    return made


def _tell(made: Plan, source: Source, shape: Shape, facts: Facts) -> None:
    """Note the plugin, and what whoever knows it should look at."""
    name = manifest.legal_name(facts.name)
    made.plugins.append(name)
    if name != facts.name:
        what = f"the name {facts.name!r} is not legal here and became {name}"
        made.notes.append(Finding(source.path, shape.line, what, "callers use the new name"))
    if shape.owner:
        made.notes += shapes.kept_between_calls(source, shape.owner)
    if not shape.is_object:
        what = f"what {shape.method} returns is not known to be an object"
        instead = 'a list, text or number arrives as {"result": ...}'
        made.notes.append(Finding(source.path, shape.line, what, instead))


def _change(made: Plan, path: Path, text: str) -> None:
    """Note a file to write, unless it is so already; a foreign one in its place is left alone."""
    before = path.read_bytes() if path.exists() else None
    data = text.encode("utf-8")
    if before is not None and b"\r\n" in before:
        data = data.replace(b"\n", b"\r\n")
    if before is not None and before != data and path.name == f"{adapter.ENTRY_MODULE}.py":
        made.by_hand.append(Finding(path, 1, "a file of this name is there", "rename that one"))
    elif before != data:
        made.changes.append(Change(path, before, data))
