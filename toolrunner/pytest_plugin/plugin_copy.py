"""The plugin of a test: found by its path or name, and copied where an injection changes it."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolrunner.pytest_plugin.injections import WRAP_ENTRY, WRAP_FILE, WRAP_TOOL, WRAPPER

_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")  # as PEP 723 has it
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}(:[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")  # perhaps a tool's
_NETWORK = re.compile(r"(?m)^(#?\s*network\s*=\s*)true\b")
_FOLDER_MANIFEST = "toolrunner.toml"
# What pins a plugin asks for an environment, which no test has.
_FOLDER_LOCKS = ("uv.lock", "requirements.txt")


@dataclass(frozen=True)
class PluginCopy:
    """A plugin to call: ``path`` is ``None`` for one that is installed."""

    name: str
    path: Path | None
    manifest: Mapping[str, Any]

    @classmethod
    def find(cls, plugin: str | os.PathLike[str], root: Path) -> PluginCopy:
        """Find it by its path, which ":TOOL" may follow, else take it for a name."""
        __tracebackhide__ = True
        path = root / plugin
        tool = ""
        if not path.exists():
            if isinstance(plugin, str) and _NAME.fullmatch(plugin):
                return cls(plugin, None, {})
            named, colon, tool = os.fspath(plugin).rpartition(":")
            path = root / named if colon else path
        if not path.exists():
            raise FileNotFoundError(f"there is no plugin at {path}: a path is taken from {root}")
        try:
            manifest = tomllib.loads(_manifest_text(path))["tool"]["toolrunner"]
            name = f"{manifest['name']}:{tool}" if tool else str(manifest["name"])
            return cls(name, path.resolve(), manifest)
        except (KeyError, TypeError, ValueError, OSError):
            words = (
                f"{path} has no manifest; `toolrunner plugins check {path}` says what is missing"
            )
            raise ValueError(words) from None

    def injected(self, kinds: Sequence[str], folder: Path) -> PluginCopy:
        """Return itself, or a copy in ``folder`` that has no lock and what is injected."""
        __tracebackhide__ = True
        wrappers = [kind for kind in ("oom", "slow", "crash") if kind in kinds]
        if not wrappers and "no_network" not in kinds and not self._is_locked():
            return self
        if self.path is None:
            raise ValueError(
                f"{self.name} is installed: give the path of its file or folder instead"
            )
        folder.mkdir()
        copy = folder / self.path.name
        if self.path.is_dir():
            shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
            for name in _FOLDER_LOCKS:
                (copy / name).unlink(missing_ok=True)
        else:
            shutil.copyfile(self.path, copy)
        text = copy if copy.is_file() else copy / _FOLDER_MANIFEST
        manifest = dict(self.manifest)
        if "no_network" in kinds:
            text.write_text(_NETWORK.sub(r"\1false", text.read_text("utf-8")), "utf-8")
            manifest["network"] = False
        if wrappers:
            self._wrap(copy, wrappers)
        return PluginCopy(self.name, copy, manifest)

    def _is_locked(self) -> bool:
        if self.path is None:
            return False
        if self.path.is_dir():
            return any(os.path.lexists(self.path / name) for name in _FOLDER_LOCKS)
        return os.path.lexists(f"{self.path}.lock")

    def _wrap(self, copy: Path, kinds: Sequence[str]) -> None:
        """Wrap the entry of a copied plugin, where it is defined."""
        source, added, owner = copy, WRAP_FILE, "Plugin"
        if copy.is_dir():
            module, _, entry = str(self.manifest.get("entry", "")).partition(":")
            source = copy.joinpath(*module.split("."), "__init__.py")
            if not source.is_file():
                source = copy / f"{module.replace('.', '/')}.py"
            if not source.is_file():
                return  # the command says what is wrong with the manifest
            added, owner = WRAP_ENTRY.format(name=entry), entry
        tool = self.name.partition(":")[2]
        if tool:
            added = WRAP_TOOL.format(function=tool.replace("-", "_"), owner=owner)
        wrapper = WRAPPER.replace("{injections}", ", ".join(kinds))
        source.write_text(source.read_text("utf-8") + wrapper + added, "utf-8")


def _manifest_text(path: Path) -> str:
    """Return the TOML text of a plugin's manifest; empty when it has none."""
    if path.is_dir():
        return (path / _FOLDER_MANIFEST).read_text("utf-8")
    block = _BLOCK.search(path.read_text("utf-8"))
    return "\n".join(line[2:] for line in block["content"].splitlines()) if block else ""
