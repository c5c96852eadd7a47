"""Which code of a plugin serves which of its tools.

Asked by the worker once for each plugin that it loads. Runs nothing of a plugin.
"""

from __future__ import annotations

from .parameters import is_coroutine, with_context, with_tool

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FOR_ALL = "run_tool"


def function_name(tool: str) -> str:
    """Return the name of the function that serves a tool alone."""
    return tool.replace("-", "_")


def serves_any(found: object, tools: Sequence[str]) -> bool:
    """Tell whether an object has a function for any of a plugin's tools, beside ``run``."""
    return any(
        callable(getattr(found, name, None)) for name in (FOR_ALL, *map(function_name, tools))
    )


def serving(
    found: object, tools: Sequence[str], run: Callable[..., object] | None
) -> tuple[Callable[[Any, Any], object], bool]:
    """Return a function of a payload and a context that serves all tools, and whether any is async.

    Each is served by ``run_tool`` of the plugin, else by its function of the tool's name, else by
    its ``run``. Raises ``AttributeError`` for a tool that has none of these.
    """
    for_all = getattr(found, FOR_ALL, None)
    if callable(for_all):
        return with_tool(for_all), is_coroutine(for_all)
    functions: dict[str, Callable[[Any, Any], object]] = {}
    is_async = False
    for tool in tools:
        own = getattr(found, function_name(tool), None)
        own = own if callable(own) else run
        if own is None:
            message = (
                f"the manifest has a tool {tool}, and the plugin nothing that serves it; define "
                f"{function_name(tool)}(payload), or {FOR_ALL}(tool, payload)"
            )
            raise AttributeError(message)
        functions[tool] = with_context(own)
        is_async = is_async or is_coroutine(own)
    return lambda payload, context: functions[context.tool](payload, context), is_async
