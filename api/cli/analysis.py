"""What ``toolrunner analyze`` sends for each file: decided by the plugin, before it is read.

Called by ``commands``. A plugin that is unknown or cannot run gets no file read at all: the
runner says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolrunner.api.cli.payloads import STDIN, image_payload
from toolrunner.api.cli.session import Session
from toolrunner.plugins.errors import ManifestError
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.sandbox.limits import MIB


class ImageWork:
    """Makes the payloads of one command's files."""

    def __init__(
        self, session: Session, plugin: str, mime_type: str | None, options: Mapping[str, Any]
    ) -> None:
        self._plugin = plugin
        self._manifest = _manifest(session.registry, plugin)
        self._mime_type = mime_type
        self._options = options
        self._caps = session.settings.caps
        self._stdin_read = False

    def payload(self, name: str) -> dict[str, Any]:
        """Return the payload for one file; raise GovernedError when there is none."""
        manifest = self._manifest
        if manifest is None:
            return {}
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
        return image_payload(
            name,
            mime_type=self._mime_type,
            options=self._options,
            max_bytes=int(manifest.limits.capped(self._caps).payload_mb * MIB),
        )


def _manifest(registry: PluginRegistry, name: str) -> Manifest | None:
    if not registry.is_available(name):
        return None
    try:
        return registry.plugin(name).manifest
    except ManifestError:
        return None
