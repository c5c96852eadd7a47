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


def stated(source: Source, key: str) -> str:
    """Return a text in the manifest of a file, "" if it has none."""
    block = script_block(source.text)
    table = (block[1] or {}).get("tool", {}) if block else {}
    value = table.get("toolrunner", {}).get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


@functools.cache
def _bundled() -> dict[str, Path]:
    """Return the names of the plugins that Toolrunner brings along, with their files."""
    names: dict[str, Path] = {}
    for path in sorted(_BUNDLED.glob("*.py")):
        try:
            names[stated(read_source(path), "name")] = path
        except UnreadableError:
            continue  # whoever runs plugins will say so
    return names


def join(made: Plan, part: Plan, chosen: Mapping[str, str]) -> None:
    """Add a plan to another, unless one of its plugins has a name that is taken.

    Who has ``chosen`` a bundled one's name for it knows that this one has to be off.
    """
    for name, path in part.plugins.items():
        bundled = _bundled().get(name)
        what = "is another plugin's, too" if name in made.plugins else ""
        is_bundled = bundled is not None and path.resolve() != bundled
        if is_bundled and name not in chosen.values():
            what = "is that of a bundled plugin: with both, neither would run"
        if what:
            instead = f"run this again with --rename {name}=ANOTHER-NAME"
            if is_bundled:
                instead += (
                    f"; or with --rename {name}={name}, and turn the bundled one off in the "
                    f'settings: disable_bundled = ["{name}"]'
                )
            if not part.changes:
                instead = "give it another one in its manifest"
            part.by_hand.append(Finding(path, 1, f"the name {name} {what}", instead))
    made.add(part)
