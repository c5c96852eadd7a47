"""The code that Toolrunner calls in a migrated plugin of several tools: its ``run_tool``.

What each of them takes beside JSON stands in tables above it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from migration.intake import Intake, intake
from migration.shape import PROGRESS, Shape

ENTRY = "run_tool"
BYTES = "_toolrunner_bytes"
IMAGES = "_toolrunner_images"
TEXTS = "_toolrunner_base64_images"
FILES = "_toolrunner_files"
WRITTEN = "_toolrunner_written"
TELLERS = "_toolrunner_tellers"
TELL = "_toolrunner_tell"
_TELL = f"""\
def {TELL}(context):
    \"\"\"Return what a tool calls to say how far it is: done and total, or a fraction.\"\"\"

    def tell(done, total=None, message="", *_others, **_more):
        if isinstance(total, str):
            message, total = total, None
        whole = total if total else 100 if done > 1 else 1
        context.progress(done / whole, str(message))

    return tell"""
_OPTIONS = '        args = dict(payload.get("options") or {})'


def tables(shape: Shape) -> dict[str, object]:
    """Return the tables that the code needs, by their names."""
    tools = shape.tools or {}
    taken = {name: intake(tool) for name, tool in tools.items()}
    decoded = {n: t.in_bytes for n, t in tools.items() if taken[n].kind == "json" and t.in_bytes}
    made: dict[str, object] = {
        BYTES: decoded,
        IMAGES: _arguments(taken, "image", is_text=False),
        TEXTS: _arguments(taken, "image", is_text=True),
        FILES: _arguments(taken, "files", is_text=False),
        WRITTEN: {name: one.written for name, one in taken.items() if one.written},
        TELLERS: [name for name, tool in tools.items() if tool.tells],
    }
    return {name: table for name, table in made.items() if table}


def _arguments(taken: Mapping[str, Intake], kind: str, *, is_text: bool) -> dict[str, str]:
    found = taken.items()
    return {n: one.argument for n, one in found if one.kind == kind and one.is_text == is_text}


_ABOUT = {
    BYTES: "The arguments of each tool that are bytes: base64 in JSON.",
    IMAGES: "The argument of each tool that is the image.",
    TEXTS: "The argument of each tool that is the image, as base64.",
    FILES: "The argument of each tool that is the path of its file.",
    WRITTEN: "The argument of each tool that is the path of the file that it writes.",
    TELLERS: "The tools that say how far they are.",
}


def before(shape: Shape) -> list[str]:
    """Return the lines above the plugin's object: what its tools take."""
    lines: list[str] = []
    for name, table in tables(shape).items():
        is_list = isinstance(table, list)
        lines += [f"# {_ABOUT[name]}", f"{name} = {'[' if is_list else '{'}"]
        if isinstance(table, dict):
            lines += [f"    {json.dumps(k)}: {json.dumps(v)}," for k, v in table.items()]
        elif isinstance(table, list):
            lines += [f"    {json.dumps(one)}," for one in table]
        lines += ["]" if is_list else "}", ""]
    return lines


def function(shape: Shape, target: str) -> list[str]:
    """Return the lines of ``run_tool``, down to its result; ``target`` is what it calls."""
    needed = tables(shape)
    context = ", context" if {WRITTEN, TELLERS} & needed.keys() or shape.takes_context else ""
    lines = [*_TELL.split("\n"), "", ""] if TELLERS in needed else []
    lines += [f"def {ENTRY}(tool, payload{context}):"]
    lines += ['    """Answer one call, as Toolrunner makes it."""', "    args = dict(payload)"]
    if BYTES in needed:
        lines += [f"    for name in {BYTES}.get(tool, ()):"]
        lines += ["        if isinstance(args.get(name), str):"]
        lines += ["            args[name] = base64.b64decode(args[name])"]
    for table, value in (
        (IMAGES, 'payload["image"]'),
        (TEXTS, 'base64.b64encode(payload["image"]).decode("ascii")'),
        (FILES, 'payload["files"][0]["path"]'),
    ):
        if table in needed:
            lines += [
                f"    if tool in {table}:",
                _OPTIONS,
                f"        args[{table}[tool]] = {value}",
            ]
    if WRITTEN in needed:
        lines += [f"    if tool in {WRITTEN}:"]
        lines += ['        ending = os.path.splitext(payload["files"][0]["name"])[1]']
        lines += [f'        args[{WRITTEN}[tool]] = str(context.scratch / f"output{{ending}}")']
    if TELLERS in needed:
        lines += [f"    if tool in {TELLERS}:", f'        args["{PROGRESS}"] = {TELL}(context)']
    arguments = shape.arguments.replace('payload["tool"]', "tool")
    return [*lines, f"    result = {target}({arguments})"]


def after(shape: Shape) -> list[str]:
    """Return the lines that give back the file which a tool has written."""
    if WRITTEN not in tables(shape):
        return []
    return [
        f"    written = args.get({WRITTEN}.get(tool))",
        "    if written and os.path.isfile(written):",
        "        result = dict(result) if isinstance(result, dict) else {}",
        '        result["output"] = context.artifact(os.path.basename(written), written)',
    ]
