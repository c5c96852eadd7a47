"""Manifests written to files, and what is wrong with them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import strategies as st

from toolrunner.plugins.manifest import (
    ManifestError,
    read_inline,
)


def block(toml: str) -> str:
    """Return TOML as a PEP 723 block, its first line on the second line of the text."""
    lines = "".join(f"# {line}\n" if line else "#\n" for line in toml.split("\n"))
    return f"# /// script\n{lines}# ///\n"


def plugin_file(folder: Path, toml: str, before: str = "") -> Path:
    """Write a plugin file with this manifest and return its path."""
    path = folder / "plugin.py"
    path.write_text(f"{before}{block(toml)}def run(payload):\n    return {{}}\n")
    return path


def fails(path: Path) -> ManifestError:
    """Return the error of reading this plugin file."""
    with pytest.raises(ManifestError) as caught:
        read_inline(path)
    return caught.value


# Each: the manifest's TOML, the line of the *file* (one more than in the TOML), key, words.
HEAD = '[tool.toolrunner]\nname = "m"\n'


def toml_file(folder: Path, text: str) -> Path:
    """Write a toolrunner.toml and the module it may name, and return its path."""
    (folder / "main.py").write_text("def run(payload):\n    return {}\n")
    path = folder / "toolrunner.toml"
    path.write_text(text)
    return path


TREE = st.recursive(
    st.one_of(
        st.integers(-9, 9),
        st.booleans(),
        st.text(max_size=8).filter(lambda text: "\0" not in text),
        st.just(date(2020, 1, 2)),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def as_toml(value: object) -> str:
    """Return a value as TOML on as many lines as it may take."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return "[ # ]\n" + "".join(f"  {as_toml(item)},\n" for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + " }"
    return str(value)
