"""A payload to try a plugin on: for ``toolrunner plugins check``, and to rehearse its calls with.

A bundled sample picture of a type that the plugin accepts, or one made here; a text; for JSON the
first example of its schema.
"""

from __future__ import annotations

import base64
import functools
import json
import mimetypes
from collections.abc import Collection, Iterable
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.payloads.files import guess_type

_SIZE = (96, 64)
_TEXT = b"One line of text.\n"
# Texts that are to be read by their types; any other one is a line of text.
_TEXTS = {
    "text/csv": b"name,amount\nred,1\nblue,2\n",
    "text/html": b"<!doctype html>\n<title>Sample</title>\n<p>One line of text.</p>\n",
    "text/tab-separated-values": b"name\tamount\nred\t1\nblue\t2\n",
    "text/xml": b"<sample>One line of text.</sample>\n",
}


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


def made_up_payload(manifest: Manifest) -> dict[str, Any]:
    """Return a payload of a type that nobody can make here, and with nothing of it inside."""
    mime_type = manifest.accepts[0]
    if manifest.input == "image":
        return {"image": _TEXT, "mime_type": mime_type}
    return {"files": [_file(mime_type, _TEXT)]}


def request_of(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload as a box rehearses it; files at a path are read."""
    rest = dict(payload)
    image = base64.b64encode(rest.pop("image", b"")).decode("ascii")
    given = [_read(file) for file in rest.pop("files", [])]
    return {"payload": rest, "image": image, "files": given}


def _read(file: dict[str, Any]) -> dict[str, Any]:
    path = file.get("path")
    name = file["name"] if path is None else Path(path).name
    data = file["data"] if path is None else Path(path).read_bytes()
    mime_type = file.get("mime_type") or guess_type(name)
    return {"name": name, "mime_type": mime_type, "data": base64.b64encode(data).decode("ascii")}


def _file(mime_type: str, data: bytes) -> dict[str, Any]:
    ending = mimetypes.guess_extension(mime_type) or ""
    return {"name": f"sample{ending}", "mime_type": mime_type, "data": data}


def _files(accepts: tuple[str, ...]) -> tuple[dict[str, Any] | None, str]:
    """Return a payload of one file: a text, or a picture where no text is taken."""
    if not accepts or "text/plain" in accepts:
        return {"files": [_file("text/plain", _TEXT)]}, "a file with a line of text"
    text = next((one for one in accepts if one.startswith("text/")), None)
    if text is not None:
        return {"files": [_file(text, _TEXTS.get(text, _TEXT))]}, f"a small file as {text}"
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
    return "" if payload is None else json.dumps(request_of(payload))


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
