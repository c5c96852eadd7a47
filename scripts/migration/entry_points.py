"""How a distribution comes to offer its plugins to Toolrunner, too: the new text of its metadata.

Edits ``pyproject.toml`` and ``setup.cfg`` line by line, so that all else stays as it is, and reads
the result again before anybody writes it.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator

from migration.distribution import (
    GROUP,
    Distribution,
    Point,
    pyproject,
    section,
    setup_cfg,
    sub_table,
)
from migration.findings import Finding

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^\s*\[")


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
    data = sub_table(tomllib.loads(text), "tool", "setuptools", "package-data")
    return _ships({key: value for key, value in data.items() if isinstance(value, list)}, package)


def _ships_cfg(text: str, package: str) -> bool | None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    name = "options.package_data"
    data = section(parser, name)
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
        again = (pyproject if distribution.is_toml else setup_cfg)(path, text)
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
