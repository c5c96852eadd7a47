"""Where a call comes from, and how its plugin is run, spare it nothing and change no result."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import WritePlugin
from tests.phase_12.recording import RecordingRegistry
from tests.phase_12.test_nobody_is_spared_validation import (
    NAN,
    ROOT,
    Counting,
    Obliging,
    known_words,
)
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.ending import (
    Ending,
    LimitHit,
    Returned,
    SetupFailure,
    Stage,
)
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.sandbox import Sandbox

ENFORCED = (
    "wall_seconds",
    "cpu_seconds",
    "memory_mb",
    "processes",
    "threads",
    "scratch_mb",
    "output_mb",
    "artifacts_mb",
)
LARGE = {"text": "x" * (MIB + 1)}
# What a manifest can say of how its calls are run.
KINDS = [
    {"start": '"cold"'},
    {"start": '"warm"'},
    {"start": '"resident"', "batch": "4"},
    {"require": '["landlock"]'},
    {"network": "true"},
    {"warm_up": "true", "input_schema": '{ type = "object", examples = [{ n = 1 }] }'},
]


class Echoing(Sandbox):
    """A sandbox in which every call answers with its own payload."""

    def call(self, *given: Any, **_named: Any) -> Ending:
        """Say what it has been told."""
        request: Request = given[2]
        return Ending(Stage.RUN, reply=Returned(request.payload))


def refused(tool_runner: ToolRunner, name: str, payload: Any, call: Call | None = None) -> None:
    """Assert that a payload is refused, and comes to no sandbox."""
    result, envelope = tool_runner.run(name, payload, call=call)
    assert result is None
    assert envelope is not None
    assert envelope["error"]["type"] == "ValidationError", (name, payload)


@pytest.mark.parametrize("keys", KINDS, ids=str)
def test_no_kind_of_plugin_gets_an_unchecked_payload(
    keys: dict[str, str], write_plugin: WritePlugin
) -> None:
    """However its calls start, alone or together, and as often as they are made."""
    path = write_plugin("def run(p): return {}", limits="{ payload_mb = 1 }", **keys)
    sandbox = Counting()
    with ToolRunner(RecordingRegistry.discover([path]), sandbox=sandbox) as tool_runner:
        for _ in range(50):
            refused(tool_runner, "sample", {"n": NAN})
        refused(tool_runner, "sample", LARGE)
        refused(tool_runner, "sample", Obliging(n=NAN))
    assert sandbox.calls == 0


@pytest.mark.parametrize(
    "thread", ["", "toolrunner-call", "toolrunner-jobs", "AnyIO worker thread"]
)
def test_no_thread_is_trusted(thread: str, write_plugin: WritePlugin) -> None:
    """Neither those that serve requests and jobs, nor others."""
    path = write_plugin("def run(p): return {}", limits="{ payload_mb = 1 }")
    looks = write_plugin("def run(p): return {}", name="looks", input="image")
    registry = RecordingRegistry.discover([path, looks])
    given: list[tuple[str, Any]] = [
        ("sample", {"n": NAN}),
        ("sample", LARGE),
        ("looks", {"image": b"", "mime_type": "image/png"}),
        ("looks", {"image": b"x", "mime_type": "text/none-of-its-types"}),
    ]
    with (
        ToolRunner(registry, sandbox=Counting()) as tool_runner,
        ThreadPoolExecutor(1, thread_name_prefix=thread) as pool,
    ):
        for name, payload in given:
            pool.submit(refused, tool_runner, name, payload).result()
    assert registry.threads.isdisjoint({threading.get_ident()})


def test_no_word_of_the_environment_vouches_for_a_payload(
    write_plugin: WritePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for a result, by whatever name the runner knows."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return {}")])
    says = {"output_schema": "{ required = ['n'] }", "error_key": '"error"'}
    echo = RecordingRegistry.discover([write_plugin("def run(p): return p", name="echo", **says)])
    with (
        ToolRunner(registry, sandbox=Counting()) as tool_runner,
        ToolRunner(echo, sandbox=Echoing()) as echoing,
    ):
        for word in {word.replace(".", "_").upper() for word in known_words()}:
            if word.isidentifier() and word not in os.environ:
                monkeypatch.setenv(word, "1")
                monkeypatch.setenv(f"TOOLRUNNER_{word}", "1")
        refused(tool_runner, "sample", {"n": NAN})
        for payload in ({}, {"n": 1, "error": "no face in it"}):
            result, envelope = echoing.run("echo", payload)
            assert result is None
            assert envelope is not None
        assert [failed for _name, _state, failed in echo.ended] == [True, True]


@pytest.mark.parametrize("many", [1, 100, 20_000])
def test_no_payload_is_too_large_to_be_looked_through(many: int, write_plugin: WritePlugin) -> None:
    """Whatever is wrong may stand last, and deep."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return {}")])
    keys = {f"key{number}": number for number in range(many)}
    with ToolRunner(registry, sandbox=Counting()) as tool_runner:
        for payload in (
            {**keys, "n": NAN},
            {"list": [*keys, NAN]},
            {"list": [*keys, {"in": [keys, {"n": object()}]}]},
        ):
            refused(tool_runner, "sample", payload)


