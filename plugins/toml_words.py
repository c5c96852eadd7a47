"""What to write instead of a line that is no TOML, for the end of a message.

Called by ``source`` with the line that ``tomllib`` has stopped at, and what it says about that. It
is advice alone, and goes by what the line looks like.
"""

from __future__ import annotations

import re

_LONGEST_LINE = 120
_LONGEST_LOOKED_AT = 400
_PAIR = re.compile(r"""\s*(?P<key>[A-Za-z0-9_."'-]+)\s*(?P<sign>=|:)?\s*(?P<value>.*)""")
_WORDS = {"True": "true", "False": "false", "yes": "true", "no": "false"}
_NUMBER = re.compile(r"([A-Za-z_]+)\s*=\s*([0-9][0-9_.]*)\s*([A-Za-z%]+)")
_BARE_WORD = re.compile(r"[A-Za-z_/~<>=^*.][^\"'{}\[\]]*")
_BARE_LIST = re.compile(r"\[([A-Za-z_/~<>=^*.][^\"'{}\[\]]*)\]")
_ASSIGNED = re.compile(r"=\s*(True|False|yes|no)\b")


def advice(line: str, what: str) -> str:
    """Return what to write; ``what``: Python's own words about the line."""
    code = _without_comment(line[:_LONGEST_LOOKED_AT])
    if word := _ASSIGNED.search(code):
        return f"write {_WORDS[word[1]]}, in small letters"
    if number := _NUMBER.search(code):
        return f"a number stands alone: write {number[1]} = {number[2]}"
    if "Unclosed array" in what:
        return "the list that ends here, or begins above, has no ] at its end"
    if code.lstrip().startswith("["):
        return "a table's name stands in brackets, alone: [tool.toolrunner.limits]"
    if "twice" in what or "overwrite" in what or "mutate" in what:
        return "what stands here is said above already: keep one of the two"
    found = _PAIR.fullmatch(code)
    if found is None:
        return "write KEY = VALUE, or # in front of a comment"
    return _of_a_pair(code, found["key"], found["sign"] or "", found["value"].strip(), what)


def _of_a_pair(code: str, key: str, sign: str, value: str, what: str) -> str:
    if sign == ":":
        return f"write = between a key and its value: {key} = {value or '…'}"
    if code.count("{") > code.count("}"):
        return (
            "a table in braces ends with } on the line that it begins in; a longer one is "
            f"[tool.toolrunner.{key}], with a line for each of its keys below"
        )
    if code.count("[") > code.count("]"):
        return "the list that begins here has no ] at its end"
    if words := _BARE_LIST.fullmatch(value):
        quoted = ", ".join(f'"{word.strip()}"' for word in words[1].split(","))
        return f"put text in quotes: {key} = [{quoted}]"
    if "Illegal character" in what or "Unterminated" in what or _has_open_quote(code):
        return "text ends with the quote that it begins with, on the same line"
    if sign and not value:
        return f'write a value behind it, such as {key} = "…"'
    if sign and _BARE_WORD.fullmatch(value):
        return f'put text in quotes: {key} = "{value}"'
    return "correct this line" if sign else "write KEY = VALUE, or # in front of a comment"


def shown(line: str) -> str:
    """Return a line of a file for a message."""
    text = line.strip()
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def _without_comment(line: str) -> str:
    """Return a line without the comment at its end, as far as no quote stands in that."""
    before, sign, after = line.rpartition("#")
    is_comment = sign and not set(after) & set("\"'") and before.count('"') % 2 == 0
    return (before if is_comment else line).rstrip()


def _has_open_quote(code: str) -> bool:
    return any(code.replace("\\" + quote, "").count(quote) % 2 for quote in "\"'")
