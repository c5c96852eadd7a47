"""A plugin that is one file: its manifest goes into the file, and what calls it below."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from migration import adapter, advice, manifest, remains, requirements, tools_adapter
from migration.findings import Change, Finding, Plan
from migration.host import without_host
from migration.manifest import Facts
from migration.names import Asked, stated
from migration.shape import Shape
from migration.source import Source, bound_names, script_block


def adapted_file(
    source: Source, shape: Shape | None, facts: Facts, asked: Asked, local: set[str]
) -> Plan:
    """Return the plan for a single file; without a ``shape`` it has its manifest already."""
    made = Plan()
    is_new = shape is not None
    facts.error_key = remains.error_key([source]) if is_new else stated(source, "error_key")
    remains.note(made, source, facts.error_key, is_new=is_new)
    replaced = without_host(source, asked.hosts, local)
    made.by_hand += replaced.by_hand
    text = replaced.text
    if shape is not None:
        facts.rename(asked.names)
        made.by_hand += _taken(source, shape)
        block = script_block(text)
        if block is not None and block[1] is None:
            line = text.count("\n", 0, block[0].start()) + 1
            what = "its script block is not valid TOML"
            made.by_hand.append(Finding(source.path, line, what, "correct it"))
        if block is None:
            facts.dependencies = requirements.needed([source], asked.hosts, set(), made)
        text = _with_block(text, facts, shape)
        if not (shape.is_plain and shape.owner in {"Plugin", ""}):
            text = _with_adapter(text, shape)
        advice.note(made, source, shape, facts, source.path)
    elif stated(source, "name"):
        made.plugins[stated(source, "name")] = source.path
    if not made.by_hand and text != source.text:
        made.changes.append(Change(source.path, source.data, source.encode(text)))
    return made


def _taken(source: Source, shape: Shape) -> Iterator[Finding]:
    """Yield the names that Toolrunner's entry needs, and that the file uses for something else."""
    wanted = {adapter.entry(shape)}
    if not shape.is_plain:
        wanted |= {adapter.OBJECT, adapter.BYTES, *adapter.needed_modules(shape)}
        wanted |= {tools_adapter.TELL, *tools_adapter.tables(shape)} if shape.has_tools else set()
    elif not shape.owner:
        return  # the function itself is the entry
    for name, statement in bound_names(source.tree).items():
        is_module = isinstance(statement, ast.Import) and any(
            a.name == name for a in statement.names
        )
        if name in wanted and not is_module:
            what = f"the name {name} is taken at the top level, and Toolrunner's entry needs it"
            yield Finding(source.path, statement.lineno, what, "rename it")


def _with_block(text: str, facts: Facts, shape: Shape) -> str:
    """Return the text with a PEP 723 block, or with our table in the one that it has."""
    table = manifest.tool_table(facts, shape, "")
    block = script_block(text)
    if block is not None:
        end = block[0].end("content")
        return text[:end] + "\n".join([*_commented(table), ""]) + text[end:]
    new = ["# /// script", *_commented([*manifest.head(facts), *table]), "# ///"]
    lines = text.split("\n")
    at = 1 if lines[0].startswith("#!") else 0
    if lines[at].startswith("#") and "coding" in lines[at]:
        at += 1
    return "\n".join([*lines[:at], *([""] if at else []), *new, "", *lines[at:]])


def _commented(lines: list[str]) -> list[str]:
    return [f"# {line}".rstrip(" ") for line in lines]


def _with_adapter(text: str, shape: Shape) -> str:
    modules = adapter.needed_modules(shape)
    lines = [text.rstrip("\n"), "", ""]
    lines += ["# What Toolrunner calls; the plugin above is as it was."]
    lines += [f"import {name}  # noqa: E402" for name in modules] + [""] * bool(modules)
    return "\n".join([*lines, adapter.body(shape, shape.owner or shape.method)])
