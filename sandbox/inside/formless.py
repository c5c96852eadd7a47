"""What is said of a value that has no JSON form: where it stands, what it is, what to return.

Asked by ``jsonable`` and what it asks itself. The words are for whoever writes a first plugin.
"""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

_PLAINLY = "return dict, list, str, numbers, bool or None"
_CALL_IT = "it was not called: write its parentheses"
_FROM_ITS_BEGINNING = "return what is in it: value.seek(0), and then value.read()"
# What to return instead of a value of these types: (library, name).
_WHOLE = "result"
_INSTEAD = {
    ("builtins", "complex"): "return its parts, such as [value.real, value.imag]",
    ("numpy", "complexfloating"): "return its parts, such as [value.real, value.imag]",
    ("fractions", "Fraction"): "return float(value), or str(value) to keep it exact",
    ("builtins", "function"): _CALL_IT,
    ("builtins", "method"): _CALL_IT,
    ("builtins", "builtin_function_or_method"): _CALL_IT,
    ("builtins", "method_descriptor"): _CALL_IT,
    ("builtins", "coroutine"): "it was not awaited: write await before it",
    ("builtins", "async_generator"): "return [item async for item in value]",
    ("builtins", "type"): "return an object of that class, or its name as a string",
    ("builtins", "module"): "return what it has, not the module",
    ("builtins", "BaseException"): "raise it, or return str(value)",
    ("builtins", "ellipsis"): "write a value in place of the three dots",
    # Before what they also are: what has been written into them is behind where they stand.
    ("_io", "BytesIO"): "return what is in it, value.getvalue()",
    ("_io", "StringIO"): "return what is in it, value.getvalue()",
    ("tempfile", "_TemporaryFileWrapper"): _FROM_ITS_BEGINNING,
    ("tempfile", "SpooledTemporaryFile"): _FROM_ITS_BEGINNING,
    ("re", "Match"): "return value.group(), or value.groupdict()",
    ("pandas", "GroupBy"): "return what is computed of it, such as value.sum().reset_index()",
    ("polars", "LazyFrame"): "return value.collect()",
    ("PIL", "Image"): "save it to an io.BytesIO, and return what that holds: file.getvalue()",
    ("matplotlib", "Figure"): "save it to an io.BytesIO, and return what that holds: "
    "file.getvalue()",
}
# What objects offer that gives something plain.
_OFFERED = (
    "to_dict",
    "_asdict",
    "as_dict",
    "asdict",
    "to_list",
    "tolist",
    "to_pandas",
    "fetchall",
    "get_secret_value",
)
_LONGEST = 500
_MOST_LOOKED_AT = 10_000
_HOLDERS = (dict, list, tuple)


HAS_ITSELF = "contains itself; leave that out, or return what names it, such as its key"
ENDLESS = f"never comes down to plain JSON values; {_PLAINLY}"


class NotJsonError(Exception):
    """A value that strict JSON cannot carry; the text names its place in the result."""


def too_deep(most: int) -> str:
    """Return what is said of what is nested too deep."""
    return f"nested more than {most} deep; return it as a flat list, with the depth of each item"


def twice(key: str) -> str:
    """Return what is said of two keys that are one in JSON."""
    return f"has the key {key!a:.80} twice, of types that are one in JSON; rename one of them"


def surrogate(found: str) -> str:
    """Return what is said of a string with half of a pair, which no UTF-8 has."""
    return (
        f"has a lone surrogate ({found!a}) in a string; return "
        'value.encode("utf-8", "backslashreplace").decode()'
    )


def too_long(digits: int) -> str:
    """Return what is said of an integer that no text is made of."""
    return (
        f"has no JSON form: it has more than {digits} digits; return hex(value), which "
        "int(text, 16) reads"
    )


def no_form(value: Any, place: str) -> str:
    """Return what is said of a value that nothing can be made of."""
    what = f"{place} is of type {type_name(value)}, which has no JSON form"
    if place == _WHOLE and ("builtins", "generator") in names_of(type(value)):
        return f"{what}; write return instead of yield in run"
    return f"{what}; {instead(value)}"


