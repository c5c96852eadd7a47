"""Failed calls of the night, run again in the morning."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.commands import a_script
from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.replay.bundle import CALL, bundles_at

FAILS = """
    import hashlib, os, signal

    def digest(payload):
        given = payload.get("image") or b"".join(
            open(file["path"], "rb").read() for file in payload.get("files", ())
        )
        return hashlib.sha256(given).hexdigest()

    def run(payload):
        match payload.get("options", payload).get("do"):
            case "raise":
                raise ValueError(digest(payload))
            case "sleep":
                signal.pause()
            case "grow":
                return {"x": len(b"x" * (1 << 30))}
            case "crash":
                os.abort()
        return {"digest": digest(payload)}
"""
HIGH = "wall_seconds = 300, cpu_seconds = 300, memory_mb = 200"


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    """Where failed calls are kept."""
    return tmp_path / "failures"


def again(cli: Cli, failures: Path, *arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """Run all of them; return the exit status, and what is said of each."""
    ended = cli("replay", failures, "--json", *arguments)
    assert len(ended.documents) == len(list(bundles_at(failures))), ended.err
    return ended.status, ended.documents


def test_each_kind_of_failure_fails_as_it_did(
    cli: Cli, write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path, failures: Path
) -> None:
    """By its type, and by its limit, its signal or its exception, with the very same payload."""
    of_json = write_plugin(FAILS, name="of-json", limits=f"{{ {HIGH} }}")
    of_images = write_plugin(FAILS, name="of-images", input="image", limits=f"{{ {HIGH} }}")
    of_files = write_plugin(FAILS, name="of-files", input="files", limits=f"{{ {HIGH} }}")
    slow = write_plugin(FAILS, name="slow", limits="{ wall_seconds = 1 }")
    # What its image holds is the status that it ends with.
    program = a_script(
        tmp_path, 'exit "$(tail -c 1 input/*)"', input='"image"', accepts='["image/png"]'
    )
    plugins = (of_json, of_images, of_files, slow, program)
    tool_runner = make_runner(*plugins, keep_failures=failures)
    for do in ("raise", "grow", "crash"):
        tool_runner.run("of-json", {"do": do})
    tool_runner.run("slow", {"do": "sleep"})
    raising = {"options": {"do": "raise"}}
    tool_runner.run("of-images", {"image": b"picture", "mime_type": "image/png", **raising})
    files = [{"name": "a.txt", "data": b"one"}, {"name": "b.txt", "data": b"two"}]
    tool_runner.run("of-files", {"files": files, **raising})
    tool_runner.run("sample", {"image": b"\x89PNG\r\n\x1a\n7", "mime_type": "image/png"})

    where = [word for path in plugins for word in ("--plugins", path)]
    status, documents = again(cli, failures, *where)
    assert status == 1
    found = [document["replay"] for document in documents]
    assert [one["then"] for one in found] == [
        {"type": "ExecutionError", "exception": "ValueError"},
        {"type": "MemoryLimitExceeded", "limit": "memory_mb"},
        {"type": "PluginCrashed", "signal": "SIGABRT"},
        {"type": "TimeLimitExceeded", "limit": "wall_seconds"},
        {"type": "ExecutionError", "exception": "ValueError"},
        {"type": "ExecutionError", "exception": "ValueError"},
        {"type": "ExecutionError", "exception": "CommandError"},
    ]
    assert [one["outcome"] for one in found] == ["same"] * 7, found
    assert [one["now"] for one in found] == [one["then"] for one in found]
    assert [one["changed"] for one in found] == [[]] * 7
    # The message has the digest of what was given.
    for folder, document in zip(bundles_at(failures), documents, strict=True):
        then = json.loads((folder / CALL).read_text())["envelope"]["error"]
        if then["type"] == "ExecutionError":
            assert document["error"]["message"] == then["message"]


def test_a_mended_plugin_is_told_from_one_that_fails_otherwise(
    cli: Cli, write_plugin: WritePlugin, failures: Path
) -> None:
    """The night's story: kept by a command, replayed as it is, worse, and mended."""
    plugin = write_plugin("def run(payload): return {'x': 1 / payload['y']}")
    ended = cli(
        "--plugins", plugin, "run", "sample", "--payload", '{"y": 0}', "--keep-failures", "failures"
    )
    assert ended.status == 1
    same = cli("replay", "failures", "--plugins", plugin, TOOLRUNNER_KEEP_FAILURES="failures")
    assert same.status == 1
    assert "fails as it did: ExecutionError (ZeroDivisionError)" in same.out
    assert "changed" not in same.out

    write_plugin("def run(payload): return {'x': 1 / payload['z']}")
    other = cli("replay", "failures", "--plugins", plugin)
    assert other.status == 1
    said = "fails in another way: ExecutionError (KeyError); it was ExecutionError (Zero"
    assert said in " ".join(other.out.split())
    assert "the files of sample have changed" in other.out

    write_plugin("def run(payload): return {'x': payload['y']}")
    mended = cli("replay", "failures", "--plugins", plugin)
    assert mended.status == 0, mended.err
    assert "succeeds now; it was ExecutionError (ZeroDivisionError)" in mended.out
    assert len(list(bundles_at(failures))) == 1  # a replay is nothing to keep

    cli("plugins", "disable", "sample", "--plugins", plugin)
    assert cli("replay", "failures", "--plugins", plugin).status == 0

    gone = cli("replay", "failures", "--json")
    assert gone.status == 2
    assert gone.documents[0]["replay"]["outcome"] == "not-run"
    assert gone.error["type"] == "PluginNotFound"


