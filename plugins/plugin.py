"""What discovery hands out: a plugin that can be run, or one that cannot, with the reason.

Made by ``discovery``, ``installed`` and ``instance``; read by the registry. Plain values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from toolrunner.plugins.manifest import Manifest

Kind = Literal["file", "folder", "installed"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin and where its code lies.

    ``path`` is the real file, or the folder that holds toolrunner.toml. ``entry`` is
    "module:object" for a folder (the module lies in it) and for an installed one (the module's
    full name); for a file it is the name of an object in it, or empty, which means its ``run`` or
    its class ``Plugin``. ``origin`` is for people: "bundled", "installed: dist 1.2", or the path
    that was given. ``named`` is an absolute path to the same, with its links: where a deployment
    swaps them, it leads to the new files. ``examined``: it is not run for its result, but to tell
    what its load and its first calls take. ``whole``: of one of several tools, the manifest of all.
    """

    manifest: Manifest
    path: Path
    entry: str
    kind: Kind
    origin: str
    named: str = field(default="", compare=False)
    examined: bool = False
    whole: Manifest | None = None

    @property
    def found_at(self) -> str:
        """The path by which to look for it anew."""
        return self.named or str(self.path)

    @property
    def name(self) -> str:
        """The name that it is called by: its manifest's, or PLUGIN:TOOL."""
        return self.manifest.name

    @property
    def entire(self) -> Plugin:
        """The plugin that it is a tool of; itself, if it is none of several."""
        return self if self.whole is None else replace(self, manifest=self.whole, whole=None)

    @property
    def each(self) -> tuple[Plugin, ...]:
        """What can be called: the plugin itself, or each of its tools."""
        tools = self.manifest.tools.values()
        return tuple(replace(self, manifest=tool, whole=self.manifest) for tool in tools) or (self,)


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that cannot be used here; ``reason`` begins with the name of an exception's class.

    ``path`` is ``None`` where no file could be found.
    """

    name: str
    path: Path | None
    reason: str
    description: str = ""
    version: str = ""
