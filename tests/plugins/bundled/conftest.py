"""The bundled plugins, each called through ToolRunner in its box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from toolrunner import PluginRegistry, ToolRunner

Analyze = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]


@pytest.fixture(scope="module")
def tool_runner() -> Iterator[ToolRunner]:
    """One runner with the bundled plugins, on whatever this host can isolate."""
    with ToolRunner(PluginRegistry.discover()) as runner:
        yield runner


@pytest.fixture
def analyze(tool_runner: ToolRunner) -> Analyze:
    """Return a function that calls an image plugin and returns the result it must give."""

    def call(plugin: str, image: bytes, mime_type: str = "image/png", **options: object) -> Any:
        payload: dict[str, Any] = {"image": image, "mime_type": mime_type}
        result, error = tool_runner.run(plugin, payload | ({"options": options} if options else {}))
        assert error is None
        return result

    return call


@pytest.fixture
def refuse(tool_runner: ToolRunner) -> Refuse:
    """Return a function that calls a plugin with what it must refuse and returns the message."""

    def call(plugin: str, **payload: object) -> str:
        result, error = tool_runner.run(plugin, payload)
        assert result is None
        assert error is not None
        assert error["error"]["type"] == "ValidationError", error
        assert error["error"]["details"]["blame"] == "caller"
        return str(error["error"]["message"])

    return call
