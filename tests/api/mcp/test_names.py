"""Tools' names: of the characters that hosts take, each for one plugin, and back."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from toolrunner.api.mcp.names import LONGEST_NAME, is_tool_name, plugins_by_tool, tool_name

LOWER = string.ascii_lowercase + string.digits
ANY = string.ascii_letters + string.digits


def names(first: str, more: str) -> st.SearchStrategy[str]:
    """Return names of a first character and more; by a regular expression they take seconds."""
    rest = st.text(st.sampled_from(first + more), max_size=63)
    return st.builds("{}{}".format, st.sampled_from(first), rest)


PLUGINS = names(LOWER, "-")
TOOLS = names(ANY, "_-")
CALLED = st.one_of(PLUGINS, st.builds("{}:{}".format, PLUGINS, TOOLS))


@given(st.sets(CALLED, max_size=20))
def test_each_name_is_one_plugins(plugins: set[str]) -> None:
    """Whatever their names are: what every model's API takes, and none means two."""
    by_tool = plugins_by_tool(plugins)
    assert set(by_tool.values()) == plugins
    for tool, plugin in by_tool.items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool)
        assert is_tool_name(tool)
        assert tool_name(plugin) == tool


def test_names_stay_readable() -> None:
    """Those that fit are as they were, but for the colon."""
    assert tool_name("text-stats") == "text-stats"
    assert tool_name("vision:detect_edges") == "vision_detect_edges"
    assert plugins_by_tool(["a:b_c", "a", "a-b"]) == {"a_b_c": "a:b_c", "a": "a", "a-b": "a-b"}


def test_a_long_name_cannot_be_made_to_be_anothers() -> None:
    """Two underscores stand in no name that fits: tools' begin with a letter or a digit."""
    long = f"{'p' * 60}:{'t' * 60}"
    cut = tool_name(long)
    assert len(cut) == LONGEST_NAME
    assert cut.startswith("p" * 40 + "__")
    assert tool_name(f"{'p' * 60}:{'t' * 59}u") != cut
