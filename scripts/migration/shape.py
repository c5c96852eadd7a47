"""How a plugin that was written for another host is called: the values that say it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

PROGRESS = "progress_callback"
HOOKS = ("validate", "on_load")
BYTES = frozenset({"bytes", "bytearray", "memoryview"})

_TOOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a plugin with several: what its arguments are, as JSON Schema has it.

    ``forms``: those that are bytes in the code (True), and those that it decodes itself (False).
    ``handler`` is the method that its metadata name, "" if they name none. ``outputs``: JSON Schema
    of what it returns. ``tells``: it takes a ``progress_callback``.
    """

    properties: dict[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    forms: dict[str, bool] = field(default_factory=dict)
    handler: str = ""
    description: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    tells: bool = False

    @property
    def in_bytes(self) -> list[str]:
        """The arguments that are bytes in the code, and base64 in JSON."""
        return sorted(name for name, is_bytes in self.forms.items() if is_bytes)


@dataclass(slots=True)
class Shape:
    """How to call a plugin. ``owner`` is "" where the module's own function is the plugin.

    ``arguments`` is what stands between the parentheses of the call.
    """

    owner: str
    method: str
    line: int
    input: str = "json"
    arguments: str = "payload"
    is_async: bool = False
    may_await: bool = False
    is_object: bool = False
    takes_context: bool = False
    hooks: dict[str, bool] = field(default_factory=dict)
    schema: Tool | None = None
    tools: dict[str, Tool] | None = None
    keys: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def has_tools(self) -> bool:
        """Whether its tools are known, each by a name that a tool may have."""
        return bool(self.tools) and all(map(_TOOL_NAME.fullmatch, self.tools or ()))

    @property
    def is_plain(self) -> bool:
        """Whether Toolrunner can call it as it is, once it is found."""
        is_run = self.method == "run" and self.arguments in {
            "payload",
            "payload, context",
            "payload, context=context",
        }
        return is_run and not (self.is_async or self.may_await or self.hooks)
