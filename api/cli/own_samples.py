"""What ``plugins check`` calls a plugin with: what its author gives, what lies beside it, or ours.

Called by ``check`` and ``debugging``. A sample that cannot be read raises GovernedError, which
blames the caller.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.payloads import files_payload, image_payload, json_payload
from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.errors import shown
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.payloads.files import guess_type
from toolrunner.runner.payloads.labels import accepted_as
from toolrunner.runner.payloads.samples import made_up_payload, sample_payload
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.limits import MIB


@dataclass(frozen=True, slots=True)
class Sample:
    """A payload, and what it is in words.

    ``is_given``: by who asks for the check. ``is_made_up``: it has the type alone of what the
    plugin takes; then ``about`` says why. ``files``: where it was read.
    """

    payload: dict[str, Any]
    about: str
    is_given: bool = False
    is_made_up: bool = False
    files: tuple[str, ...] = ()


def sample_of(plugin: Plugin, given: Sequence[str], settings: Settings) -> Sample:
    """Return what to call a plugin with; ``given`` are the files of ``--sample``."""
    manifest = plugin.manifest
    if given:
        if manifest.input != "files" and len(given) > 1:
            message = f"{plugin.name} takes one sample a call: give --sample once"
            raise Refused(message)
        return _read(manifest, given, settings, is_given=True)
    beside = next(_beside(plugin), None)
    if beside is not None:
        return _read(manifest, [beside], settings, is_given=False)
    payload, about = sample_payload(manifest)
    if payload is None:
        return Sample(made_up_payload(manifest), about, is_made_up=True)
    return Sample(payload, about)


def _read(
    manifest: Manifest, names: Sequence[str], settings: Settings, *, is_given: bool
) -> Sample:
    about = f"the sample {', '.join(shown(Path(name).name) for name in names)}"
    most = int(manifest.limits.capped(settings.caps).payload_mb * MIB)
    if manifest.input == "files":
        payload = files_payload(names, mime_type=None, options={}, max_bytes=most)
    elif manifest.input == "image":
        payload = image_payload(names[0], mime_type=None, options={}, max_bytes=most)
    else:
        found = json_payload(f"@{names[0]}")
        if not isinstance(found, dict):
            message = f"{shown(names[0])} holds no JSON object, which is what a plugin is given"
            raise Refused(message)
        payload = found
    return Sample(payload, about, is_given=is_given, files=tuple(names))


def _beside(plugin: Plugin) -> Iterator[str]:
    """Yield the samples that lie beside a plugin as ``plugins new`` writes them."""
    manifest, path = plugin.manifest, Path(plugin.path)
    if manifest.input == "json" and (manifest.input_schema or {}).get("examples"):
        return
    start = path / "sample" if path.is_dir() else path.with_name(f"{path.stem}_sample")
    for found in sorted(start.parent.glob(f"{glob.escape(start.name)}.*")):
        mime_type, accepts = guess_type(found.name), manifest.accepts
        if manifest.input == "json":
            is_taken = mime_type == "application/json"
        else:
            is_taken = not accepts or accepted_as(mime_type, accepts) is not None
        if is_taken and found.is_file():
            yield str(found)
