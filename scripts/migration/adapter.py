"""The code that Toolrunner calls in a migrated plugin, and that calls the plugin as it was."""

from __future__ import annotations

import json

from migration import tools_adapter
from migration.shape import Shape

ENTRY_MODULE = "toolrunner_entry"
OBJECT = "_toolrunner_plugin"
BYTES = "_toolrunner_bytes"

# As a folder, the plugin's own folder is on the module path and its package is not.
_PACKAGE = """\
if not __package__:
    # Found as a folder, and not installed: make the package, for the imports in it.
    _folder = Path(__file__).parent
    _spec = importlib.util.spec_from_file_location(
        "{package}", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["{package}"] = _package
    _spec.loader.exec_module(_package)
"""
_NAMESPACE = """\
if not __package__:
    # Found as a folder, and not installed: make the package, for the imports in it.
    sys.modules["{package}"] = types.ModuleType("{package}")
    sys.modules["{package}"].__path__ = [str(Path(__file__).parent)]
"""


_DECODING = [
    f'    for name in {BYTES}.get(payload["tool"], ()):',
    "        if isinstance(args.get(name), str):",
    "            args[name] = base64.b64decode(args[name])",
]


def needed_modules(shape: Shape) -> list[str]:
    """Return what the code imports."""
    text = body(shape, "Plugin")
    return [name for name in ("asyncio", "base64", "os") if f"{name}." in text]


def entry(shape: Shape) -> str:
    """Return the name of the function that Toolrunner calls."""
    return tools_adapter.ENTRY if shape.has_tools else "run"


def body(shape: Shape, called: str) -> str:
    """Return the function ``run`` and what it needs; ``called`` is the class or function."""
    if shape.has_tools:
        return _tools_body(shape, called)
    lines: list[str] = []
    target = called
    in_bytes = {name: tool.in_bytes for name, tool in (shape.tools or {}).items() if tool.in_bytes}
    if in_bytes:
        lines += ["# The arguments of each tool that are bytes: base64 in JSON.", f"{BYTES} = {{"]
        lines += [
            f"    {json.dumps(tool)}: {json.dumps(names)}," for tool, names in in_bytes.items()
        ]
        lines += ["}", ""]
    if shape.owner:
        target = f"{OBJECT}.{shape.method}"
        lines += _made(shape, called)
    parameters = "payload, context" if shape.takes_context else "payload"
    lines += [f"def run({parameters}):", '    """Answer one call, as Toolrunner makes it."""']
    if "args" in shape.arguments.replace("*", "").split(", "):
        lines.append('    args = dict(payload.get("args") or {})')
        lines += _DECODING if in_bytes else []
    call = f"{target}({shape.arguments})"
    call = f"asyncio.run({call})" if shape.is_async else call
    if not shape.may_await and shape.is_object:
        return "\n".join([*lines, f"    return {call}", ""])
    return "\n".join([*lines, f"    result = {call}", *_answered(shape), "    return result", ""])


def _tools_body(shape: Shape, called: str) -> str:
    lines = [*tools_adapter.before(shape), *_made(shape, called)]
    lines += tools_adapter.function(shape, f"{OBJECT}.{shape.method}")
    if shape.is_async:
        lines.append("    result = asyncio.run(result)")
    lines += [*_answered(shape), *tools_adapter.after(shape)]
    return "\n".join([*lines, "    return result", ""])


def _made(shape: Shape, called: str) -> list[str]:
    """Return the lines that make the plugin's object, and call its hooks."""
    lines = [f"{OBJECT} = {called}()"]
    for hook, is_async in shape.hooks.items():
        call = f"{OBJECT}.{hook}()"
        lines.append(f"asyncio.run({call})" if is_async else call)
    return [*lines, "", ""]


def _answered(shape: Shape) -> list[str]:
    """Return the lines that make an object of what the plugin has returned."""
    lines: list[str] = []
    if shape.may_await:
        lines += ["    if asyncio.iscoroutine(result):", "        result = asyncio.run(result)"]
    if not shape.is_object:
        plain = "(str, bytes, bool, int, float, list, tuple)"
        lines += [f"    if isinstance(result, {plain}):", '        result = {"result": result}']
    return lines


def module(shape: Shape, imported: str, package: str, *, has_init: bool) -> str:
    """Return a module of its own for a folder; ``imported`` is the plugin's module."""
    modules = set(needed_modules(shape))
    setup = ""
    if package:
        modules |= {"importlib.util", "sys"} if has_init else {"types", "sys"}
        setup = "\n" + (_PACKAGE if has_init else _NAMESPACE).format(package=package)
    lines = ['"""What Toolrunner calls; the plugin itself is as it was."""', ""]
    lines += [f"import {name}" for name in sorted(modules)]
    lines += ["from pathlib import Path"] if package else []
    called = shape.owner or "plugin_function"
    what = shape.owner or f"{shape.method} as plugin_function"
    source = f"{package}.{imported}".removesuffix(".__init__") if package else imported
    note = "  # noqa: E402" if package else ""
    lines += [setup.rstrip("\n")] if setup else []
    lines += [""] if modules or setup else []
    lines += [f"from {source} import {what}{note}", ""]
    lines += [] if shape.owner else [""]
    lines.append("")
    return "\n".join(lines) + body(shape, called)
