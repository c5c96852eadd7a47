"""A plugin that is a folder: a toolrunner.toml beside its code, and a module that calls it."""

from __future__ import annotations

import codecs
import contextlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from migration import adapter, advice, manifest, remains, requirements, shapes
from migration.findings import Change, Finding, Plan
from migration.host import without_host
from migration.manifest import Facts
from migration.names import Asked
from migration.source import UnreadableError, read_bytes, read_source, read_text
from migration.walk import MANIFEST, files


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plugin's code lies. ``package`` is "" where its folder is no package."""

    folder: Path
    module: str
    package: str = ""

    @property
    def file(self) -> Path:
        """The module's file."""
        path = self.folder.joinpath(*self.module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def package_name(folder: Path) -> str:
    """Return the name of the package that a folder is, "" if it is none."""
    if not (folder / "__init__.py").is_file():
        return ""
    # By another name than an identifier nobody imports it: only imports relative to it matter.
    return re.sub(r"\W|^(?=\d)", "_", folder.resolve().name)


def folder_plugin(place: Place, wanted: str, facts: Facts, asked: Asked) -> Plan:
    """Return the plan for a folder of modules: a toolrunner.toml, and an adapter if need be."""
    made = Plan()
    try:
        source = read_source(place.file)
        sources = [read_source(p) for p in files(place.folder) if p.suffix == ".py"]
    except UnreadableError as error:
        return Plan(by_hand=[error.finding])
    local = {p.stem for p in place.folder.iterdir()} | {place.package}
    toml = place.folder / MANIFEST
    is_new = not toml.exists()
    facts.error_key = remains.error_key(sources) if is_new else stated(toml, "error_key")
    for one in sources:
        remains.note(made, one, facts.error_key, is_new=is_new)
        replaced = without_host(one, asked.hosts, local, _depth(place, one.path))
        made.by_hand += replaced.by_hand
        if replaced.text != one.text:
            made.changes.append(Change(one.path, one.data, one.encode(replaced.text)))
    if not is_new:
        made.plugins |= there(toml)
        return made
    found = shapes.find(source, wanted, is_named=True, declared=facts.tools)
    if len(found) != 1:
        what = f"{len(found) or 'no'} plugin classes in it"
        made.by_hand.append(Finding(source.path, 1, what, "have the entry point name the one"))
        return made
    [shape] = found
    if isinstance(shape, Finding):
        made.by_hand.append(shape)
        return made
    facts.fill(shape.texts)
    facts.rename(asked.names)
    if facts.dependencies is None:
        facts.dependencies = requirements.needed(sources, asked.hosts, local, made)
    entry = f"{place.module}:{shape.owner or shape.method}"
    if place.package or not shape.is_plain:
        entry = f"{adapter.ENTRY_MODULE}:{adapter.entry(shape)}"
        has_init = (place.folder / "__init__.py").is_file()
        text = adapter.module(shape, place.module, place.package, has_init=has_init)
        change(made, place.folder / f"{adapter.ENTRY_MODULE}.py", text)
    advice.note(made, source, shape, facts, place.folder)
    lines = [*manifest.head(facts), "", *manifest.tool_table(facts, shape, entry)]
    change(made, toml, "\n".join(lines) + "\n")
    return made


def there(toml: Path) -> dict[str, Path]:
    """Return the plugin that a toolrunner.toml makes of its folder, by its name."""
    name = stated(toml, "name")
    return {name: toml.parent} if name else {}


def stated(toml: Path, key: str) -> str:
    """Return a text in the table of a toolrunner.toml, "" for none."""
    with contextlib.suppress(ValueError, UnreadableError, AttributeError):
        # Discovery says what is wrong with it.
        return str(tomllib.loads(read_text(toml))["tool"]["toolrunner"].get(key, ""))
    return ""


def _depth(place: Place, path: Path) -> int:
    return len(path.relative_to(place.folder).parts) - 1


def change(made: Plan, path: Path, text: str) -> None:
    """Note a file to write, unless it is so already; a foreign one in its place is left alone."""
    before = read_bytes(path) if path.exists() else None
    data = text.encode("utf-8")
    if before is not None and b"\r\n" in before:
        data = data.replace(b"\n", b"\r\n")
    if before is not None and before.startswith(codecs.BOM_UTF8):
        data = codecs.BOM_UTF8 + data
    if before is not None and before != data and path.name == f"{adapter.ENTRY_MODULE}.py":
        made.by_hand.append(Finding(path, 1, "a file of this name is there", "rename that one"))
    elif before != data:
        made.changes.append(Change(path, before, data))
