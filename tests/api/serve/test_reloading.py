"""A reload of a real server: by a signal or by a request, of all its workers, or of none."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.api.serve.conftest import Serve, Server
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

TELLING = """
    def run(payload, context):
        return {"config": context.config}
"""


def told(address: str) -> Any:
    """Return what config the plugin has in one call; each is over a connection of its own."""
    answer = httpx.post(f"{address}/v1/analyze", json={"plugin": "sample", "payload": {}})
    return answer.json()["result"]["config"].get("word")


def written(file: Path, word: str, more: str = "") -> None:
    """Write the settings anew."""
    file.write_text(f"{more}\n[plugin.sample]\nconfig = {{ word = '{word}' }}\n")


def test_settings_are_read_anew(serve: Serve, write_plugin: WritePlugin, tmp_path: Path) -> None:
    """What changed is in the log, what was refused changes nothing, and a new worker has it too."""
    file = tmp_path / "config.toml"
    written(file, "first", "max_waiting = 9\n[caps]\nmemory_mb = 512")
    plugin = write_plugin(TELLING)
    server = serve("--workers", "2", "--plugins", plugin, TOOLRUNNER_CONFIG=str(file))
    address = server.ready()
    server.family()
    assert told(address) == "first"

    written(file, "second", "max_waiting = 8\n[caps]\nmemory_mb = 256")
    plugin.write_text(plugin.read_text().replace("1.0.0", "0.9.0"))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(rf"INFO .*settings: caps.memory_mb = 256 \({file} line 3\); it was 512\n")
    server.wait_for(r"WARNING .*settings: max_waiting = 8 .*; it was 9; .* next start")
    server.wait_for(r"settings: plugin.sample.config = \(hidden\)")
    server.wait_for(r"INFO .*plugins: sample 1.0.0 -> 0.9.0\n")
    for _ in range(2):
        server.wait_for("plugins are loaded again")
    assert {told(address) for _ in range(8)} == {"second"}
    assert "first" not in server.log

    written(file, "third", "max_waitin = 8")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(r"ERROR .*stay as they were: .*max_waitin: unknown setting; did you mean")
    file.write_text("plugins = ['/no/such/folder']")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(r"ERROR .*stay as they were: .*/no/such/folder")
    assert {told(address) for _ in range(4)} == {"second"}

    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    for _ in range(2):
        server.wait_for(r"worker \d \(process \d+\) is ready")
    assert {told(address) for _ in range(4)} == {"second"}
    assert "Traceback" not in server.log


def test_the_operator_may_ask_for_it(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """The answer says what changes, or why nothing does; no path of the host is in it."""
    file = tmp_path / "config.toml"
    written(file, "first")
    plugin = write_plugin(TELLING)
    server = serve("--workers", "2", "--plugins", plugin, TOOLRUNNER_CONFIG=str(file))
    address = server.ready()
    assert httpx.post(f"{address}/v1/reload").json() == {"changes": [], "plugins": []}
    server.wait_for("no setting and no plugin's manifest has changed")
    server.wait_for("a reload: the workers load their plugins again")
    for _ in range(2):
        server.wait_for("plugins are loaded again")
    written(file, "second", "max_waiting = 8")
    answer = httpx.post(f"{address}/v1/reload")
    assert answer.status_code == 202
    [number, config] = answer.json()["changes"]
    assert (number["setting"], number["value"], number["is_live"]) == ("max_waiting", "8", False)
    assert number["source"] == "config.toml line 1"
    assert (config["setting"], config["value"]) == ("plugin.sample.config", "(hidden)")
    for _ in range(2):
        server.wait_for("plugins are loaded again")
    assert {told(address) for _ in range(8)} == {"second"}
    written(file, "third", "max_waiting = 'many'")
    refused = httpx.post(f"{address}/v1/reload")
    assert refused.status_code == 400
    message = refused.json()["detail"]["message"]
    assert "config.toml line 1: max_waiting: must be a whole number" in message
    assert str(tmp_path) not in refused.text
    wait_until(lambda: told(address) == "second", "nothing has changed")
    audited = (tmp_path / "state" / "audit.jsonl").read_text()
    assert audited.count('"POST /v1/reload"') == 3


def reloaded(server: Server, address: str) -> Any:
    """Return what a reload says of plugins, and whether they can be called, once both have it."""
    answer = httpx.post(f"{address}/v1/reload")
    assert answer.status_code == 202
    for _ in range(2):
        server.wait_for("plugins are loaded again")
    return answer.json()["plugins"]


def warnings(address: str) -> list[str]:
    """Return what is to be looked at, which each worker says the same of."""
    [found] = {tuple(httpx.get(f"{address}/readyz").json()["warnings"]) for _ in range(6)}
    return list(found)


def test_a_plugin_that_a_reload_takes_out_of_service_is_told(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """With the reason: in the answer, as a warning in the log and at /readyz, until it is mended.

    By a typing error, by a second file of its name, and when it has gone.
    """
    plugin = write_plugin(TELLING, limits="{ memory_mb = 64 }")
    folder = tmp_path / "served"
    folder.mkdir()
    served, twin = folder / "sample.py", folder / "twin.py"
    right = plugin.read_text()
    served.write_text(right)
    (folder / "other.py").write_text(right.replace('"sample"', '"other"'))
    server = serve("--workers", "2", "--plugins", folder)
    address = server.ready()
    assert warnings(address) == []

    served.write_text(right.replace("memory_mb", "memry_mb").replace("1.0.0", "1.1.0"))
    [change] = reloaded(server, address)
    assert (change["plugin"], change["change"]) == ("sample", "unavailable")
    assert (change["version"], change["was"]) == ("1.1.0", "1.0.0")
    assert "memry_mb" in change["reason"]
    assert str(tmp_path) not in change["reason"]
    assert re.search(
        r"WARNING .*plugins: sample 1.0.0 -> 1.1.0 cannot run now: .*memry_mb", server.log
    )
    [warning] = warnings(address)
    assert warning.startswith("sample cannot run: ManifestError: ")
    assert "memry_mb" in warning
    refused = httpx.post(f"{address}/v1/analyze", json={"plugin": "sample", "payload": {}})
    assert refused.json()["detail"]["type"] == "PluginUnavailable"
    assert reloaded(server, address) == []  # nothing that is new
    assert len(warnings(address)) == 1

    served.write_text(right)
    [change] = reloaded(server, address)
    assert (change["change"], change["reason"]) == ("available", "")
    assert "INFO" in server.log
    assert "sample 1.1.0 -> 1.0.0, and can run again" in server.log
    assert warnings(address) == []

    twin.write_text(right)
    [change] = reloaded(server, address)
    assert (change["change"], change["was"]) == ("unavailable", "1.0.0")
    assert "both claim the name sample" in change["reason"]
    assert "both claim the name sample" in warnings(address)[0]

    twin.unlink()
    served.write_text(right.replace("64", "65"))
    assert [one["change"] for one in reloaded(server, address)] == ["available"]
    served.write_text(right)
    assert [one["change"] for one in reloaded(server, address)] == ["changed"]
    served.unlink()
    [change] = reloaded(server, address)
    assert (change["change"], change["version"], change["was"]) == ("gone", None, "1.0.0")
    assert re.search(r"WARNING .*plugins: sample 1.0.0 is gone\n", server.log)
    assert warnings(address) == []


def test_a_start_warns_of_what_cannot_run_and_of_names_of_no_plugin(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Both are no reason not to serve; a reload warns of such names again."""
    file = tmp_path / "config.toml"
    file.write_text('allow_network = ["sampl"]\nallow_resident = ["*", "other"]\n[plugin.nobody]\n')
    good = write_plugin(TELLING)
    bad = write_plugin(TELLING, name="bad", limits="{ memry_mb = 64 }")
    server = serve("--plugins", good, "--plugins", bad, TOOLRUNNER_CONFIG=str(file))
    server.ready()
    named = (
        r"settings: allow_network: there is no plugin 'sampl'; did you mean 'sample'\?",
        r"settings: allow_resident: there is no plugin 'other'",
        r"settings: plugin.nobody: there is no plugin 'nobody'",
    )
    assert re.search(r"WARNING .*plugins: bad cannot run: ManifestError: .*memry_mb", server.log)
    for words in named:
        assert re.search(rf"WARNING .*{words}", server.log), server.log
    server.process.send_signal(signal.SIGHUP)
    for words in named:
        server.wait_for(rf"WARNING .*{words}")
