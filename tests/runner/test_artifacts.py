"""Files that calls give back beside their results: whole, checked, and only with a result."""

from __future__ import annotations

import hashlib

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value
from toolrunner import Artifact, Call
from toolrunner.sandbox.layers import Layers

STARTS = ("cold", "auto", "resident")


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    """Each kind of start, as a manifest names it."""
    return str(request.param)


GIVES = """
    def run(payload, context):
        picture = context.artifact("picture.png", b"png" * payload["times"])
        with open("notes.txt", "w") as file:
            file.write("some words")
        notes = context.artifact("notes.txt", context.scratch / "notes.txt")
        return {"picture": picture, "notes": notes}
"""


def test_what_a_call_gives_back_is_on_its_handle(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Bytes as bytes, in the order in which they were given; the result names them."""
    plugin = write_plugin(GIVES, start=f'"{start}"')
    tool_runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    for times in (1, 1_000_000):
        call = Call()
        result = value(tool_runner.run("sample", {"times": times}, call=call))
        data = b"png" * times
        assert call.artifacts == (
            Artifact("picture.png", "image/png", data),
            Artifact("notes.txt", "text/plain", b"some words"),
        )
        assert result["picture"] == {
            "artifact": "picture.png",
            "mime_type": "image/png",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        assert result["picture"]["sha256"] == call.artifacts[0].sha256
        assert call.usage.output_bytes > len(data) + len("some words")
        assert call.isolation.mode == {"auto": "warm"}.get(start, start)
