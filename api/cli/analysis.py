"""What ``toolrunner analyze`` sends for each file: decided by the plugin, before it is read.

Called by ``commands``. A plugin that is unknown or cannot run gets no file read at all: the
runner says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolrunner.api.cli.inputs import STDIN, Input
from toolrunner.api.cli.payloads import files_payload, image_payload
from toolrunner.api.cli.session import Session
from toolrunner.plugins.errors import ManifestError
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.files import guess_type
from toolrunner.runner.payloads.labels import LOOKED_AT_BYTES, accepted_as
from toolrunner.runner.payloads.mime import UNKNOWN, guess
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.sandbox.limits import MIB


class ImageWork:
    """Makes the payloads of one command's files."""

    def __init__(
        self, session: Session, plugin: str, mime_type: str | None, options: Mapping[str, Any]
    ) -> None:
        self._plugin = plugin
        self._manifest = manifest_of(session.registry, plugin)
        self._mime_type = mime_type
        self._options = options
        self._caps = session.settings.caps
        self._stdin_read = False

    @property
    def is_hopeless(self) -> bool:
        """Whether every file would end alike, since the plugin takes none."""
        return self._manifest is None or self._manifest.input == "json"

    def takes(self, found: Input) -> bool:
        """Tell whether a file that nobody named is of a type that the plugin takes.

        One that cannot be read is taken, so that the reason is told; so is one whose content is
        of no type at all, if its name says one that the plugin takes: it is damaged.
        """
        if self._manifest is None or self.is_hopeless:
            return True
        if found.is_named or self._mime_type is not None:
            return True
        try:
            with open(found.name, "rb") as file:  # noqa: PTH123 - any bytes may be in the name
                start = file.read(LOOKED_AT_BYTES)
        except OSError:
            return True
        types = [guess(start)]
        if self._manifest.input == "files" and not self._manifest.accepts:
            return True
        if self._manifest.input == "files" or types == [UNKNOWN]:
            types.append(guess_type(found.name))
        return any(accepted_as(one, self._manifest.accepts) is not None for one in types)

    def payload(self, found: Input) -> dict[str, Any]:
        """Return the payload for one file; raise GovernedError when there is none."""
        manifest, name = self._manifest, found.name
        if manifest is None:
            return {}
        if found.problem:
            raise GovernedError(ErrorType.VALIDATION_ERROR, found.problem)
        if manifest.input == "json":
            message = (
                f"{self._plugin} takes JSON, not images; "
                f"use: toolrunner run {self._plugin} --payload '{{...}}'"
            )
            raise GovernedError(ErrorType.VALIDATION_ERROR, message)
        if name == STDIN and self._stdin_read:
            message = "stdin can be read once only; give - once, and name files for the rest"
            raise GovernedError(ErrorType.VALIDATION_ERROR, message)
        self._stdin_read = self._stdin_read or name == STDIN
        most = int(manifest.limits.capped(self._caps).payload_mb * MIB)
        if manifest.input == "files":
            return files_payload(
                [name], mime_type=self._mime_type, options=self._options, max_bytes=most
            )
        return image_payload(name, mime_type=self._mime_type, options=self._options, max_bytes=most)


def manifest_of(registry: PluginRegistry, name: str) -> Manifest | None:
    """Return the manifest of a plugin, ``None`` if it is unknown or cannot run."""
    if not registry.is_available(name):
        return None
    try:
        return registry.plugin(name).manifest
    except ManifestError:
        return None
