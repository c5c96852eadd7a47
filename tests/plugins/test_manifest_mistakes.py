"""Every mistake in a manifest is reported with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.plugins.manifests import HEAD, fails, plugin_file, toml_file
from toolrunner.plugins.manifest import (
    ManifestError,
    read_toml,
)

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
    "unknown input": (f'{HEAD}input = "xml"', 4, "tool.toolrunner.input", "'json' or 'files'"),
    "unknown start": (f'{HEAD}start = "hot"', 4, "tool.toolrunner.start", "'warm', 'cold' or"),
    "batch of files": (
        f'{HEAD}input = "files"\nstart = "resident"\nbatch = 8',
        6,
        "tool.toolrunner.batch",
        'not for input = "files"',
    ),
    "a schema for files": (
        f'{HEAD}input = "files"\ninput_schema = {{ type = "object" }}',
        5,
        "tool.toolrunner.input_schema",
        'only for input = "json"',
    ),
    "batch of what is not resident": (
        f"{HEAD}batch = 8",
        4,
        "tool.toolrunner.batch",
        'only for start = "resident"',
    ),
    "batch of none": (
        f'{HEAD}start = "resident"\nbatch = 0',
        5,
        "tool.toolrunner.batch",
        "must be at least 1",
    ),
    "batch as text": (
        f'{HEAD}start = "resident"\nbatch = "8"',
        5,
        "tool.toolrunner.batch",
        "must be a whole number",
    ),
    "long wait for a batch": (
        f'{HEAD}start = "resident"\nbatch = 8\nbatch_ms = 5000',
        6,
        "tool.toolrunner.batch_ms",
        "must be at most 1000",
    ),
    "wait without a batch": (
        f'{HEAD}start = "resident"\nbatch_ms = 5',
        5,
        "tool.toolrunner.batch_ms",
        "set batch = 8",
    ),
    "text as boolean": (f'{HEAD}network = "yes"', 4, "tool.toolrunner.network", "true or false"),
    "number as boolean": (f"{HEAD}network = 1", 4, "tool.toolrunner.network", "true or false"),
    "text as list": (
        f'{HEAD}read = "/srv"',
        4,
        "tool.toolrunner.read",
        'must be a list, such as ["/srv/models"]',
    ),
    "type as text": (
        f'{HEAD}accepts = "image/png"',
        4,
        "tool.toolrunner.accepts",
        'must be a list, such as ["image/png"]',
    ),
    "numbers as types": (
        f"{HEAD}accepts = [1]",
        4,
        "tool.toolrunner.accepts[0]",
        'must be text in quotes, such as "image/png"',
    ),
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
        'has "strin", which is no type; did you mean string?',
    ),
    "schema with a type that is none": (
        f'{HEAD}input = "json"\ninput_schema.type = ["null", "objekt"]',
        5,
        "tool.toolrunner.input_schema.type",
        'has "objekt", which is no type; did you mean object?',
    ),
    "schema with a number for a type": (
        f'{HEAD}input = "json"\ninput_schema.type = 1',
        5,
        "tool.toolrunner.input_schema.type",
        "no type of JSON Schema; write one of array, boolean, integer,",
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
    "command in a file": (f'{HEAD}command = ["a"]', 4, "tool.toolrunner.command", "remove it"),
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


TOML_MISTAKES = {
    "no entry": (HEAD, 1, "tool.toolrunner.entry", 'is missing; add entry = "module:object"'),
    "no object": (f'{HEAD}entry = "main"', 3, "tool.toolrunner.entry", '"module:object"'),
    "path as entry": (f'{HEAD}entry = "../x:run"', 3, "tool.toolrunner.entry", '"module:object"'),
    "two objects": (f'{HEAD}entry = "a:b:c"', 3, "tool.toolrunner.entry", '"module:object"'),
    "no such module": (f'{HEAD}entry = "mian:run"', 3, "tool.toolrunner.entry", "no mian.py"),
    "command as text": (
        f'{HEAD}command = "node a"',
        3,
        "tool.toolrunner.command",
        '["node", "main',
    ),
    "no command": (f"{HEAD}command = []", 3, "tool.toolrunner.command", "name a program first"),
    "command and entry": (
        f'{HEAD}command = ["node"]\nentry = "main:run"',
        3,
        "tool.toolrunner.command",
        "and entry exclude each other",
    ),
    "command that stays": (
        f'{HEAD}start = "resident"\ncommand = ["node"]',
        4,
        "tool.toolrunner.command",
        "gains nothing",
    ),
    "command with packages": (
        f'dependencies = ["numpy"]\n{HEAD}command = ["node"]',
        4,
        "tool.toolrunner.command",
        "dependencies means nothing",
    ),
    "command elsewhere": (f'{HEAD}command = ["../x"]', 3, "tool.toolrunner.command", "leads out"),
    "command at home": (f'{HEAD}command = ["~/x"]', 3, "tool.toolrunner.command", "not expanded"),
    "no such program": (
        f'{HEAD}command = ["bin/x"]',
        3,
        "tool.toolrunner.command",
        "there is no bin/x beside this file",
    ),
    "command that is no program": (
        f'{HEAD}command = ["./main.py"]',
        3,
        "tool.toolrunner.command",
        "not executable for all users; chmod a+rx it",
    ),
    "word with NUL": (f'{HEAD}command = ["sh", "\\u0000"]', 3, "tool.toolrunner.command[1]", "NUL"),
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
