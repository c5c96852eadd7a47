"""What kind of file some bytes are, by their first few: for images whose label does not say it.

A guess from well-known signatures. It never decodes anything: whether the file is sound is for
the plugin to find out.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"

# (offset, signature, type), first match wins
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),  # BigTIFF
    (0, b"MM\x00+", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"\x00\x00\x02\x00", "image/x-icon"),  # a cursor, read alike
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\xff\x4f\xff\x51", "image/jp2"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"qoif", "image/qoi"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
)
# RIFF and ISO media files say in a second place what they hold.
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_NETPBM = {
    b"P1": "image/x-portable-bitmap",
    b"P4": "image/x-portable-bitmap",
    b"P2": "image/x-portable-graymap",
    b"P5": "image/x-portable-graymap",
    b"P3": "image/x-portable-pixmap",
    b"P6": "image/x-portable-pixmap",
}
_TEXT_LOOKED_AT = 1024


def guess(data: bytes) -> str:
    """Return the MIME type that the content suggests, ``UNKNOWN`` when nothing does."""
    for offset, signature, mime_type in _SIGNATURES:
        if data.startswith(signature, offset):
            return mime_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    # "BM" alone begins many texts: the size of the header that follows has to make sense.
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    if data[:2] in _NETPBM and data[2:3].isspace():
        return _NETPBM[data[:2]]
    return _text(data[:_TEXT_LOOKED_AT])


def _iso_media(data: bytes) -> str:
    """Return the type by the major brand, or by the first compatible one that is known."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    generic = {b"mif1", b"msf1"}  # says only that it is an image; another brand may say more
    known = [brand for brand in brands if brand in _BRANDS]
    exact = [brand for brand in known if brand not in generic]
    return _BRANDS[(exact or known)[0]] if known else UNKNOWN


def _text(start: bytes) -> str:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!doctype svg")) and b"<svg" in text
    ):
        return "image/svg+xml"
    return UNKNOWN
