"""The guess of a file's type by its content."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from toolrunner.runner.payloads.mime import UNKNOWN, guess


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("DIB", UNKNOWN),
        ("TIFF", "image/tiff"),
        ("ICO", "image/x-icon"),
        ("PDF", "application/pdf"),
        ("PPM", "image/x-portable-pixmap"),
        ("JPEG2000", "image/jp2"),
        ("AVIF", "image/avif"),
    ],
)
def test_what_pillow_writes_is_recognised(name: str, mime_type: str) -> None:
    """Files as a real encoder writes them have the type of their format."""
    Image.init()
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, name)
    assert guess(file.getvalue()) == mime_type


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "image/avif"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1zzzz", "image/heif"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomiso2", UNKNOWN),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", UNKNOWN),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b"<?xml version='1.0'?><html/>", UNKNOWN),
        (b"BM is how this text begins, and it goes on", UNKNOWN),
        (b"P5th Avenue", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_containers_and_lookalikes_are_told_apart(data: bytes, mime_type: str) -> None:
    """What shares its first bytes with something else is looked at more closely."""
    assert guess(data) == mime_type


@given(st.binary(max_size=64))
def test_any_bytes_have_a_guess(data: bytes) -> None:
    """No content makes the guess fail."""
    assert "/" in guess(data)
