"""A payload to try a plugin on: for ``toolrunner plugins check``, and to rehearse its calls with.

A bundled sample picture of a type that the plugin accepts, or one made here; for JSON the first
example of its schema.
"""

from __future__ import annotations

import base64
import functools
import json
import mimetypes
from collections.abc import Iterable
from importlib.resources import files
from io import BytesIO
from typing import Any

from toolrunner.plugins.manifest import Manifest

_SIZE = (96, 64)


def sample_payload(manifest: Manifest) -> tuple[dict[str, Any] | None, str]:
    """Return a payload and what it is in words; no payload when none can be made."""
    if manifest.input == "json":
        return _example(manifest)
    for mime_type, data, name in _bundled():
        if mime_type in manifest.accepts:
            return {"image": data, "mime_type": mime_type}, f"the sample {name}"
    for mime_type in manifest.accepts:
        made = _made(mime_type)
        if made is not None:
            return {"image": made, "mime_type": mime_type}, f"a small picture as {mime_type}"
    return None, f"no picture of type {' or '.join(manifest.accepts)} can be made here"


def rehearsal(manifest: Manifest) -> str:
    """Return a request as a box rehearses it, as JSON text; "" when none can be made."""
    if manifest.input == "json":
        return json.dumps({"payload": _example(manifest)[0], "image": ""})
    return _rehearsed_picture(manifest.accepts)


@functools.lru_cache(maxsize=64)
def _rehearsed_picture(accepts: tuple[str, ...]) -> str:
    payload, _ = sample_payload(Manifest(name="sample", accepts=accepts))
    if payload is None:
        return ""
    image = base64.b64encode(payload.pop("image")).decode("ascii")
    return json.dumps({"payload": payload, "image": image})


def _example(manifest: Manifest) -> tuple[dict[str, Any], str]:
    examples = (manifest.input_schema or {}).get("examples")
    if isinstance(examples, list) and examples:
        return examples[0], "the first of its schema's examples"
    return {}, "an empty object, as its input_schema gives no examples"


def _bundled() -> Iterable[tuple[str, bytes, str]]:
    folder = files("toolrunner.plugins.bundled") / "samples"
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_file():
            data = entry.read_bytes()
            yield mimetypes.guess_type(entry.name)[0] or "", data, entry.name


def _made(mime_type: str) -> bytes | None:
    """Return a small picture with some colour and contrast in it, ``None`` if nobody can."""
    from PIL import Image  # noqa: PLC0415 - few calls need it, and it takes a while to import

    Image.init()
    formats = [name for name, known in Image.MIME.items() if known == mime_type]
    picture = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").resize(_SIZE),
            Image.radial_gradient("L").resize(_SIZE),
            Image.linear_gradient("L").rotate(90).resize(_SIZE),
        ],
    )
    for name in formats:
        file = BytesIO()
        try:
            picture.save(file, name)
        except (KeyError, OSError, ValueError):  # a format that Pillow only reads, here at least
            continue
        return file.getvalue()
    return None
