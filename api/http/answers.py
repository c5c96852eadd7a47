"""Answers that may be large: JSON that is written without stopping the other calls for long."""

from __future__ import annotations

from fastapi.responses import Response

from toolrunner.runner.payloads.json_writing import dumps


def answer(document: object) -> Response:
    """Return a response with a JSON document. Call it in a thread, not in the event loop."""
    return Response(dumps(document), media_type="application/json")
