"""What a name, or an annotation, says by itself."""

from __future__ import annotations

import ast

from phase12.source import last_name, words

OBJECT = {"instance", "object", "obj", "impl", "cls", "class", "module", "handler", "function"}


def is_plugin_name(identifier: str) -> bool:
    """Tell whether a name alone says that it is a plugin, plugins, or their registry."""
    parts = words(identifier)
    last = parts[-1] if parts else ""
    return (
        last in {"plugin", "plugins", "registry"}
        or parts == ["instance"]
        or ("plugin" in parts and last in OBJECT)
    )


def is_annotated(said: list[ast.expr]) -> bool:
    """Tell whether an annotation names a class of plugins."""
    names = [last_name(one) for whole in said for one in ast.walk(whole)]
    return any(words(name)[-1:] == ["plugin"] for name in names)