def test_a_corrected_plugin_takes_the_place_of_that_of_the_settings(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Of the same name, and for a replay alone: every other command has two that claim it."""
    plugin = write_plugin("def run(payload): return {'x': 1 / payload['y']}")
    variables = {"TOOLRUNNER_PLUGINS": str(plugin.parent)}
    given = ("--payload", '{"y": 0}', "--keep-failures", "failures")
    assert cli("run", "sample", *given, **variables).status == 1
    fixed = tmp_path / "fixed" / plugin.name
    fixed.parent.mkdir()
    fixed.write_text(plugin.read_text().replace("1 / payload['y']", "payload['y']"))
    mended = cli("replay", "failures", "--plugins", "fixed", **variables)
    assert mended.status == 0, mended.err
    said = "".join(mended.out.split())
    assert "succeedsnow;itwasExecutionError(Zero" in said
    assert f"{fixed}tooktheplaceof{plugin}" in said
    assert cli("run", "sample", "--plugins", "fixed", **variables).status != 0


def test_the_limits_are_those_of_then(
    cli: Cli, write_plugin: WritePlugin, make_runner: MakeRunner, failures: Path
) -> None:
    """Or with an option those of now: whether a higher one helps can be tried."""
    body = "def run(payload): return {'x': len(b'x' * (100 << 20))}"
    plugin = write_plugin(body, limits="{ memory_mb = 60 }")
    make_runner(plugin, keep_failures=failures).run("sample", {})
    write_plugin(body, limits="{ memory_mb = 600 }")
    status, [document] = again(cli, failures, "--plugins", plugin)
    assert (status, document["replay"]["outcome"]) == (1, "same")
    assert document["replay"]["changed"] == ["the files of sample have changed"]
    status, [document] = again(cli, failures, "--plugins", plugin, "--current-limits")
    assert (status, document["replay"]["outcome"]) == (0, "succeeded")
    assert "memory_mb was 60, and is 600" in document["replay"]["changed"]
    [folder] = bundles_at(failures)
    environment = {"TOOLRUNNER_CAPS__MEMORY_MB": "50"}
    ended = cli("replay", folder, "--plugins", plugin, "--json", **environment)
    assert ended.status == 1
    assert "memory_mb was 60, and is 50" in ended.documents[0]["replay"]["changed"]


def test_what_is_no_failed_call(
    cli: Cli, write_plugin: WritePlugin, make_runner: MakeRunner, tmp_path: Path, failures: Path
) -> None:
    """It is said what is wrong, and the others are run."""
    nothing = cli("replay", tmp_path / "nowhere")
    assert (nothing.status, nothing.out) == (2, "")
    assert "there is no such folder; name a folder that --keep-failures has written" in nothing.err
    plugin = write_plugin("def run(payload): raise ValueError")
    tool_runner = make_runner(plugin, keep_failures=failures)
    for _ in range(4):
        tool_runner.run("sample", {})
    first, second, third, _ = bundles_at(failures)
    (first / CALL).write_text("{}")
    (second / "payload.json").unlink()
    (third / "payload.json").write_text("[1")
    ended = cli("replay", failures, "--plugins", plugin, "--json")
    assert ended.status == 2
    said = [document["error"]["message"] for document in ended.documents]
    assert "call.json is not what --keep-failures writes" in said[0]
    assert "payload.json cannot be read: No such file or directory" in said[1]
    assert "payload.json: not JSON" in said[2]
    found = [document["replay"]["outcome"] for document in ended.documents]
    assert found == ["not-run", "not-run", "not-run", "same"]
    assert "4 failed calls; fail as they did: 1, could not be run: 3" in ended.err
    shutil.rmtree(first)
    assert cli("replay", failures / os.fspath(second.name) / CALL).status == 2