def failed(value: Any, place: str, error: Exception) -> str:
    """Return what is said of a value whose own code has failed."""
    kind = type_attribute(type(error), "__name__")
    try:
        words = f": {error}"[:_LONGEST]
    except Exception:  # noqa: BLE001 - a plugin's own code raises anything
        words = ""
    return (
        f"{place} is of type {type_name(value)}, which could not be turned into JSON "
        f"({kind}{words}); {_PLAINLY}"
    )


def no_key(key: Any, place: str) -> str:
    """Return what is said of a key that is no string."""
    return (
        f"{place} has the key {shown(key)} of type {type_attribute(type(key), '__name__')}; "
        "keys of JSON objects are strings: write str(key)"
    )


def no_column(name: Any, place: str) -> str:
    """Return what is said of a table with a column whose name is no string."""
    return (
        f"{place} has a column named {shown(name)} of type "
        f"{type_attribute(type(name), '__name__')}; names of columns are strings: rename it"
    )


def shown(key: Any) -> str:
    """Return a key as it is named in a message."""
    try:
        return f"{key!r:.80}"
    except Exception:  # noqa: BLE001 - a plugin's own code raises anything
        return "<without a text>"


def no_object(value: Any, plain: Any) -> str:
    """Return what is said of a result that is no object, but has a form."""
    if value is None:
        what = "None (perhaps a return is missing)"
    else:
        own, as_json = type_name(value), type_name(plain)
        what = f"a value of type {own}"
        what += "" if own == as_json else f", in JSON a {as_json}"
    return f'run returned {what}; it has to return a dict, such as {{"value": …}}'


def instead(value: Any) -> str:
    """Return what to write in place of a value."""
    kind = type(value)
    names = names_of(kind)
    for known, words in _INSTEAD.items():
        if known in names:
            return words
    if ("_io", "_IOBase") in names:
        return of_a_file(value)
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return "return dict(value)"
    for name in _OFFERED:
        if callable(getattr(kind, name, None)):
            return f"return value.{name}()"
    if hasattr(kind, "__iter__"):
        return "return list(value)"
    if hasattr(kind, "__float__"):
        return "return float(value), or str(value)"
    return _PLAINLY


def of_a_file(value: Any) -> str:
    """Return what to write in place of an open file, or of one that has been closed."""
    try:
        name, mode = value.name, str(value.mode)
    except Exception:  # noqa: BLE001 - a plugin's own code raises anything
        name, mode = None, ""
    if not set(mode) & set("wax+"):
        return "return what is in it, value.read()"
    return "close it, and return Path(value.name)" if isinstance(name, str) else _FROM_ITS_BEGINNING


def names_of(kind: type) -> set[tuple[str, str]]:
    """Return what a type and those that it is derived from are called: (library, name)."""
    return {
        (
            str(type_attribute(one, "__module__")).partition(".")[0],
            str(type_attribute(one, "__name__")),
        )
        for one in type.__dict__["__mro__"].__get__(kind)
    }


def close_coroutines(result: Any) -> None:
    """Close the coroutines in a result that nobody has begun, so that nothing warns of them."""
    seen: set[int] = set()
    left = [result]
    for _ in range(_MOST_LOOKED_AT):  # a large result may have left little memory
        if not left:
            return
        value = left.pop()
        kind = type(value)
        if kind in _HOLDERS and id(value) not in seen:
            seen.add(id(value))
            items = value.values() if kind is dict else value
            left += islice(items, _MOST_LOOKED_AT - len(left))
        elif ("builtins", "coroutine") in names_of(kind) and not value.cr_suspended:
            value.close()  # one that waits has code of its own to run at its end


def type_name(value: Any) -> str:
    """Return a value's type as it is imported, and as it is written where it need not be."""
    module, name = (type_attribute(type(value), part) for part in ("__module__", "__qualname__"))
    return str(name if module == "builtins" else f"{module}.{name}")[:_LONGEST]


def type_attribute(kind: type, name: str) -> object:
    """Return a type's module or name, past a metaclass that would say another."""
    return type.__dict__[name].__get__(kind)
