#!/usr/bin/env python3
"""A class with analyze(image_bytes, options), whose metadata are a record of the host's."""

import struct
from typing import Any, Dict, Optional

from app.models import AnalysisResult, PluginMetadata


class Plugin:
    """Reads the size of a PNG or JPEG file."""

    name = "size"
    version = "0.3.1"
    description = "Size of the file, and of the picture if it is a PNG"

    def metadata(self) -> PluginMetadata:
        return PluginMetadata(name=self.name, version=self.version, inputs=["image"])

    def analyze(
        self, image_bytes: bytes, options: Optional[Dict[str, Any]] = None
    ) -> AnalysisResult:
        options = options or {}
        width = height = None
        if image_bytes.startswith(b"\x89PNG"):
            width, height = struct.unpack(">II", image_bytes[16:24])
        factor = options.get("factor", 1)
        return AnalysisResult(
            text=f"{width}x{height}", blocks=[], extra={"bytes": len(image_bytes) * factor}
        )
