"""Turns what a plugin returned into strict JSON text, or says what stands in the way and where.

Runs in the cell. Known types are recognised by what they offer, so that neither NumPy nor
pydantic is imported for a plugin that does not use them. The parent checks the text again with
code of its own: nothing that runs beside a plugin can be believed.
"""

from __future__ import annotations

import base64
import json
import math
import os

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Attach = Callable[[object, str], dict[str, object] | None]

MAX_DEPTH = 100


class NotJsonError(Exception):
    """A value that strict JSON cannot carry; the text names its place in the result."""


def encode(value: object, attach: Attach | None = None) -> bytes:
    """Return ``value`` as JSON text in UTF-8; raise ``NotJsonError`` saying what is wrong.

    ``attach`` takes what becomes an artifact, and returns what stands for it in the text.
    """
    try:
        plain = convert(value, "result", 0, set(), attach)
        return json.dumps(plain, ensure_ascii=False, allow_nan=False, check_circular=False).encode()
    except UnicodeEncodeError as error:
        message = f"the result has a lone surrogate ({error.object[error.start]!a}) in a string"
        raise NotJsonError(message) from None
    except RecursionError:
        raise NotJsonError("the result never comes down to plain JSON values") from None
    except ValueError as error:
        raise NotJsonError(f"the result has a value without a JSON form: {error}") from None


def convert(
    value: Any, place: str, depth: int, above: set[int], attach: Attach | None = None
) -> object:
    """Return ``value`` built of dict, list, str, int, float, bool and None alone."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise NotJsonError(
                f"{place} is {value}, which JSON cannot carry; return None or a string"
            )
        return value
    if depth >= MAX_DEPTH:
        raise NotJsonError(f"{place[:200]} is nested more than {MAX_DEPTH} deep")
    if id(value) in above:
        raise NotJsonError(f"{place} contains itself")
    above.add(id(value))
    try:
        if isinstance(value, dict):
            return convert_dict(value, place, depth, above, attach)
        if isinstance(value, (list, tuple)):
            return [
                convert(item, f"{place}[{index}]", depth + 1, above, attach)
                for index, item in enumerate(value)
            ]
        return convert(simplify(value, place, attach), place, depth, above, attach)
    finally:
        above.discard(id(value))


def convert_dict(
    value: dict[Any, Any], place: str, depth: int, above: set[int], attach: Attach | None
) -> dict[str, object]:
    """Return a dict with string keys alone; an enum or NumPy string counts as its string."""
    plain: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotJsonError(
                f"{place} has the key {key!r:.80} of type {type(key).__name__}; "
                "keys of JSON objects are strings"
            )
        plain[str.__str__(key)] = convert(item, f"{place}[{key!r:.80}]", depth + 1, above, attach)
    return plain


def simplify(value: Any, place: str, attach: Attach | None = None) -> Any:
    """Return a value one step nearer to JSON."""
    reference = attach(value, place) if attach is not None else None
    if reference is not None:
        return reference
    simple = simplify_builtin(value)
    if simple is not value:
        return simple
    kind: Any = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if callable(getattr(kind, "model_dump", None)):  # pydantic
        return value.model_dump()
    if hasattr(kind, "__array_interface__") or hasattr(kind, "__array__"):  # NumPy and its kin
        return value.tolist() if hasattr(value, "tolist") else value.__array__().tolist()
    raise NotJsonError(
        f"{place} is of type {kind.__module__}.{kind.__qualname__}, which has no JSON form; "
        "return dict, list, str, numbers, bool or None"
    )


def simplify_builtin(value: Any) -> Any:
    """Return the JSON-near form of a type of the standard library, or the value itself."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, set | frozenset):
        # An order of its own for each run would make equal results differ.
        return sorted(value, key=repr)
    if any(kind.__module__ == "datetime" for kind in type(value).__mro__[:-1]):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if hasattr(value, "value") and hasattr(type(value), "__members__"):  # an enum
        return value.value
    return value
