"""A distribution that offers plugins by entry points: what its metadata say, and how they change.

Edits ``pyproject.toml`` and ``setup.cfg`` line by line, so that all else stays as it is, and reads
the result again before anybody writes it.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration.findings import Finding
from migration.manifest import Facts
from migration.source import UnreadableError, read_source, read_text

GROUP = "toolrunner.plugins"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^\s*\[")


@dataclass(frozen=True, slots=True)
class Point:
    """One entry point of a group for plugins."""

    group: str
    name: str
    value: str

    @property
    def module(self) -> str:
        """The module that it names."""
        return self.value.partition("[")[0].partition(":")[0].strip()

    @property
    def object(self) -> str:
        """The object in that module, "" for none."""
        return self.value.partition("[")[0].partition(":")[2].strip()


@dataclass(slots=True)
class Distribution:
    """The metadata file of one distribution."""

    path: Path
    text: str
    facts: Facts
    points: list[Point]
    is_setuptools: bool
    folders: list[str]

    @property
    def is_toml(self) -> bool:
        """Whether it is a pyproject.toml, and a setup.cfg otherwise."""
        return self.path.suffix == ".toml"


def read(folder: Path) -> Distribution | None:
    """Return a folder's distribution if it offers plugins; UnreadableError if that is unclear."""
    for name, reader in (("pyproject.toml", _pyproject), ("setup.cfg", _setup_cfg)):
        path = folder / name
        if path.is_file():
            text = read_text(path)
            try:
                found = reader(path, text)
            except (ValueError, configparser.Error) as error:
                what = f"cannot be parsed: {str(error).splitlines()[0]}"
                raise UnreadableError(Finding(path, 1, what, "correct it")) from None
            if found is not None:
                return found
    _refuse_setup_py(folder / "setup.py")
    return None


def _is_group(name: str) -> bool:
    return name == GROUP or name.startswith("forgesyte") or name.endswith((".plugins", "_plugins"))


def _points(groups: object) -> list[Point]:
    if not isinstance(groups, dict):
        return []
    return [
        Point(group, name, value)
        for group, points in groups.items()
        if _is_group(group) and isinstance(points, dict)
        for name, value in points.items()
        if isinstance(value, str)
    ]


def _pyproject(path: Path, text: str) -> Distribution | None:
    document = tomllib.loads(text)
    project = _sub(document, "project")
    poetry = _sub(document, "tool", "poetry")
    points = _points(project.get("entry-points")) + _points(poetry.get("plugins"))
    if not points:
        return None
    said = {**poetry, **project}
    backend = str(_sub(document, "build-system").get("build-backend", "setuptools"))
    facts = Facts(
        version=_text(said.get("version")),
        description=_text(said.get("description")),
        requires_python=_text(project.get("requires-python")),
        dependencies=_without_host(project.get("dependencies")),
    )
    is_setuptools = backend.startswith("setuptools")
    return Distribution(path, text, facts, points, is_setuptools, _roots(_sub(document, "tool")))


def _roots(tool: dict[str, Any]) -> list[str]:
    """Return the folders in which the packages of a pyproject.toml lie, the likeliest first."""
    setuptools = _sub(tool, "setuptools")
    wheel = _sub(tool, "hatch", "build", "targets", "wheel")
    said = [
        _sub(setuptools, "package-dir").get(""),
        *_list(_sub(setuptools, "packages", "find").get("where")),
        *(str(Path(str(one)).parent) for one in _list(wheel.get("packages"))),
        *(
            _sub({"it": one}, "it").get("from")
            for one in _list(_sub(tool, "poetry").get("packages"))
        ),
    ]
    return [*(one for one in said if isinstance(one, str)), "src", "."]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _setup_cfg(path: Path, text: str) -> Distribution | None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string(text)
    groups = {
        group: dict(line.partition("=")[::2] for line in lines.splitlines() if "=" in line)
        for group, lines in _section(parser, "options.entry_points").items()
    }
    points = [Point(p.group, p.name.strip(), p.value.strip()) for p in _points(groups)]
    if not points:
        return None
    options = _section(parser, "options")
    metadata = _section(parser, "metadata")
    required = options.get("install_requires")
    facts = Facts(
        version=_text(metadata.get("version")),
        description=_text(metadata.get("description")),
        requires_python=_text(options.get("python_requires")),
        dependencies=_without_host(required.split("\n") if required else None),
    )
    root = options.get("package_dir", "").replace(" ", "").replace("\n", "").lstrip("=")
    where = _section(parser, "options.packages.find").get("where", "").split()
    return Distribution(
        path, text, facts, points, True, [*filter(None, [root, *where]), "src", "."]
    )


def _section(parser: configparser.ConfigParser, name: str) -> dict[str, str]:
    return dict(parser[name]) if name in parser else {}


def _refuse_setup_py(path: Path) -> None:
    """Raise UnreadableError for a program that says which plugins there are."""
    if not path.is_file():
        return
    for node in ast.walk(read_source(path).tree):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            groups = [c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)]
            if any(isinstance(g, str) and _is_group(g) for g in groups):
                what = "a program says which plugins the distribution has"
                instead = "move entry_points to pyproject.toml, and run this again"
                raise UnreadableError(Finding(path, node.value.lineno, what, instead))


