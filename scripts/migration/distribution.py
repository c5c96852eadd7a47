"""A distribution that offers plugins by entry points: what its metadata say of them."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration.findings import Finding
from migration.manifest import Facts
from migration.source import UnreadableError, read_source, read_text

GROUP = "toolrunner.plugins"


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
    for name, reader in (("pyproject.toml", pyproject), ("setup.cfg", setup_cfg)):
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


def pyproject(path: Path, text: str) -> Distribution | None:
    """Return what a pyproject.toml says, ``None`` if it offers no plugins; ValueError if broken."""
    document = tomllib.loads(text)
    project = sub_table(document, "project")
    poetry = sub_table(document, "tool", "poetry")
    points = _points(project.get("entry-points")) + _points(poetry.get("plugins"))
    if not points:
        return None
    said = {**poetry, **project}
    backend = str(sub_table(document, "build-system").get("build-backend", "setuptools"))
    facts = Facts(
        version=_text(said.get("version")),
        description=_text(said.get("description")),
        requires_python=_text(project.get("requires-python")),
        dependencies=_without_host(project.get("dependencies")),
    )
    is_setuptools = backend.startswith("setuptools")
    return Distribution(
        path, text, facts, points, is_setuptools, _roots(sub_table(document, "tool"))
    )


def _roots(tool: dict[str, Any]) -> list[str]:
    """Return the folders in which the packages of a pyproject.toml lie, the likeliest first."""
    setuptools = sub_table(tool, "setuptools")
    wheel = sub_table(tool, "hatch", "build", "targets", "wheel")
    said = [
        sub_table(setuptools, "package-dir").get(""),
        *_list(sub_table(setuptools, "packages", "find").get("where")),
        *(str(Path(str(one)).parent) for one in _list(wheel.get("packages"))),
        *(
            sub_table({"it": one}, "it").get("from")
            for one in _list(sub_table(tool, "poetry").get("packages"))
        ),
    ]
    return [*(one for one in said if isinstance(one, str)), "src", "."]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def setup_cfg(path: Path, text: str) -> Distribution | None:
    """Return what a setup.cfg says, ``None`` if it offers no plugins; configparser.Error."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string(text)
    groups = {
        group: dict(line.partition("=")[::2] for line in lines.splitlines() if "=" in line)
        for group, lines in section(parser, "options.entry_points").items()
    }
    points = [Point(p.group, p.name.strip(), p.value.strip()) for p in _points(groups)]
    if not points:
        return None
    options = section(parser, "options")
    metadata = section(parser, "metadata")
    required = options.get("install_requires")
    facts = Facts(
        version=_text(metadata.get("version")),
        description=_text(metadata.get("description")),
        requires_python=_text(options.get("python_requires")),
        dependencies=_without_host(required.split("\n") if required else None),
    )
    root = options.get("package_dir", "").replace(" ", "").replace("\n", "").lstrip("=")
    where = section(parser, "options.packages.find").get("where", "").split()
    return Distribution(
        path, text, facts, points, True, [*filter(None, [root, *where]), "src", "."]
    )


def section(parser: configparser.ConfigParser, name: str) -> dict[str, str]:
    """Return a section of a setup.cfg, empty where there is none."""
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


def sub_table(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a table inside another one, empty where there is none."""
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
