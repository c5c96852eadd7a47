"""Manifests: what is read from a block or a toolrunner.toml, and how each mistake is reported."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from toolrunner.plugins.manifest import (
    IMAGE_TYPES,
    Manifest,
    ManifestError,
    NoManifest,
    read_inline,
    read_toml,
)
from toolrunner.plugins.requirements import missing_requirements
from toolrunner.plugins.source import FILE_CAP, LINE_CAP, METADATA_CAP, blocks
from toolrunner.plugins.toml_lines import key_lines
from toolrunner.sandbox.limits import Limits

REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


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


FULL = """\
requires-python = ">=3.11"
dependencies = ["numpy>=2", "pillow"]

[tool.toolrunner]
name = "mean-colour"
version = "1.0.0"
description = "Average colour of an image"
input = "image"
accepts = ["image/png", "image/jpeg"]
limits = { wall_seconds = 10, cpu_seconds = 1.5, memory_mb = 256 }
network = true
read = ["/srv/models"]
start = "cold"
require = ["seccomp", "landlock:6", "namespaces.net"]

[tool.other]
name = 3"""


def test_every_field_is_read(tmp_path: Path) -> None:
    """What an author writes in a block is what the manifest holds."""
    path = plugin_file(tmp_path, FULL)
    assert read_inline(path) == read_inline(path)
    assert read_inline(path).model_dump() == {
        "name": "mean-colour",
        "version": "1.0.0",
        "description": "Average colour of an image",
        "input": "image",
        "accepts": ("image/png", "image/jpeg"),
        "input_schema": None,
        "limits": {
            **vars_of(Limits()),
            "wall_seconds": 10.0,
            "cpu_seconds": 1.5,
            "memory_mb": 256,
        },
        "network": True,
        "read": ("/srv/models",),
        "start": "cold",
        "require": ("seccomp", "landlock:6", "namespaces.net"),
        "entry": "",
        "requires_python": ">=3.11",
        "dependencies": ("numpy>=2", "pillow"),
    }


def vars_of(limits: Limits) -> dict[str, float]:
    """Return limits as a dict."""
    return {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


def test_limits_have_the_types_of_their_fields(tmp_path: Path) -> None:
    """A whole number of seconds becomes a float, and a whole number of megabytes stays one."""
    limits = read_inline(plugin_file(tmp_path, FULL)).limits
    assert (type(limits.wall_seconds), type(limits.memory_mb)) == (float, int)


def test_a_name_is_enough(tmp_path: Path) -> None:
    """Everything but the name has a default that suits an image plugin."""
    manifest = read_inline(plugin_file(tmp_path, '[tool.toolrunner]\nname = "m"'))
    assert manifest.accepts == IMAGE_TYPES
    assert manifest.limits == Limits()
    assert (manifest.input, manifest.start, manifest.network) == ("image", "auto", False)


def test_a_json_plugin_has_a_schema_and_accepts_no_images(tmp_path: Path) -> None:
    """With input = "json" the schema arrives as a dict and the MIME types are empty."""
    toml = (
        '[tool.toolrunner]\nname = "m"\ninput = "json"\n'
        '[tool.toolrunner.input_schema]\ntype = "object"\nrequired = ["text"]\n'
        '"$defs".item.type = "string"\nproperties.text."$ref" = "#/$defs/item"'
    )
    manifest = read_inline(plugin_file(tmp_path, toml))
    assert manifest.accepts == ()
    assert manifest.input_schema == {
        "type": "object",
        "required": ["text"],
        "$defs": {"item": {"type": "string"}},
        "properties": {"text": {"$ref": "#/$defs/item"}},
    }


def test_a_manifest_cannot_be_changed() -> None:
    """Manifests are values."""
    with pytest.raises(ValidationError):
        Manifest(name="m").name = "n"


def test_a_manifest_knows_the_file_it_was_read_from(tmp_path: Path) -> None:
    """A manifest that was read can be registered, since it leads to its code."""
    path = plugin_file(tmp_path, '[tool.toolrunner]\nname = "m"')
    assert read_inline(path).file == path
    assert Manifest(name="m").file is None


# Each: the manifest's TOML, the line of the *file* (one more than in the TOML), key, words.
HEAD = '[tool.toolrunner]\nname = "m"\n'
MISTAKES = {
    "no name": ('[tool.toolrunner]\nversion = "1"', 2, "tool.toolrunner.name", "is missing; add"),
    "upper case": ('[tool.toolrunner]\nname = "My_Plug"', 3, "tool.toolrunner.name", "my-plug"),
    "leading hyphen": ('[tool.toolrunner]\nname = "-m"', 3, "tool.toolrunner.name", "hyphen"),
    "empty name": ('[tool.toolrunner]\nname = ""', 3, "tool.toolrunner.name", "1 to 64"),
    "newline at the end of the name": (
        '[tool.toolrunner]\nname = "m\\n"',
        3,
        "tool.toolrunner.name",
        "1 to 64",
    ),
    "long name": (f'[tool.toolrunner]\nname = "{"a" * 65}"', 3, "tool.toolrunner.name", "64"),
    "number as name": ("[tool.toolrunner]\nname = 3", 3, "tool.toolrunner.name", "in quotes"),
    "version as number": (f"{HEAD}version = 1.0", 4, "tool.toolrunner.version", "in quotes"),
    "long version": (f'{HEAD}version = "{"1" * 65}"', 4, "tool.toolrunner.version", "at most 64"),
    "escape in description": (
        f'{HEAD}description = "\\u001b[2J"',
        4,
        "tool.toolrunner.description",
        "control characters",
    ),
    "two-line description": (
        f'{HEAD}\ndescription = """a\nb"""\n',
        5,
        "tool.toolrunner.description",
        "one line",
    ),
    "unknown key": (f'{HEAD}inptu = "json"', 4, "tool.toolrunner.inptu", "did you mean input?"),
    "unlike any key": (f"{HEAD}zzz = 1", 4, "tool.toolrunner.zzz", "use one of: name, version"),
    "unknown input": (f'{HEAD}input = "xml"', 4, "tool.toolrunner.input", "'image' or 'json'"),
    "unknown start": (f'{HEAD}start = "hot"', 4, "tool.toolrunner.start", "'auto', 'warm' or"),
    "text as boolean": (f'{HEAD}network = "yes"', 4, "tool.toolrunner.network", "true or false"),
    "number as boolean": (f"{HEAD}network = 1", 4, "tool.toolrunner.network", "true or false"),
    "text as list": (f'{HEAD}read = "/srv"', 4, "tool.toolrunner.read", "must be a list"),
    "home folder": (f'{HEAD}read = ["~/m"]', 4, "tool.toolrunner.read[0]", "~ and relative"),
    "relative folder": (
        f'{HEAD}read = [\n  "/srv/a",  # [1]\n  "b",\n]',
        6,
        "tool.toolrunner.read[1]",
        "absolute",
    ),
    "folder with ..": (f'{HEAD}read = ["/a/../b"]', 4, "tool.toolrunner.read[0]", "without .."),
    "whole host": (f'{HEAD}read = ["/"]', 4, "tool.toolrunner.read[0]", "not / as a whole"),
    "NUL in a folder": (f'{HEAD}read = ["/a\\u0000"]', 4, "tool.toolrunner.read[0]", "control"),
    "unknown layer": (
        f'{HEAD}require = ["secomp"]',
        4,
        "tool.toolrunner.require[0]",
        "did you mean seccomp?",
    ),
    "bad ABI": (f'{HEAD}require = ["landlock:0"]', 4, "tool.toolrunner.require[0]", "landlock:6"),
    "ABI of another layer": (
        f'{HEAD}require = ["seccomp:1"]',
        4,
        "tool.toolrunner.require[0]",
        "unknown layer",
    ),
    "wildcard type": (f'{HEAD}accepts = ["image/*"]', 4, "tool.toolrunner.accepts[0]", "exact"),
    "no types": (f"{HEAD}accepts = []", 4, "tool.toolrunner.accepts", "at least one type"),
    "types of a json plugin": (
        f'{HEAD}input = "json"\naccepts = ["image/png"]',
        5,
        "tool.toolrunner.accepts",
        'only for input = "image"',
    ),
    "schema of an image plugin": (
        f'{HEAD}input_schema = {{ type = "object" }}',
        4,
        "tool.toolrunner.input_schema",
        'only for input = "json"',
    ),
    "schema that is none": (
        f'{HEAD}input = "json"\n[tool.toolrunner.input_schema.properties]\na.type = "strin"',
        6,
        "tool.toolrunner.input_schema.properties.a.type",
        "not valid JSON Schema",
    ),
    "schema with a bad pattern": (
        f'{HEAD}input = "json"\ninput_schema.pattern = "("',
        5,
        "tool.toolrunner.input_schema.pattern",
        "not valid JSON Schema",
    ),
    "schema that fetches": (
        f'{HEAD}input = "json"\ninput_schema."$ref" = "http://127.0.0.1/x"',
        5,
        'tool.toolrunner.input_schema."$ref"',
        "refer into this schema",
    ),
    "date in a schema": (
        f'{HEAD}input = "json"\ninput_schema.const = 2020-01-01',
        5,
        "tool.toolrunner.input_schema.const",
        "dates as strings",
    ),
    "odd dialect": (
        f'{HEAD}input = "json"\ninput_schema."$schema" = 7',
        5,
        'tool.toolrunner.input_schema."$schema"',
        "names the dialect",
    ),
    "list of dialects": (
        f'{HEAD}input = "json"\ninput_schema."$schema" = []',
        5,
        'tool.toolrunner.input_schema."$schema"',
        "names the dialect",
    ),
    "dialect that is no address": (
        f'{HEAD}input = "json"\ninput_schema."$schema" = "http://["',
        5,
        'tool.toolrunner.input_schema."$schema"',
        "names the dialect",
    ),
    "deep schema": (
        f'{HEAD}input = "json"\ninput_schema = {{ enum = {"[" * 80}{"]" * 80} }}',
        5,
        "tool.toolrunner.input_schema.enum",
        "nested deeper",
    ),
    "schema as text": (
        f'{HEAD}input = "json"\ninput_schema = "x"',
        5,
        "tool.toolrunner.input_schema",
        "must be a table",
    ),
    "unknown limit, inline": (
        f"{HEAD}limits = {{ wall_seconds = 3, memory_md = 3 }}",
        4,
        "tool.toolrunner.limits.memory_md",
        "did you mean memory_mb?",
    ),
    "unknown limit, table": (
        f"{HEAD}\n[tool.toolrunner.limits]\n# more\nmemory_md = 3",
        7,
        "tool.toolrunner.limits.memory_md",
        "did you mean memory_mb?",
    ),
    "unknown limit, dotted": (
        f"{HEAD}limits.threads = 3\nlimits.'memory_md' = 3",
        5,
        "tool.toolrunner.limits.memory_md",
        "did you mean memory_mb?",
    ),
    "zero": (f"{HEAD}limits.threads = 0", 4, "tool.toolrunner.limits.threads", "more than 0"),
    "negative": (f"{HEAD}limits.threads = -1", 4, "tool.toolrunner.limits.threads", "more than 0"),
    "infinite": (
        f"{HEAD}limits.wall_seconds = inf",
        4,
        "tool.toolrunner.limits.wall_seconds",
        "at most 1000000",
    ),
    "not a number": (
        f"{HEAD}limits.wall_seconds = nan",
        4,
        "tool.toolrunner.limits.wall_seconds",
        "more than 0",
    ),
    "enormous": (f"{HEAD}limits.log_kb = {10**30}", 4, "tool.toolrunner.limits.log_kb", "at most"),
    "fraction of a thread": (
        f"{HEAD}limits.threads = 1.5",
        4,
        "tool.toolrunner.limits.threads",
        "whole number",
    ),
    "text as limit": (
        f'{HEAD}limits.wall_seconds = "3"',
        4,
        "tool.toolrunner.limits.wall_seconds",
        "without quotes",
    ),
    "boolean as limit": (
        f"{HEAD}limits.threads = true",
        4,
        "tool.toolrunner.limits.threads",
        "number",
    ),
    "limits as list": (f"{HEAD}limits = [1]", 4, "tool.toolrunner.limits", "must be a table"),
    "entry in a file": (f'{HEAD}entry = "a:b"', 4, "tool.toolrunner.entry", "remove it"),
    "dependencies in the wrong table": (
        f'{HEAD}dependencies = ["numpy"]',
        4,
        "tool.toolrunner.dependencies",
        "above [tool.toolrunner]",
    ),
    "field at the top": (f'version = "1"\n{HEAD}', 2, "version", "below [tool.toolrunner]"),
    "unknown key at the top": (
        f'require-python = ">=3"\n{HEAD}',
        2,
        "require-python",
        "did you mean requires-python?",
    ),
    "bad specifier": (f'requires-python = "three"\n{HEAD}', 2, "requires-python", ">=3.11"),
    "specifier as number": (f"requires-python = 3\n{HEAD}", 2, "requires-python", "in quotes"),
    "bad requirement": (
        f'dependencies = [\n  "numpy",\n  "a b",\n]\n{HEAD}',
        4,
        "dependencies[1]",
        "must be a requirement",
    ),
    "deep marker": (
        f"dependencies = [\"a; {'(' * 400}os_name == 'x'{')' * 400}\"]\n{HEAD}",
        2,
        "dependencies[0]",
        "must be a requirement",
    ),
    "long requirement": (
        f'dependencies = ["{"a" * 1001}"]\n{HEAD}',
        2,
        "dependencies[0]",
        "at most 1000",
    ),
    "table misspelt": ('[tool.toolruner]\nname = "m"', 2, "tool.toolruner", "mean toolrunner?"),
    "table as text": ('tool.toolrunner = "m"', 2, "tool.toolrunner", "must be a table"),
    "tool as text": ('tool = "m"', 2, "tool", "must be a table"),
    "array of tables": ('[[tool.toolrunner]]\nname = "m"', 2, "tool.toolrunner", "must be a table"),
    "unprintable key": (f'{HEAD}"a\\nb.c" = 1', 4, 'tool.toolrunner."a\\nb.c"', "unknown key"),
    "TOML syntax": ('[tool.toolrunner]\nname = "m\nversion = "1"', 3, "", "not valid TOML"),
    "TOML at its end": ('[tool.toolrunner]\nname = "m"\nx = [1,', 4, "", "not valid TOML"),
    "key twice": (f'{HEAD}name = "n"', 4, "", "not valid TOML"),
    "endless number": (f"{HEAD}version = {'1' * 5000}", 4, "", "break it up"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("before", ["", '#!/usr/bin/env python3\n"""About."""\n\n'])
def test_a_mistake_is_reported_with_file_line_and_key(
    tmp_path: Path, mistake: tuple[str, int, str, str], before: str
) -> None:
    """The message leads to the line in the file, names the key, and says what to write."""
    toml, line, key, words = mistake
    path = plugin_file(tmp_path, toml, before)
    error = fails(path)
    line += before.count("\n")
    assert (error.line, error.key, error.path) == (line, key, path)
    assert f"{path}:{line}: {key}" in str(error)
    assert words in str(error)


def test_all_mistakes_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    """An author mends a manifest in one go."""
    error = fails(plugin_file(tmp_path, "[tool.toolrunner]\nzzz = 1\nname = 3\nlimits.x = 1"))
    places = re.findall(r":(\d+): ([\w.]+):", str(error))
    assert places == [
        ("3", "tool.toolrunner.zzz"),
        ("4", "tool.toolrunner.name"),
        ("5", "tool.toolrunner.limits.x"),
    ]


def test_a_flood_of_mistakes_is_cut_short(tmp_path: Path) -> None:
    """A message stays readable, whatever a manifest holds."""
    keys = "\n".join(f"{'k' * 3000}{i} = 1" for i in range(20))
    message = str(fails(plugin_file(tmp_path, f'[tool.toolrunner]\nname = "m"\n{keys}')))
    assert message.endswith("and 10 more")
    assert len(message) < 10_000


def test_what_can_be_read_of_a_broken_manifest_is_kept(tmp_path: Path) -> None:
    """A listing can show the name of a plugin whose limits are wrong."""
    toml = '[tool.toolrunner]\nname = "m"\nversion = "2"\ndescription = "\\u0007"\nlimits.x = 1'
    assert dict(fails(plugin_file(tmp_path, toml)).stated) == {"name": "m", "version": "2"}


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
        ("# /// script\n#[tool.toolrunner]\n# ///\n", 1, "begin each of its lines"),
    ],
    ids=["two", "unclosed", "empty", "no space"],
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


def toml_file(folder: Path, text: str) -> Path:
    """Write a toolrunner.toml and the module it may name, and return its path."""
    (folder / "main.py").write_text("def run(payload):\n    return {}\n")
    path = folder / "toolrunner.toml"
    path.write_text(text)
    return path


def test_a_folder_manifest_is_the_same_table(tmp_path: Path) -> None:
    """A toolrunner.toml says what a block says, and names its entry."""
    toml = FULL.replace('start = "cold"', 'entry = "main:run"')
    manifest = read_toml(toml_file(tmp_path, toml))
    assert manifest.entry == "main:run"
    assert manifest.dependencies == ("numpy>=2", "pillow")
    assert manifest.limits.memory_mb == 256


TOML_MISTAKES = {
    "no entry": (HEAD, 1, "tool.toolrunner.entry", 'is missing; add entry = "module:object"'),
    "no object": (f'{HEAD}entry = "main"', 3, "tool.toolrunner.entry", '"module:object"'),
    "path as entry": (f'{HEAD}entry = "../x:run"', 3, "tool.toolrunner.entry", '"module:object"'),
    "two objects": (f'{HEAD}entry = "a:b:c"', 3, "tool.toolrunner.entry", '"module:object"'),
    "no such module": (f'{HEAD}entry = "mian:run"', 3, "tool.toolrunner.entry", "no mian.py"),
    "syntax": ('[tool.toolrunner]\r\nname = "m"\r\n= 3', 3, "", "not valid TOML"),
    "project table": (f'[project]\nname = "m"\n{HEAD}', 1, "project", "unknown key"),
    "empty": (" \n", 1, "", "the file is empty"),
    "no table": ("dependencies = []", 1, "", "no [tool.toolrunner] table"),
}


@pytest.mark.parametrize(
    ("toml", "line", "key", "words"), TOML_MISTAKES.values(), ids=TOML_MISTAKES
)
def test_a_mistake_in_a_folder_manifest_is_reported(
    tmp_path: Path, toml: str, line: int, key: str, words: str
) -> None:
    """Lines are those of toolrunner.toml itself."""
    path = toml_file(tmp_path, toml)
    with pytest.raises(ManifestError) as caught:
        read_toml(path)
    assert (caught.value.line, caught.value.key) == (line, key)
    assert words in str(caught.value)


def test_a_folder_manifest_that_is_not_utf8_or_too_long_is_reported(tmp_path: Path) -> None:
    """The reader of toolrunner.toml is as careful as that of blocks."""
    path = tmp_path / "toolrunner.toml"
    for data, words in ((b"a = '\xe9'", "UTF-8"), (b"#" * (METADATA_CAP + 1), "larger than 64")):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=words):
            read_toml(path)


def test_requirements_that_are_met_give_no_reason() -> None:
    """What is installed is found under any spelling of its name, and a marker can rule one out."""
    manifest = Manifest(
        name="m",
        requires_python=">=3.11",
        dependencies=["NumPy>=2", "pydantic_settings", 'absent-thing; python_version < "3"'],  # type: ignore[arg-type]  # a list, as TOML gives it
    )
    assert missing_requirements(manifest) is None


@pytest.mark.parametrize(
    ("dependencies", "reason"),
    [
        (
            ("absent-thing>=3.4",),
            "absent-thing is not installed; install it with: pip install 'absent-thing>=3.4'",
        ),
        (
            ("numpy", "absent-thing[x]>=1 ; python_version > '3'", "other-absent"),
            (
                "absent-thing and other-absent are not installed; install them with: "
                "pip install 'absent-thing[x]>=1' other-absent"
            ),
        ),
    ],
)
def test_missing_distributions_are_named_with_one_command(
    dependencies: tuple[str, ...], reason: str
) -> None:
    """One command, safe to paste into a shell, installs all that is missing."""
    found = missing_requirements(Manifest(name="m", dependencies=dependencies))
    assert found == f"PackageNotFoundError: {reason}"


def test_a_wrong_version_is_named() -> None:
    """A distribution that is too old is not taken for a missing one."""
    reason = missing_requirements(Manifest(name="m", dependencies=("numpy>9999",))) or ""
    assert re.fullmatch(
        r"VersionConflict: numpy [\d.]+ is installed, not >9999; "
        r"install it with: pip install 'numpy>9999'",
        reason,
    )


def test_another_python_is_asked_for() -> None:
    """A plugin for another Python says so."""
    reason = missing_requirements(Manifest(name="m", requires_python=">=99")) or ""
    assert reason.startswith("RuntimeError: needs Python >=99 and this is 3.")


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(data=b"# /// script\n# \x00\n# ///\n")
@example(data=b"# /// script\n# [tool.toolrunner]\n# name = \xff\n# ///\n")
def test_any_bytes_give_nothing_worse_than_a_manifest_error(tmp_path: Path, data: bytes) -> None:
    """Whatever lies in a plugin file, and in its block, is answered by one kind of error."""
    path = tmp_path / "plugin.py"
    for content in (data, b"# /// script\n# [tool.toolrunner]\n# " + data + b"\n# ///\n"):
        path.write_bytes(content)
        with pytest.raises(ManifestError):
            read_inline(path)
    path = tmp_path / "toolrunner.toml"
    path.write_bytes(data)
    with pytest.raises(ManifestError):
        read_toml(path)


KEYS = st.sampled_from([*Manifest.model_fields, "zzz", "requires-python"])
VALUES = TREE | st.sampled_from(["image", "json", "cold", "m", ["seccomp"], {"threads": 1}])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_table_gives_a_manifest_or_a_manifest_error(
    tmp_path: Path, table: dict[str, Any]
) -> None:
    """Values of any type and shape are judged, and the line is one of the file's."""
    toml = "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in table.items())
    path = plugin_file(tmp_path, f"[tool.toolrunner]\n{toml}")
    try:
        manifest = read_inline(path)
    except ManifestError as error:
        assert error.line is not None  # noqa: PT017 - either outcome is legal
        assert 1 <= error.line <= path.read_text().count("\n")  # noqa: PT017 - as above
    else:
        assert manifest.name == table["name"]
