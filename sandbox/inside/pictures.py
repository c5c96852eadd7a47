"""Pictures in a result, as files: of Pillow and of Matplotlib, where a plugin has imported them.

Neither is imported here. Shares a process with the plugin, as all of the worker.
"""

from __future__ import annotations

import io
import sys

from .jsonable import NotJsonError

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

_JPEG_QUALITY = 95  # Pillow's own default shows
_JPEG_MODES = frozenset({"L", "RGB", "CMYK"})
_PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


def encoded(value: Any, place: str) -> tuple[bytes, str] | None:
    """Return a picture as a file: its bytes and their suffix; ``None`` for what is no picture.

    Raises ``NotJsonError``, with the place, for a picture that has to be converted first.
    """
    if is_of(value, "PIL.Image", "Image"):
        return encoded_image(value, place)
    if is_of(value, "matplotlib.figure", "Figure"):
        file = io.BytesIO()
        value.savefig(file, format="png")
        return file.getvalue(), ".png"
    return None


def is_of(value: object, module: str, name: str) -> bool:
    """Tell whether a value is of a class of a library, which has been imported then."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and issubclass(type(value), kind)


def encoded_image(image: Any, place: str) -> tuple[bytes, str]:
    """Return a Pillow image as JPEG where it came from such a file, else as PNG."""
    file = io.BytesIO()
    if image.format == "JPEG" and image.mode in _JPEG_MODES:
        image.save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue(), ".jpg"
    if image.mode not in _PNG_MODES:
        message = (
            f"{place} is a picture of mode {image.mode}, which PNG cannot carry; convert it first, "
            "as by .convert('RGB')"
        )
        raise NotJsonError(message)
    image.save(file, "PNG")
    return file.getvalue(), ".png"