def known_types() -> set[str]:
    """Return every MIME type, and every pattern of some, that stands in the runner's sources."""
    texts = " ".join(path.read_text("utf-8") for path in ROOT.rglob("*.py"))
    words = {word.strip("\"'`.,;:()[]{}") for word in texts.split()}
    return {word for word in words if word.count("/") == 1 and "png" not in word}


def test_no_type_is_taken_but_those_listed(write_plugin: WritePlugin) -> None:
    """Whatever other types the runner knows, and no pattern of types."""
    registry = RecordingRegistry.discover(
        [write_plugin("def run(p): return {}", input="image", accepts='["image/png"]')]
    )
    types = {"*/*", "image/*", "image/none", "application/octet-stream", "text/plain"}
    with ToolRunner(registry, sandbox=Counting()) as tool_runner:
        for mime_type in sorted(types | known_types()):
            refused(tool_runner, "sample", {"image": b"no picture", "mime_type": mime_type})


@pytest.mark.parametrize("value", [True, "yes", 1, {}])
def test_no_word_in_a_payload_or_a_result_changes_the_result(
    value: Any, write_plugin: WritePlugin
) -> None:
    """It is what the plugin returned, with all words in it that the runner knows, and no other."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return p")])
    payload = json.loads(json.dumps(dict.fromkeys(known_words(), value)))
    with ToolRunner(registry, sandbox=Echoing()) as tool_runner:
        for given in (payload, {"options": payload}, {"n": 1}, {}):
            before = json.dumps(given)
            assert tool_runner.run("sample", given) == (json.loads(before), None)
            assert json.dumps(given) == before


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b'{"n": NaN}'])
def test_a_result_that_is_refused_leaves_no_artifact(
    body: bytes, write_plugin: WritePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there with a result, or not at all."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return p")])
    sandbox, artifact = Sandbox(), Artifact("a.txt", "text/plain", b"kept")
    replies = [Returned(body, (artifact,)), Returned(b"{}", (artifact,))]
    monkeypatch.setattr(sandbox, "call", lambda *_, **__: Ending(Stage.RUN, reply=replies.pop(0)))
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        failed, fine = Call(), Call()
        assert tool_runner.run("sample", {}, call=failed)[0] is None
        assert failed.artifacts == ()
        assert tool_runner.run("sample", {}, call=fine) == ({}, None)
        assert fine.artifacts == (artifact,)


def ends() -> list[tuple[dict[str, Any], str]]:
    """Return each way that a call can end, in the order of the contract, and what it comes to."""
    limits = dict.fromkeys(ENFORCED, "LimitExceeded") | {"load_seconds": "PluginLoadError"}
    return [
        ({"setup": SetupFailure("unshare", "not permitted")}, "SandboxError"),
        ({"cancelled": True}, "Cancelled"),
        *(({"limit": LimitHit(name, 1, 2)}, kind) for name, kind in limits.items()),
        ({"protocol_error": "two frames"}, "ProtocolError"),
    ]


def test_what_has_ended_a_call_is_its_outcome(
    write_plugin: WritePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound reply makes no success of it, and what comes first decides, whatever else is true."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return p")])
    sandbox = Sandbox()
    found: list[tuple[str, str]] = []
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        facts: dict[str, Any] = {}
        for fact, kind in reversed(ends()):
            facts |= fact
            for given in (fact, facts):
                ending = Ending(Stage.RUN, reply=Returned(b"{}"), **given)
                monkeypatch.setattr(sandbox, "call", lambda *_, ending=ending, **__: ending)
                result, envelope = tool_runner.run("sample", {})
                assert result is None, kind
                assert envelope is not None
                found.append((envelope["error"]["type"], kind))
    assert [(one, kind) for one, kind in found if not one.endswith(kind)] == []
    assert len(registry.ended) == len(found)


def test_a_call_is_recorded_under_the_name_that_was_called(write_plugin: WritePlugin) -> None:
    """One tool's calls are not another's, nor the plugin's."""
    tools = '{ one = { input = "json" }, two = { input = "json" } }'
    registry = RecordingRegistry.discover([write_plugin("def run(p, c): return p", tools=tools)])
    with ToolRunner(registry, sandbox=Echoing()) as tool_runner:
        for name in ("sample:one", "sample:two", "nobody:one"):
            tool_runner.run(name, {})
    assert [name for name, _state, _failed in registry.ended] == [
        "sample:one",
        "sample:two",
        "nobody:one",
    ]
    assert registry.begun == ["sample:one", "sample:two"]


def test_no_call_is_made_to_warm_up(write_plugin: WritePlugin) -> None:
    """To load a plugin is to record nothing, and to run nothing for a result."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): raise ValueError('run')")])
    with ToolRunner(registry) as tool_runner:
        tool_runner.warm_up("sample")
    assert (registry.begun, registry.ended) == ([], [])
    assert registry.get_state("sample") == "LOADED"
