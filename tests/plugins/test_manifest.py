"""What a manifest says, and what of it is the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.plugins.manifests import TREE, as_toml, plugin_file, toml_file
from toolrunner.plugins.manifest import (
    IMAGE_TYPES,
    Manifest,
    ManifestError,
    read_inline,
    read_toml,
)
from toolrunner.sandbox.limits import Limits

FULL = """\
requires-python = ">=3.11"
dependencies = ["numpy>=2", "pillow"]

[tool.toolrunner]
name = "mean-colour"
version = "1.0.0"
description = "Average colour of an image"
input = "image"
accepts = ["image/png", "image/jpeg"]
output_schema = { required = ["mean"] }
error_key = "error"
limits = { wall_seconds = 10, cpu_seconds = 1.5, memory_mb = 256 }
network = true
read = ["/srv/models"]
environment = "own"
start = "cold"
warm_up = true
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
        "output_schema": {"required": ["mean"]},
        "error_key": "error",
        "limits": {
            **vars_of(Limits()),
            "wall_seconds": 10.0,
            "cpu_seconds": 1.5,
            "memory_mb": 256,
        },
        "network": True,
        "read": ("/srv/models",),
        "start": "cold",
        "warm_up": True,
        "batch": 1,
        "batch_ms": 0,
        "require": ("seccomp", "landlock:6", "namespaces.net"),
        "entry": "",
        "environment": "own",
        "requires_python": ">=3.11",
        "dependencies": ("numpy>=2", "pillow"),
        "command": (),
        "tools": {},
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


def test_a_folder_manifest_is_the_same_table(tmp_path: Path) -> None:
    """A toolrunner.toml says what a block says, and names its entry."""
    toml = FULL.replace('start = "cold"', 'entry = "main:run"')
    manifest = read_toml(toml_file(tmp_path, toml))
    assert manifest.entry == "main:run"
    assert manifest.dependencies == ("numpy>=2", "pillow")
    assert manifest.limits.memory_mb == 256


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
