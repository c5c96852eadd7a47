"""Manifests and settings that someone has garbled: a usable one, or one error that says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.faults.fuzz.mutator import Mutator, try_each
from toolrunner.plugins.input_schema import input_schema
from toolrunner.plugins.manifest import Manifest, ManifestError, read_inline, read_toml
from toolrunner.plugins.toml_lines import key_lines
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.settings.sources import CONFIG_VARIABLE, SettingsError

MANIFESTS_A_SLICE = 60
SETTINGS_A_SLICE = 20
TOML = b"""\
requires-python = ">=3.11"
dependencies = ["numpy>=2", 'pillow[x]; python_version < "4"']
[tool.toolrunner]
name = "sample"
version = "1.0"
description = "\xc3\xa9t\xc3\xa9"
input = "json"
network = false
read = ["/srv/models"]
start = "warm"
require = ["landlock:6", "seccomp"]
entry = "main:Plugin.make"
limits = { wall_seconds = 2.5, memory_mb = 256 }
[tool.toolrunner.input_schema]
type = "object"
required = ["text"]
[tool.toolrunner.input_schema.properties.text]
type = "string"
pattern = "^[a-z]+$"
"$ref" = "#/$defs/item"
[[tool.toolrunner.input_schema.allOf]]
minimum = 0x10
"""
IMAGE = b"""\
[tool.toolrunner]
name = "sample"
accepts = ["image/png", "image/jpeg"]
entry = 'main:run'
"""


def inline(toml: bytes) -> bytes:
    """Return a plugin file with this manifest."""
    lines = b"".join(b"# " + line + b"\n" for line in toml.splitlines() if b"entry" not in line)
    return b'"""A plugin."""\n# /// script\n' + lines + b"# ///\ndef run(payload): return {}\n"


CORPUS = (TOML, IMAGE, inline(TOML), inline(IMAGE))
# Bytes that have failed once, or are the shortest way to what once was a danger.
KNOWN = (
    b"",
    b"\xff\xfe",
    b"\xef\xbb\xbf" + IMAGE,
    b"a = " + b"[" * 4000,
    b"a" + b".a" * 2000 + b" = 1",
    b"# /// script\n" * 3000,
    b"# /// script\n# a = 1\n# ///\n" * 2,
    IMAGE + b"version = " + b"9" * 3000,
    IMAGE + b"version = 0x" + b"f" * 4000,
    IMAGE + b"[tool.toolrunner.limits]\nmemory_mb = 0x" + b"f" * 4000,
    IMAGE + b"[tool.toolrunner.limits]\nwall_seconds = nan",
    IMAGE + b"[tool.toolrunner.limits]\nwall_seconds = 1e999",
    TOML + b"maximum = 0x" + b"f" * 4000,
    TOML + b"maximum = -inf",
    TOML + b"maximum = 1979-05-27",
    TOML + b'"$schema" = []',
    TOML + b'"$schema" = "http://example.org/none"',
    TOML + b'"$id" = "://["',
    TOML + b'pattern = "("',
    TOML.replace(b'type = "object"', b'"$schema" = []'),
    TOML.replace(b'type = "object"', b'"$schema" = "://["'),
    TOML.replace(b'type = "object"', b'"$schema" = "http://example.org/none"'),
    TOML + b"type = 1",
    IMAGE.replace(b"sample", b"\\ud800"),
    IMAGE.replace(b"sample", b"\\u0000"),
    IMAGE + b'requires_python = ">=' + b"9" * 3000 + b'"',
    b'dependencies = ["a' + b"(" * 3000 + b'"]\n' + IMAGE,
    b'dependencies = ["a>=' + b"9" * 3900 + b'"]\n' + IMAGE,
    b'requires-python = "' + b"9" * 900 + b'"\n' + IMAGE,
    b"".join(b"[a%d]\n" % i for i in range(9000)),
    b"[[a]]\n" * 9000,
    IMAGE.replace(b"accepts", b"#")
    + b'input = "json"\ninput_schema.enum = '
    + b"[" * 300
    + b"]" * 300,
    IMAGE.replace(b"accepts", b"#")
    + b'input = "json"\ninput_schema'
    + b".not" * 900
    + b".type = 1",
)


@pytest.fixture
def check_manifest(tmp_path: Path) -> Callable[[bytes], int]:
    """Return a function that reads bytes as a manifest of either kind."""
    (tmp_path / "main.py").touch()
    files = (tmp_path / "sample.py", read_inline), (tmp_path / "toolrunner.toml", read_toml)

    def check(data: bytes) -> int:
        for path, read in files:
            path.write_bytes(data)
            try:
                found = read(path)
            except ManifestError as error:
                check_refusal(error, path, data)
            else:
                check_accepted(found)
        return len(files)

    return check


def check_refusal(error: ManifestError, path: Path, data: bytes) -> None:
    """It names the file and a line that is there, and can be printed."""
    text = str(error)
    text.encode()
    assert str(path) in text
    assert len(text) < 20_000
    assert error.line is None or 1 <= error.line <= len(data) + 1
    assert error.path == path


def check_accepted(found: Manifest) -> None:
    """It is one of our own making as well: what can be said as JSON is accepted again."""
    values = json.loads(json.dumps(found.model_dump(exclude_defaults=True), allow_nan=False))
    assert Manifest.model_validate(values).model_dump() == found.model_dump()


@pytest.mark.usefixtures("part")
def test_a_garbled_manifest_is_read_or_is_a_manifest_error(
    seed: str,
    mutator: Mutator,
    check_manifest: Callable[[bytes], int],
    count: Callable[[str, int], None],
) -> None:
    """Nothing else is raised, and what is accepted is sound."""
    cases = mutator.cases(CORPUS, MANIFESTS_A_SLICE)
    count("manifests", try_each(seed, cases, check_manifest))


@pytest.mark.parametrize("data", [*CORPUS, *KNOWN], ids=range(len(CORPUS) + len(KNOWN)))
def test_manifests_that_failed_once(data: bytes, check_manifest: Callable[[bytes], int]) -> None:
    """Whoever wrote them, and however they came up."""
    check_manifest(data)


def test_a_corpus_that_means_something(tmp_path: Path) -> None:
    """What is mutated is accepted as it is: else only the refusals were tried."""
    (tmp_path / "main.py").touch()
    for data in CORPUS:
        read = read_inline if b"# ///" in data else read_toml
        path = tmp_path / "manifest"
        path.write_bytes(data)
        assert read(path).name == "sample"


_KEYS = st.sampled_from(
    [
        "type",
        "properties",
        "$ref",
        "$defs",
        "$schema",
        "$id",
        "pattern",
        "items",
        "allOf",
        "enum",
        "minimum",
        "required",
        "format",
        "additionalProperties",
        "const",
        "$dynamicRef",
        "if",
    ]
) | st.text(max_size=3)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["object", "string", "#/$defs/a", "#", "(", "https://e.org/s", "date"]),
    st.text(max_size=5),
    st.dates(),
)
_SCHEMAS = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(_SCHEMAS)
def test_a_schema_of_any_shape_is_accepted_or_is_a_finding(schema: dict[str, Any]) -> None:
    """A ValidationError is one kind of ValueError, and the only one that comes."""
    try:
        accepted = input_schema(schema)
    except ValidationError:
        return
    json.dumps(accepted, allow_nan=False)


@example('"\\1" = 1')
@given(st.text(alphabet="ab.=[]{}\"',#\n\\1", max_size=60))
def test_the_lines_of_any_text_are_lines_of_it(text: str) -> None:
    """The scanner judges nothing, and so accepts everything."""
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())


CONFIG = b"""\
plugins = ["/srv/plugins"]
max_parallel = 4
[caps]
memory_mb = 256
wall_seconds = 2.5
[plugin.sample]
model = "x"
"""
KNOWN_CONFIGS = (
    CONFIG,
    b"\xff",
    b"max_parallel = " + b"9" * 5000,
    b"max_parallel = 0x" + b"f" * 5000,
    b"[caps]\nmemory_mb = 0x" + b"f" * 5000,
    b"[plugin.sample]\nmodel = 0x" + b"f" * 5000,
    b"[plugin.sample]\nmodel = nan",
    b"[plugin.sample]\nmodel = 1979-05-27",
    b"a = " + b"[" * 5000,
    b'plugins = ["\\u0000"]',
)


@pytest.fixture
def check_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], int]:
    """Return a function that reads bytes as an operator's configuration file."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))

    def check(data: bytes) -> int:
        path.write_bytes(data)
        try:
            Settings.load(state=tmp_path)
        except SettingsError as error:
            str(error).encode()
        return 1

    return check


@pytest.mark.usefixtures("part")
def test_a_garbled_configuration_is_read_or_is_a_settings_error(
    seed: str,
    mutator: Mutator,
    check_config: Callable[[bytes], int],
    count: Callable[[str, int], None],
) -> None:
    """An operator is told what to do, and never sees a traceback."""
    cases = mutator.cases([CONFIG], SETTINGS_A_SLICE)
    count("configurations", try_each(seed, cases, check_config))


@pytest.mark.parametrize("data", KNOWN_CONFIGS, ids=range(len(KNOWN_CONFIGS)))
def test_configurations_that_failed_once(data: bytes, check_config: Callable[[bytes], int]) -> None:
    """Whoever wrote them, and however they came up."""
    check_config(data)
