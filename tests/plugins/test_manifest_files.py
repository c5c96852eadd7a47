"""Files that a manifest is looked for in: none there, malformed, too large, not text, no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.plugins.manifests import HEAD, block, fails, plugin_file
from toolrunner.plugins.manifest import (
    ManifestError,
    NoManifest,
    read_inline,
    read_toml,
)
from toolrunner.plugins.source import FILE_CAP, LINE_CAP, METADATA_CAP


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"import os\n",
        b"# [tool.toolrunner]\n# name = 'm'\n",
        b"\xff\xfe\x00",
        block("dependencies = []").encode(),
        b"# /// other\n# [tool.toolrunner]\n# ///\n",
    ],
    ids=["empty", "code", "no fence", "binary", "another script", "another kind"],
)
def test_a_file_without_a_manifest_is_told_what_to_add(tmp_path: Path, content: bytes) -> None:
    """The error shows the smallest block that makes the file a plugin."""
    path = tmp_path / "helper.py"
    path.write_bytes(content)
    with pytest.raises(NoManifest, match=r"# \[tool\.toolrunner\]\n# name = "):
        read_inline(path)


def test_the_block_that_an_error_shows_is_a_manifest(tmp_path: Path) -> None:
    """An author may paste it as it is."""
    path = tmp_path / "plugin.py"
    path.write_text("pass\n")
    shown = str(fails(path)).partition("\n")[2]
    path.write_text(shown)
    assert read_inline(path).name == "my-plugin"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (f"x = 1\n{block('a = 1')}\n{block('b = 1')}", 6, "second `script` block"),
        ("\n# /// script\n# [tool.toolrunner]\nx = 1\n", 2, "not closed"),
        ("\n\n# /// script\n# ///\n", 3, "empty or not closed"),
        ("# /// script\n# a = 1\n\n# b = 2\n# ///\n", 3, "line is empty, which ends the `script` "),
        (
            "# /// script\n# a = 1\n#b = 2\n# ///\n",
            3,
            'has no "# " before it, which ends the `script` ',
        ),
        ("# /// script\n# a = 1\nimport os\n", 1, "empty or not closed"),
        ("# /// script\n#[tool.toolrunner]\n# ///\n", 2, 'begin it with "# "'),
    ],
    ids=["two", "unclosed", "empty", "empty line", "no space in it", "code", "no space"],
)
def test_a_malformed_block_is_reported(tmp_path: Path, content: str, line: int, words: str) -> None:
    """A block that was meant but not written well is not taken for a missing one."""
    path = tmp_path / "plugin.py"
    path.write_text(content)
    error = fails(path)
    assert not isinstance(error, NoManifest)
    assert error.line == line
    assert words in str(error)


def test_every_kind_of_newline_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """A file from another system is a plugin too, and its lines are counted the same."""
    path = tmp_path / "plugin.py"
    for newline in ("\n", "\r\n", "\r"):
        text = f"\n{block(HEAD + 'zzz = 1')}".replace("\n", newline)
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert fails(path).line == 5


def test_text_that_is_not_utf8_is_reported_with_its_line(tmp_path: Path) -> None:
    """A plugin in another encoding is told to change it."""
    path = tmp_path / "plugin.py"
    path.write_bytes(block('[tool.toolrunner]\nname = "m"').encode() + b"# caf\xe9\n")
    error = fails(path)
    assert error.line == 5
    assert "save it as UTF-8" in str(error)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """No more than the cap is read of a file."""
    path = plugin_file(tmp_path, '[tool.toolrunner]\nname = "m"')
    with path.open("a") as file:
        file.truncate(FILE_CAP + 1)
    assert "larger than 4 MiB" in str(fails(path))


def test_a_large_block_is_refused(tmp_path: Path) -> None:
    """A manifest made to keep the parser busy does not reach it."""
    toml = "[tool.toolrunner]\n" + "#\n" * METADATA_CAP
    assert "larger than 64 KiB" in str(fails(plugin_file(tmp_path, toml)))


def test_a_long_line_is_refused(tmp_path: Path) -> None:
    """Nor does one endless key."""
    toml = f"[tool.toolrunner]\n{'a.' * (LINE_CAP // 2)}a = 1"
    error = fails(plugin_file(tmp_path, toml))
    assert error.line == 3
    assert "break it up" in str(error)


@pytest.mark.parametrize("value", ["[\n" * 10_000, "{a=" * 1300, "a." * 2000 + "b"])
def test_deep_nesting_is_a_mistake_like_others(tmp_path: Path, value: str) -> None:
    """Neither the parser nor the search for lines overflows."""
    key = value if value.endswith("b") else "x"
    fails(plugin_file(tmp_path, f'[tool.toolrunner]\nname = "m"\n{key} = {value}'))


def test_what_is_not_a_file_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder, a device and nothing at all each give an error at once."""
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    dangling = tmp_path / "dangling.py"
    dangling.symlink_to(tmp_path / "gone")
    assert "not a regular file" in str(fails(pipe))
    assert "not a regular file" in str(fails(Path("/dev/zero")))
    assert "Is a directory; name a file, or a folder that" in str(fails(tmp_path))
    assert "dangling link" in str(fails(dangling))
    assert "cannot be read" in str(fails(Path("a\0b")))


def test_an_odd_file_name_can_be_printed(tmp_path: Path) -> None:
    """A message is text that any terminal and any JSON encoder takes."""
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[2J\n.py")
    path.write_text("pass\n")
    assert str(fails(path)).encode().decode().partition("\n")[0].isprintable()


def test_a_folder_manifest_that_is_not_utf8_or_too_long_is_reported(tmp_path: Path) -> None:
    """The reader of toolrunner.toml is as careful as that of blocks."""
    path = tmp_path / "toolrunner.toml"
    for data, words in ((b"a = '\xe9'", "UTF-8"), (b"#" * (METADATA_CAP + 1), "larger than 64")):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=words):
            read_toml(path)
