"""A plan, as people and programs read it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migration.findings import Finding, Plan, shown
from migration.writing import diff


def document(plan: Plan, written: Mapping[Path, Path | None] | None) -> dict[str, Any]:
    """Return a plan as JSON. ``written``: each file that was, with its backup."""
    return {
        "written": written is not None,
        "plugins": sorted(plan.plugins),
        "changes": [
            {
                "path": shown(change.path),
                "action": "create" if change.before is None else "edit",
                "diff": diff(change),
                "written": written is not None and change.path in written,
                "backup": shown(backup) if (backup := (written or {}).get(change.path)) else None,
            }
            for change in plan.changes
        ],
        "by_hand": [_finding(one) for one in plan.to_do],
        "notes": [_finding(one) for one in plan.notes],
        "next": next_steps(plan) if written else [],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {"path": shown(one.path), "line": one.line, "what": one.what, "instead": one.instead}


def lines(plan: Plan, written: Mapping[Path, Path | None] | None) -> list[str]:
    """Return a plan as lines of text."""
    text: list[str] = []
    for change in plan.changes:
        if written is None:
            text += diff(change).splitlines()
        elif change.path in written:
            backup = written[change.path]
            text.append(
                f"wrote {shown(change.path)}" + (f" (before: {shown(backup)})" if backup else "")
            )
    for heading, findings in (("By hand:", plan.to_do), ("Worth knowing:", plan.notes)):
        if findings:
            text += [heading, *(f" - {one}" for one in findings)]
    steps = next_steps(plan) if written else []
    text += ["Next:", *(f"  {step}" for step in steps)] if steps else []
    return [*text, summary(plan, written)]


def next_steps(plan: Plan) -> list[str]:
    """Return the commands that try what was made, and then list it, as a shell takes them."""
    paths = list(dict.fromkeys(shown(path) for path in plan.plugins.values()))
    options = [f"--plugins {shlex.quote(path)}" for path in paths]
    return [
        *(f"toolrunner plugins check {shlex.quote(path)}" for path in paths),
        *([" ".join(["toolrunner", *options, "plugins", "list"])] if options else []),
    ]


def summary(plan: Plan, written: Mapping[Path, Path | None] | None) -> str:
    """Return the last line."""
    left = f"to do by hand: {len(plan.to_do)}"
    if written is not None and plan.changes:
        return f"Phase 12 migration: files written: {len(written)}; {left}."
    if plan.changes:
        count = len(plan.changes)
        return f"Phase 12 migration: files to write: {count}; {left}. Use --write to write them."
    return f"Phase 12 migration: {left}." if plan.to_do else "Phase 12 migration: nothing to do."
