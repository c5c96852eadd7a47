"""How a plugin's functions take what they are given: what their signatures say, and their code.

Asked by the worker once for each plugin that it loads. Runs nothing of a plugin.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CO_VARARGS, _CO_COROUTINE = 0x04, 0x80


def with_context(run: Callable[..., object]) -> Callable[[Any, Any], object]:
    """Return a function that takes a payload and a context, whatever ``run`` takes.

    TypeError for a function that is written as a method: ``self`` would be the payload.
    """
    refuse_self(run)
    takes = context_parameter(run, 1)
    if takes is None:
        return lambda payload, _context: run(payload)
    if takes:
        return lambda payload, context: run(payload, **{takes: context})
    return run


def refuse_self(run: Callable[..., object]) -> None:
    """Refuse a function of a module, or a static method, that has a ``self`` before its payload."""
    code = getattr(run, "__code__", None)
    if code is None or hasattr(run, "__func__") or hasattr(run, "__wrapped__"):
        return
    names = code.co_varnames[: code.co_argcount]
    if names[:1] != ("self",) or names == ("self",):
        return
    name, file = code.co_name, code.co_filename.rpartition("/")[2]
    message = (
        f"{name}({', '.join(names)}) in line {code.co_firstlineno} of {file} is no method of an "
        f"object, so it is given no self; write {name}(payload), or {name}(payload, context)"
    )
    raise TypeError(message)


def with_tool(run_tool: Callable[..., object]) -> Callable[[Any, Any], object]:
    """Return the same for a function whose first parameter is the tool that the context names."""
    takes = context_parameter(run_tool, 2)
    if takes is None:
        return lambda payload, context: run_tool(context.tool, payload)
    if takes:
        return lambda payload, context: run_tool(context.tool, payload, **{takes: context})
    return lambda payload, context: run_tool(context.tool, payload, context)


def is_coroutine(run: Callable[..., object]) -> bool:
    """Tell whether calling a function or method gives a coroutine, as far as its code says it."""
    code = getattr(getattr(run, "__func__", run), "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _CO_COROUTINE)


def standing_at(run: Callable[..., object]) -> dict[str, Any]:
    """Return where a function or method is defined, and its name in errors; {} if nobody knows."""
    code = getattr(getattr(run, "__func__", run), "__code__", None)
    if code is None:
        return {}
    return {
        "name": str(getattr(run, "__qualname__", "")),
        "is_bound": hasattr(run, "__func__"),
        "file": code.co_filename,
        "line": code.co_firstlineno,
    }


def context_parameter(run: Callable[..., object], place: int) -> str | None:
    """Return how ``run`` takes a context: ``None`` not at all, "" by position, else by name.

    By position: its parameter at ``place``, if that is called context or has no default.
    """
    code = getattr(getattr(run, "__func__", run), "__code__", None)
    if code is None or code.co_flags & _CO_VARARGS or hasattr(run, "__wrapped__"):
        return signature_context(run, place)
    bound = 1 if hasattr(run, "__func__") else 0
    names = code.co_varnames[bound : code.co_argcount]
    defaults = len(run.__defaults__ or ())
    if len(names) > place and (names[place] == "context" or len(names) - defaults > place):
        return ""
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return "context" if "context" in by_name else None


def signature_context(run: Callable[..., object], place: int) -> str | None:
    """Return the same for what is decorated or no plain function; slower."""
    import inspect

    try:
        parameters = list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):
        return None
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(by_position) > place:
        one = by_position[place]
        if one.name == "context" or one.default is one.empty:
            return ""
    if any(p.kind is p.KEYWORD_ONLY and p.name == "context" for p in parameters):
        return "context"
    return None
