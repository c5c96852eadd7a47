"""A payload to try a plugin on: for ``toolrunner plugins check``, and to rehearse its calls with.

A bundled sample picture of a type that the plugin accepts, or one made here; for JSON the first
example of its schema.
"""

from __future__ import annotations

import base64
import functools
import json
import mimetypes
from collections.abc import Collection, Iterable
from importlib.resources import files
from io import BytesIO
from typing import Any, Literal

from toolrunner.plugins.manifest import Manifest

_SIZE = (96, 64)
_TEXT = b"One line of text.\n"


def sample_payload(manifest: Manifest) -> tuple[dict[str, Any] | None, str]:
    """Return a payload and what it is in words; no payload when none can be made."""
    if manifest.input == "json":
        return _example(manifest)
    if manifest.input == "files":
        return _files(manifest.accepts)
    found = _picture(manifest.accepts)
    if found is not None:
        mime_type, data, _, words = found
        return {"image": data, "mime_type": mime_type}, words
    return None, f"no picture of type {' or '.join(manifest.accepts)} can be made here"


def _files(accepts: tuple[str, ...]) -> tuple[dict[str, Any] | None, str]:
    """Return a payload of one file: a text, or a picture where no text is taken."""
    if not accepts or "text/plain" in accepts:
        file = {"name": "sample.txt", "mime_type": "text/plain", "data": _TEXT}
        return {"files": [file]}, "a file with a line of text"
    found = _picture(accepts)
    if found is None:
        return None, f"no file of type {' or '.join(accepts)} can be made here"
    mime_type, data, name, words = found
    return {"files": [{"name": name, "mime_type": mime_type, "data": data}]}, words


def _picture(accepts: Collection[str]) -> tuple[str, bytes, str, str] | None:
    """Return the type, bytes and name of a picture, and what it is in words."""
    for mime_type, data, name in _bundled():
        if mime_type in accepts:
            return mime_type, data, name, f"the sample {name}"
    for mime_type in accepts:
        made = _made(mime_type)
        if made is not None:
            ending = mimetypes.guess_extension(mime_type) or ""
            return mime_type, made, f"sample{ending}", f"a small picture as {mime_type}"
    return None


def rehearsal(manifest: Manifest) -> str:
    """Return a request as a box rehearses it, as JSON text; "" when none can be made."""
    if manifest.input == "json":
        return json.dumps({"payload": _example(manifest)[0], "image": "", "files": []})
    return _rehearsed(manifest.input, manifest.accepts)


@functools.lru_cache(maxsize=64)
def _rehearsed(kind: Literal["image", "files"], accepts: tuple[str, ...]) -> str:
    payload, _ = sample_payload(Manifest(name="sample", input=kind, accepts=accepts))
    if payload is None:
        return ""
    files = [
        {**file, "data": base64.b64encode(file["data"]).decode("ascii")}
        for file in payload.pop("files", [])
    ]
    image = base64.b64encode(payload.pop("image", b"")).decode("ascii")
    return json.dumps({"payload": payload, "image": image, "files": files})


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
