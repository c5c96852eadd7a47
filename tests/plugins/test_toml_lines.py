"""The blocks of a file and the lines of its keys, held against simpler readings."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.manifests import TREE, as_toml
from toolrunner.plugins.source import blocks
from toolrunner.plugins.toml_lines import key_lines

REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
ODD_LINES = ["# /// script", "# /// x", "# ///", "#", "# a = 1", "#b", "", "x", "# /// a b", "# \r"]


@given(lines=st.lists(st.sampled_from(ODD_LINES), max_size=14), end=st.sampled_from(["", "\n"]))
def test_blocks_are_those_of_the_reference_expression(lines: list[str], end: str) -> None:
    """The linear search finds what PEP 723's own expression finds."""
    text = "\n".join(lines) + end
    expected = [
        (
            found["type"],
            text.count("\n", 0, found.start()) + 1,
            "".join(f"{line[2:]}\n" for line in found["content"].split("\n")[:-1]),
        )
        for found in REFERENCE.finditer(text)
    ]
    assert [(found.kind, found.line, found.content) for found in blocks(text)] == expected


@given(tree=st.dictionaries(st.text(max_size=4), TREE, max_size=4))
def test_every_key_of_a_document_has_a_line(tree: dict[str, Any]) -> None:
    """The search for lines follows any TOML that tomllib reads, and misses no key."""
    text = "".join(f"\n{as_toml(key)} = {as_toml(value)} # end\n" for key, value in tree.items())
    document = tomllib.loads(text)
    found = key_lines(text)
    for key in all_keys(document):
        assert key in found
    ends = [found[(key,)] for key in document]
    assert ends == sorted(set(ends))


def all_keys(value: object, key: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of each part of a document."""
    parts: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    nested = [found for name, part in parts for found in all_keys(part, (*key, name))]
    return [(*key, name) for name, _ in parts] + nested


def test_lines_are_found_among_every_kind_of_toml() -> None:
    """Strings that look like keys, arrays of tables and dotted headers do not mislead."""
    text = (
        'a = """\nb = 1 \\""" """\n'  # 1, 2
        "c = '''\n[d]''''\n"  # 3, 4
        "[[e.f]]\ng = 1\n[[e.f]]\n"  # 5, 6, 7
        "g = 2 # [h]\n"  # 8
        "[e.f.'i.j']\nk = 1979-05-27 07:32:00\n"  # 9, 10
        '["l"]\nm . n = {o = [\n"]", {p = "#"}], q = ""}\n'  # 11, 12, 13
    )
    tomllib.loads(text)
    found = key_lines(text)
    lines = {
        ("a",): 1,
        ("c",): 3,
        ("e", "f", 0, "g"): 6,
        ("e", "f", 1): 7,
        ("e", "f", 1, "g"): 8,
        ("e", "f", 1, "i.j", "k"): 10,
        ("l", "m", "n"): 12,
        ("l", "m", "n", "o", 1, "p"): 13,
        ("l", "m", "n", "q"): 13,
    }
    assert {key: found[key] for key in lines} == lines
    assert not {("b",), ("d",), ("h",)} & set(found)
