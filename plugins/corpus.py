"""The faults that are shipped: plugins that hang, crash, cheat and attack, one file each.

They lie in ``plugins/faults`` and are never discovered as plugins. Read here from their source,
never imported. A fault is a module with a one-line docstring, and perhaps these, as literals:
``LIMITS`` (what it may use, where the defaults would take too long), ``VARIANTS`` (its keys name
the ways in which it goes wrong; ``payload["variant"]`` says which), and ``BALLAST`` (how many bytes
its payload holds besides).
"""

from __future__ import annotations

import ast
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolrunner.plugins.manifest import Manifest
from toolrunner.plugins.plugin import Plugin
from toolrunner.sandbox.limits import Limits

FOLDER = Path(__file__).with_name("faults")
GROUPS = ("channel", "tree", "resources", "python", "imports", "escape")
_SHARED = "hostile.py"
_HARMLESS = "harmless"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``name`` is its file, as "tree/fork_bomb"; ``module`` is where to import it from.

    ``payloads``: what to call it with, by variant; one that has no variants has one, named "".
    """

    name: str
    module: str
    summary: str
    entry: str = "run"
    limits: Limits = field(default_factory=Limits)
    payloads: tuple[tuple[str, dict[str, Any]], ...] = (("", {}),)

    @property
    def group(self) -> str:
        """The kind of fault: one of ``GROUPS``."""
        return self.name.partition("/")[0]

    def plugin(
        self, folder: Path, *, start: Literal["auto", "warm", "cold", "resident"] = "auto"
    ) -> Plugin:
        """Copy what the fault needs to ``folder``, and return it as a plugin that runs from there.

        A copy, since some attack their own file.
        """
        file = Path(*self.module.split(".")).with_suffix(".py")
        for needed in (Path(_SHARED), file):
            (folder / needed).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FOLDER / needed, folder / needed)
        manifest = Manifest(
            name=self.name.replace("/", "-").replace("_", "-"),
            input="json",
            description=self.summary,
            limits=self.limits,
            start=start,
            entry=f"{self.module}:{self.entry}",
        )
        return Plugin(manifest, folder, manifest.entry, "folder", "a fault")


HARMLESS = Fault(_HARMLESS, _HARMLESS, "Does nothing wrong.")


def faults() -> tuple[Fault, ...]:
    """Return all faults, by group and name."""
    return tuple(_read(path) for group in GROUPS for path in sorted((FOLDER / group).glob("*.py")))


def _read(path: Path) -> Fault:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    payload: dict[str, Any] = {}
    if "BALLAST" in assigned:
        payload["ballast"] = "x" * int(ast.literal_eval(assigned["BALLAST"]))
    payloads = tuple((name, {**payload, "variant": name}) for name in _variants(assigned))
    limits = ast.literal_eval(assigned["LIMITS"]) if "LIMITS" in assigned else {}
    is_class = any(isinstance(node, ast.ClassDef) and node.name == "Plugin" for node in tree.body)
    group, name = path.parent.name, path.stem
    return Fault(
        f"{group}/{name}",
        f"{group}.{name}",
        ast.get_docstring(tree) or "",
        entry="Plugin" if is_class else "run",
        limits=Limits(**limits),
        payloads=payloads or (("", payload),),
    )


def _variants(assigned: dict[str, ast.expr]) -> list[str]:
    """Return the keys of ``VARIANTS``; their values need not be literals."""
    table = assigned.get("VARIANTS")
    keys = table.keys if isinstance(table, ast.Dict) else []
    return [str(key.value) for key in keys if isinstance(key, ast.Constant)]
