"""Tools over frames of a video: a table of functions, errors inside results, state, progress."""

import base64
import logging
from typing import Any, Dict

from .finding import find

try:
    from app.plugins.base import BasePlugin
except ImportError:

    class BasePlugin:
        tools: Dict[str, Any] = {}

        def run_tool(self, tool_name: str, args: dict) -> Dict[str, Any]:
            raise NotImplementedError


logger = logging.getLogger(__name__)
_seen = []


def _tool_find(image_bytes: bytes, device: str = "cpu", annotated: bool = False) -> Dict[str, Any]:
    if not image_bytes.startswith((b"\x89", b"\xff")):
        return {"error": "image_decode_failed", "message": "no picture that is known here"}
    return {"detections": find(image_bytes), "device": device}


def _tool_follow(frame_base64: str) -> Dict[str, Any]:
    _seen.append(len(base64.b64decode(frame_base64)))
    return {"frame": len(_seen)}


def _tool_follow_video(video_path: str, device: str = "cpu", progress_callback=None):
    frames = []
    with open(video_path, "rb") as video:
        total = 4
        for frame in range(total):
            frames.append({"frame_index": frame, "detections": find(video.read(2))})
            if progress_callback:
                progress_callback(frame + 1, total)
    return {"total_frames": len(frames), "frames": frames}


class Plugin(BasePlugin):
    name: str = "frame-tracker"
    tools: Dict[str, Dict[str, Any]] = {
        "find": {
            "description": "Finds things in one frame",
            "input_schema": {
                "image_bytes": {"type": "string", "format": "binary"},
                "device": {"type": "string", "default": "cpu"},
                "annotated": {"type": "boolean", "default": False},
            },
            "output_schema": {"detections": {"type": "array"}},
            "handler": _tool_find,
        },
        "follow": {
            "description": "Follows things from frame to frame",
            "input_schema": {"frame_base64": {"type": "string"}},
            "output_schema": {"frame": {"type": "integer"}},
            "handler": _tool_follow,
        },
        "follow_video": {
            "description": "Follows things through a video",
            "input_schema": {"video_path": {"type": "string"}, "device": {"type": "string"}},
            "output_schema": {"total_frames": {"type": "integer"}},
            "handler": _tool_follow_video,
        },
    }

    def run_tool(self, tool_name: str, args: Dict[str, Any]) -> Any:
        if tool_name not in self.tools:
            raise ValueError(f"Unknown tool: {tool_name}")
        handler = self.tools[tool_name]["handler"]
        if tool_name == "follow_video":
            return handler(
                video_path=args.get("video_path"),
                device=args.get("device", "cpu"),
                progress_callback=args.get("progress_callback"),
            )
        if tool_name == "follow":
            return handler(args["frame_base64"])
        return handler(
            image_bytes=args.get("image_bytes"),
            device=args.get("device", "cpu"),
            annotated=args.get("annotated", False),
        )

    def on_load(self) -> None:
        logger.info("loaded")
