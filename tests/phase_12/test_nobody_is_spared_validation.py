"""Whoever calls whichever plugin, and whatever a payload says of itself: it is validated."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toolrunner.runner.tool_runner
from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from toolrunner import Call, ToolRunner
from toolrunner.plugins import discovery
from toolrunner.plugins.plugin import Kind
from toolrunner.runner.payloads.validation import Payload
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.sandbox import Sandbox

ROOT = Path(inspect.getfile(toolrunner.runner.tool_runner)).parent
# Registered as plugins, under the names of their origins.
MADE: dict[str, Kind] = {"by-plugin": "file", "installed": "installed", "bundled": "file"}
NAN = float("nan")
JSON: list[Any] = [None, [], {"n": NAN}, {"n": object()}, {1: 2}, {"n": "no integer"}]
SCHEMA = '{ type = "object", properties = { n = { type = "integer" } } }'
IMAGE: list[Any] = [
    None,
    {},
    {"image": b""},
    {"image": b"x"},
    {"image": b"", "mime_type": "image/png"},
    {"image": None, "mime_type": "image/png"},
    {"image": b"x", "mime_type": ""},
    {"image": b"x", "mime_type": "text/none-of-its-types"},
    {"image": b"x", "mime_type": "image/png", "options": {"n": NAN}},
    {"image": b"x" * (MIB + 1), "mime_type": "image/png"},
]
ONE = {"name": "a.txt", "mime_type": "text/plain", "data": b"x"}
FILES: list[Any] = [
    None,
    {},
    {"files": []},
    {"files": [{**ONE, "mime_type": "image/png"}]},
    {"files": [ONE, ONE]},
    {"files": [ONE], "options": {"n": NAN}},
    {"files": [{**ONE, "data": b"x" * (MIB + 1)}]},
]


def known_words() -> list[str]:
    """Return every word that stands in the runner's sources as a text: a marker would be one."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return sorted(word for word in found if re.fullmatch(r"[\w.-]{1,40}", word))


class Obliging(dict[str, Any]):
    """A payload that has whatever it is asked for, and says that it is so."""

    def get(self, key: str, *_default: Any) -> Any:
        """Return what is there, or yes."""
        return super().get(key, True)

    def pop(self, key: str, *_default: Any) -> Any:
        """Return the same."""
        return super().pop(key, True)

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> bool:
        return True

    def __getattr__(self, name: str) -> bool:
        return True


class Counting(Sandbox):
    """A sandbox that counts what comes to it, and runs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call(self, *_given: Any, **_named: Any) -> Any:
        """Count it."""
        self.calls += 1
        raise AssertionError("this came to the sandbox")


Refuse = Callable[..., None]


@pytest.fixture
def refuse(write_plugin: WritePlugin, tmp_path: Path) -> Iterator[Refuse]:
    """A function that calls a plugin, and asserts that its payload is refused."""
    keys = {"input": "image", "limits": "{ payload_mb = 1 }"}
    looks = write_plugin("def run(p): return {}", name="looks", **keys)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "in-folder"\nversion = "1"\ndescription = "d"\n'
        f'input = "json"\nentry = "code:run"\ninput_schema = {SCHEMA}\n'
    )
    (folder / "code.py").write_text("def run(payload): return {}\n")
    path = write_plugin("def run(p): return {}", input_schema=SCHEMA)
    keys |= {"input": "files", "accepts": '["text/plain"]'}
    reads = write_plugin("def run(p): return {}", name="reads", **keys)
    registry = RecordingRegistry.discover([path, looks, reads, folder])
    registry.register("by-path", version="builtin", instance=str(path))
    for name, kind in MADE.items():
        plugin = discovery.resolve_instance(name, path)
        origin = f"{name}: of a distribution 1.0" if name == "installed" else name
        registry.register(name, instance=replace(plugin, kind=kind, origin=origin))
    sandbox = Counting()

    def call(name: str, payload: Any, handle: Call | None = None) -> None:
        registry.ended.clear()
        result, envelope = tool_runner.run(name, payload, call=handle)
        assert result is None
        assert envelope is not None
        assert envelope["error"]["type"] == "ValidationError", (name, payload)
        assert [failed for _name, _state, failed in registry.ended] == [True]
        assert sandbox.calls == 0

    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        yield call


@pytest.mark.parametrize("name", ["sample", "in-folder", "by-path", *MADE])
@pytest.mark.parametrize("payload", JSON, ids=range(len(JSON)))
def test_no_plugin_for_json_gets_an_unchecked_payload(
    name: str, payload: Any, refuse: Refuse
) -> None:
    """Wherever it comes from, and however it was registered."""
    refuse(name, payload)


@pytest.mark.parametrize("payload", IMAGE, ids=range(len(IMAGE)))
def test_no_plugin_for_images_gets_an_unchecked_payload(payload: Any, refuse: Refuse) -> None:
    """The bundled ones are checked like all others; each has a limit of its own."""
    refuse("looks", payload)
    if payload is not IMAGE[-1]:
        refuse("palette", payload)


@pytest.mark.parametrize("payload", FILES, ids=range(len(FILES)))
def test_no_plugin_for_files_gets_an_unchecked_payload(payload: Any, refuse: Refuse) -> None:
    """Nor what comes beside the files."""
    refuse("reads", payload)


@pytest.mark.parametrize("name", ["sample", "looks", "reads"])
def test_no_payload_comes_ready_checked(name: str, refuse: Refuse) -> None:
    """What the runner itself makes of a payload is not taken from a caller."""
    refuse(name, Payload({"n": NAN}))
    refuse(name, Payload({"mime_type": "image/png"}, b"x"))


@pytest.mark.parametrize("value", [True, "yes", 1, {}, None])
def test_no_word_in_a_payload_vouches_for_it(value: Any, refuse: Refuse) -> None:
    """Whatever key the runner knows: with all of them in it, a payload is refused all the same."""
    words = dict.fromkeys(known_words(), value)
    assert {"image", "mime_type", "plugin_logger"} <= words.keys()
    refuse("sample", words | {"n": NAN})
    refuse("sample", words | {"n": 1, "of no schema": NAN})
    refuse("sample", {"n": NAN, "options": words})
    refuse("looks", words | {"image": b"", "mime_type": "image/png"})


def test_a_payload_that_says_yes_to_everything_is_refused(refuse: Refuse) -> None:
    """Nobody asks a payload whether it is fine."""
    refuse("sample", Obliging(n=NAN))
    refuse("looks", Obliging(image=b"", mime_type="image/png"))


def test_no_caller_is_trusted(refuse: Refuse) -> None:
    """By no name that the runner knows, and with a listener or without one."""
    for word in ("", "me", "local", "internal", *known_words()):
        for payload in ({"n": NAN}, {"n": "no integer"}):
            refuse("sample", payload, Call(caller=word))
        for payload in (IMAGE[2], IMAGE[7], IMAGE[-1]):
            refuse("looks", payload, Call(lambda _done, _text: None, caller=word))


def test_a_payload_is_checked_each_time(write_plugin: WritePlugin) -> None:
    """What was fine once may have been changed since."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return {}")])
    sandbox = Counting()
    payload: dict[str, Any] = {"n": 1, "list": []}
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        tool_runner.run("sample", payload)
        assert sandbox.calls == 1
        payload["list"].append(NAN)
        for changed in (payload, dict(payload), {"n": NAN}):
            _result, envelope = tool_runner.run("sample", changed)
            assert envelope is not None
            assert envelope["error"]["type"] == "ValidationError"
    assert sandbox.calls == 1
