"""Names of plugins: those that are taken, and those that somebody chose for them.

Of two plugins of one name neither runs, so a second one is said before it is made.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migration.findings import Finding, Plan
from migration.source import Source, UnreadableError, read_source, script_block

_BUNDLED = Path(__file__).resolve().parents[2] / "plugins" / "bundled"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of plugins: their hosts' modules, and other names for them."""

    hosts: frozenset[str]
    names: Mapping[str, str] = field(default_factory=dict)


def stated_name(source: Source) -> str:
    """Return the name in the manifest of a file, "" if it has none."""
    block = script_block(source.text)
    table = (block[1] or {}).get("tool", {}) if block else {}
    name = table.get("toolrunner", {}).get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else ""


@functools.cache
def _bundled() -> dict[str, Path]:
    """Return the names of the plugins that Toolrunner brings along, with their files."""
    names: dict[str, Path] = {}
    for path in sorted(_BUNDLED.glob("*.py")):
        try:
            names[stated_name(read_source(path))] = path
        except UnreadableError:
            continue  # whoever runs plugins will say so
    return names


def join(made: Plan, part: Plan) -> None:
    """Add a plan to another, unless one of its plugins has a name that is taken."""
    for name, path in part.plugins.items():
        bundled = _bundled().get(name)
        what = "is another plugin's, too" if name in made.plugins else ""
        if bundled is not None and path.resolve() != bundled:
            what = "is that of a bundled plugin: with both, neither would run"
        if what:
            instead = f"run this again with --rename {name}=ANOTHER-NAME"
            if not part.changes:
                instead = "give it another one in its manifest"
            part.by_hand.append(Finding(path, 1, f"the name {name} {what}", instead))
    made.add(part)
