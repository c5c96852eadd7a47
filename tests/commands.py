"""Plugins that are programs, written as real folders."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

needs_node = pytest.mark.skipif(
    not any(Path(folder, "node").exists() for folder in ("/usr/local/bin", "/usr/bin", "/bin")),
    reason="node is not installed where boxes look for programs",
)


def a_command(
    folder: Path, command: Sequence[str], files: Mapping[str, str] | None = None, **keys: str
) -> Path:
    """Write the plugin "sample", which is this command with these files; return its folder.

    ``keys``: the manifest's, as TOML text. Files that begin with "#!" are executable.
    """
    lines = {"name": '"sample"', "input": '"json"', "command": json.dumps(list(command)), **keys}
    plugin = folder / "sample"
    plugin.mkdir(exist_ok=True)
    text = "\n".join(f"{key} = {value}" for key, value in lines.items())
    (plugin / "toolrunner.toml").write_text(f"[tool.toolrunner]\n{text}\n", encoding="utf-8")
    for name, source in (files or {}).items():
        path = plugin / name
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        path.chmod(0o755 if source.startswith("#!") else 0o644)
    return plugin


def a_script(folder: Path, body: str, **keys: str) -> Path:
    """Write the plugin "sample", which is a shell script."""
    script = "#!/bin/sh\n" + textwrap.dedent(body)
    return a_command(folder, ["./main.sh"], {"main.sh": script}, **keys)
