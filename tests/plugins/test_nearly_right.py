"""Manifests that are nearly right: the message has the line to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolrunner.plugins import toml_words
from toolrunner.plugins.discovery import discover
from toolrunner.plugins.fields import LIMIT_CEILING
from toolrunner.plugins.manifest import ManifestError, read_inline

HEAD = '# /// script\n# [tool.toolrunner]\n# name = "m"\n# input = "json"\n'
LIMITS = {
    "memory = '64MB'": "unknown limit; write memory_mb = 64",
    "memory_gb = 2": "unknown limit; write memory_mb = 2048",
    "ram = '1.5 GiB'": "unknown limit; write memory_mb = 1536",
    "max_memory_mb = 10": "unknown limit; write memory_mb = 10",
    "timeout = 10": "unknown limit; write wall_seconds = 10",
    "wall_ms = 1500": "unknown limit; write wall_seconds = 1.5",
    "wall_minutes = 2": "unknown limit; write wall_seconds = 120",
    "log_mb = 2": "unknown limit; write log_kb = 2048",
    "memory = [3]": "unknown limit; write memory_mb = 512",
    "memory = 1e300": "unknown limit; write memory_mb = 512",
    "memory_md = 3": "unknown limit; did you mean memory_mb?",
    "memory_mb = '64MB'": "must be a whole number, without quotes: write memory_mb = 64",
    "memory_mb = '64 s'": "must be a whole number, without quotes: write memory_mb = 512",
    "memory_mb = 0.5": "must be a whole number: write memory_mb = 1",
    "threads = 'many'": "must be a whole number, without quotes: write threads = 64",
    "threads = true": "must be a whole number: write threads = 64",
    "wall_seconds = '500ms'": "must be a number, without quotes: write wall_seconds = 0.5",
    "wall_seconds = '1m'": "must be a number, without quotes: write wall_seconds = 60",
    "memory_mb = 2097152": (
        f"must be more than 0 and at most {LIMIT_CEILING}; if these are bytes, write memory_mb = 2"
    ),
    "wall_seconds = 2000000": f"must be more than 0 and at most {LIMIT_CEILING}",
}
KEYS = {
    "memory_mb = 64": "unknown key; it is a limit: write limits = { memory_mb = 64 }",
    "timeout = '10s'": "unknown key; it is a limit: write limits = { wall_seconds = 10 }",
    "mime_types = ['a/b']": "unknown key; did you mean accepts?",
    "inputs = 'json'": "unknown key; did you mean input?",
    "limit = { memory_mb = 3 }": "unknown key; did you mean limits?",
    "requirements = ['a']": "unknown key; did you mean dependencies, above [tool.toolrunner]?",
}
# Each line with what to write; what Python says of it stands between, in each version's own words.
LINES = {
    "limits = { memory_mb = 64MB }": "a number stands alone: write memory_mb = 64",
    "batch = 8x": "a number stands alone: write batch = 8",
    "network = True": "write true, in small letters",
    "network = no": "write false, in small letters",
    "description = a picture": 'put text in quotes: description = "a picture"',
    "accepts = [image/png, image/gif]": (
        'put text in quotes: accepts = ["image/png", "image/gif"]'
    ),
    "limits = { threads = 3": (
        "a table in braces ends with } on the line that it begins in; a longer one is "
        "[tool.toolrunner.limits], with a line for each of its keys below"
    ),
    "read = ['/a', ": "has no ] at its end",
    'description = "one': "text ends with the quote that it begins with, on the same line",
    "description = 'one": "text ends with the quote that it begins with, on the same line",
    "description: 'one'": "write = between a key and its value: description = 'one'",
    "description =": 'write a value behind it, such as description = "…"',
    'name = "again"': "what stands here is said above already: keep one of the two",
    "hello": "write KEY = VALUE, or # in front of a comment",
    "= 3": "write KEY = VALUE, or # in front of a comment",
    "[tool.toolrunner.limits": (
        "a table's name stands in brackets, alone: [tool.toolrunner.limits]"
    ),
    'start = "warm" "cold"': "correct this line",
}


def refused(folder: Path, line: str) -> str:
    """Return what is said of a manifest with this line, behind the place."""
    path = folder / "m.py"
    path.write_text(f"{HEAD}# {line}\n# ///\ndef run(payload):\n    return {{}}\n")
    with pytest.raises(ManifestError) as caught:
        read_inline(path)
    assert caught.value.line == 5
    return str(caught.value).removeprefix(f"{path}:5: ")


@pytest.mark.parametrize("line", LIMITS)
def test_a_limit_is_told_by_its_name_and_in_its_unit(tmp_path: Path, line: str) -> None:
    """With the number that was meant, or the default where none can be told."""
    key = line.partition(" ")[0]
    place = f"tool.toolrunner.limits.{key}: "
    assert refused(tmp_path, f"limits = {{ {line} }}") == place + LIMITS[line]


@pytest.mark.parametrize("line", KEYS)
def test_a_key_is_told_by_its_own_name(tmp_path: Path, line: str) -> None:
    """Also where it belongs, if that is elsewhere."""
    place = f"tool.toolrunner.{line.partition(' ')[0]}: "
    assert refused(tmp_path, line) == place + KEYS[line]


@pytest.mark.parametrize(
    "opening",
    [
        "#/// script",
        "# /// scripts",
        "# // script",
        "# ///script",
        "## /// script",
        "# /// Script ",
        "  # /// script",
        "# script",
        "#//// script",
    ],
)
def test_a_block_that_is_nearly_opened_is_told_of_in_a_folder(tmp_path: Path, opening: str) -> None:
    """A plugin whose manifest nobody sees would be passed over as a helper."""
    rest = HEAD.partition("\n")[2]
    (tmp_path / "m.py").write_text(f"import os\n{opening}\n{rest}# ///\n")
    plugins, [broken] = discover([tmp_path], bundled=False)
    assert plugins == []
    assert broken.name == "m"
    assert f"m.py:2: {opening.strip()} opens no `script` block" in broken.reason
    assert broken.reason.endswith("; write # /// script")


def test_a_helper_that_only_tells_of_manifests_is_no_plugin(tmp_path: Path) -> None:
    """Neither are other blocks, nor our table without one."""
    for number, text in enumerate(
        ("# reads [tool.toolrunner]\n", "# /// other\n# a = 1\n# ///\n\n# [tool.toolrunner]\n")
    ):
        (tmp_path / f"helper{number}.py").write_text(text)
    assert discover([tmp_path], bundled=False) == ([], [])


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_toml_is_shown_with_what_to_write(tmp_path: Path, line: str) -> None:
    """The file and the line's number, what is expected, and the line itself."""
    said = refused(tmp_path, line)
    assert said.startswith("not valid TOML: ")
    assert said.endswith(f"{LINES[line]}\n    {line.strip()}")


def test_a_line_is_shown_so_that_it_can_only_be_read() -> None:
    """Cut, and without what nobody can see."""
    assert toml_words.shown("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert toml_words.shown("a" * 500) == "a" * 120 + "…"