def _sub(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = table.get(key)
        table = inner if isinstance(inner, dict) else {}
    return table


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "" if text.startswith(("attr:", "file:")) else text


def _without_host(requirements: object) -> list[str] | None:
    """Return requirements without the host's own distribution; ``None`` where none are stated."""
    if not isinstance(requirements, list):
        return None
    lines = requirements
    kept = [line.strip() for line in lines if isinstance(line, str)]
    host = re.compile(r"forgesyte(?![\w-])|forgesyte[-_](server|core|sdk)\b", re.IGNORECASE)
    return [line for line in kept if line and not line.startswith("#") and not host.match(line)]


def package_folder(distribution: Distribution, module: str) -> Path | None:
    """Return the folder of the top package of a module, if it lies in the distribution's own."""
    own = distribution.path.parent
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    for base in distribution.folders:
        folder = own / base / module.partition(".")[0]
        if folder.is_dir() and folder.resolve().is_relative_to(own.resolve()):
            return folder
    return None


def edited(
    distribution: Distribution, group: str, values: dict[str, str], packages: list[str]
) -> tuple[str, Finding | None]:
    """Return the metadata with entry points of ours beside a group, and the manifests shipped.

    ``values`` are the new entry points by name; the old host goes on finding its own. The Finding
    says what could not be done by machine.
    """
    lines = distribution.text.split("\n")
    if values:
        (_add_toml if distribution.is_toml else _add_cfg)(lines, group, values)
    for package in packages if distribution.is_setuptools else ():
        if distribution.is_toml:
            header, line = "[tool.setuptools.package-data]", f'{package} = ["toolrunner.toml"]'
            _ship(lines, header, line, _ships_toml(distribution.text, package))
        else:
            header, line = "[options.package_data]", f"{package} = toolrunner.toml"
            _ship(lines, header, line, _ships_cfg(distribution.text, package))
    text = "\n".join(lines)
    return text, _problem(distribution, text, values, packages)


def _add_toml(lines: list[str], group: str, values: dict[str, str]) -> None:
    keys = {name: name if _BARE.fullmatch(name) else f'"{name}"' for name in values}
    new = [f'{keys[name]} = "{value}"' for name, value in values.items()]
    header = re.compile(
        r"\s*\[\s*(?P<table>project\.entry-points|tool\.poetry\.plugins)\s*\.\s*"
        r"""(?:"(?P<one>[^"]*)"|'(?P<two>[^']*)')\s*\]"""
    )
    found = {m["one"] or m["two"]: (i, m["table"]) for i, m in _matches(header, lines)}
    if GROUP in found:
        at = _end(lines, found[GROUP][0])
    else:
        at, table = found.get(group, (len(lines) - 1, "project.entry-points"))
        at = _end(lines, at)
        new = ["", f'[{table}."{GROUP}"]', *new]
    lines[at:at] = new


def _add_cfg(lines: list[str], group: str, values: dict[str, str]) -> None:
    new = [f"    {name} = {value}" for name, value in values.items()]
    found = {m[1]: i for i, m in _matches(re.compile(r"([^\s=#;\[][^=]*?)\s*="), lines)}
    if GROUP not in found:
        new.insert(0, f"{GROUP} =")
    at = found.get(GROUP, found.get(group, len(lines) - 1)) + 1
    while at < len(lines) and lines[at][:1] in {" ", "\t"}:
        at += 1
    lines[at:at] = new


def _matches(pattern: re.Pattern[str], lines: list[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for i, line in enumerate(lines):
        found = pattern.match(line)
        if found:
            yield i, found


def _end(lines: list[str], header: int) -> int:
    """Return where the table below a header ends: before what belongs to the next one."""
    end = header + 1
    for i in range(header + 1, len(lines)):
        if _HEADER.match(lines[i]):
            break
        if lines[i].strip() and not lines[i].lstrip().startswith("#"):
            end = i + 1
    return end


def _ship(lines: list[str], header: str, line: str, shipped: bool | None) -> None:
    """Add the manifest to what is shipped. ``None``: there is an entry, which is left alone."""
    if shipped is not False:
        return
    for i, one in enumerate(lines):
        if one.strip() == header:
            lines.insert(i + 1, line)
            return
    while lines and not lines[-1].strip():
        lines.pop()
    lines += ["", header, line, ""]


def _ships_toml(text: str, package: str) -> bool | None:
    data = _sub(tomllib.loads(text), "tool", "setuptools", "package-data")
    return _ships({key: value for key, value in data.items() if isinstance(value, list)}, package)


def _ships_cfg(text: str, package: str) -> bool | None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    name = "options.package_data"
    data = _section(parser, name)
    return _ships({key: re.split(r"[,\s]+", value) for key, value in data.items()}, package)


def _ships(data: dict[str, list[str]], package: str) -> bool | None:
    patterns = [*data.get(package, []), *data.get("*", []), *data.get("", [])]
    if any(pattern in {"toolrunner.toml", "*.toml", "*", "**"} for pattern in patterns):
        return True
    return None if package in data else False


def _problem(
    distribution: Distribution, text: str, values: dict[str, str], packages: list[str]
) -> Finding | None:
    """Read the new text again; say what a person has to do if it is not as wanted."""
    path = distribution.path
    try:
        again = (_pyproject if distribution.is_toml else _setup_cfg)(path, text)
        ships = _ships_toml if distribution.is_toml else _ships_cfg
        unshipped = [p for p in packages if distribution.is_setuptools and not ships(text, p)]
    except (ValueError, configparser.Error):
        again, unshipped = None, []
    wanted = {*distribution.points, *(Point(GROUP, name, values[name]) for name in values)}
    if again is None or set(again.points) != wanted:
        said = ", ".join(f'{name} = "{value}"' for name, value in values.items())
        what = "its entry points are written in a way that is not changed by machine"
        return Finding(path, 1, what, f'add a group "{GROUP}" that says {said}')
    if unshipped:
        lines = enumerate(distribution.text.split("\n"), 1)
        line = next((i for i, one in lines if re.search("package[-_]data", one)), 1)
        what = f"the package data of {', '.join(unshipped)} do not have the manifest"
        return Finding(path, line, what, 'add "toolrunner.toml" to them')
    return None
