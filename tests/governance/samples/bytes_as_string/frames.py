"""Tools whose manifest calls bytes a string, or base64; and one of theirs that is text."""

import base64
import hashlib
import io


class FramePlugin:
    def run_tool(self, tool_name, args):
        if tool_name == "measure":
            return self.measure_frame(**args)
        return getattr(self, tool_name)(**args)

    def measure_frame(self, frame, label=""):
        return {"bytes": self._size(frame), "label": label}

    def _size(self, blob):
        stream = io.BytesIO(blob)
        return len(stream.read())

    def digest(self, data):
        return {"sha256": hashlib.sha256(data).hexdigest()[:8]}

    def echo(self, frame: str):
        return {"frame": frame}

    def decoded(self, picture):
        raw = base64.b64decode(picture)
        return {"bytes": len(raw)}
