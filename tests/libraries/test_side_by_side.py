"""Plugins on ten libraries side by side: in one server, and by one command after the other."""

from __future__ import annotations

import base64
import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import libraries

from tests.libraries.conftest import ENVIRONMENT, Service, plugin_file
from tests.libraries.table import TABLE
from toolrunner.plugins.manifest import read_inline
from toolrunner.sandbox.layers import Layers

NAMES = (
    "duckdb_each_call",
    "matplotlib_chart",
    "numba_cached",
    "onnxruntime_direction",
    "opencv_edges",
    "pandas_report",
    "polars_query",
    "skimage_regions",
    "sklearn_classifier",
    "xgboost_model",
)
ALLOWED = {"TOOLRUNNER_ALLOW_RESIDENT": "*"}


def body_of(path: Path) -> dict[str, Any]:
    """Return what a plugin is called with, as JSON carries it."""
    payload = libraries.payload_of(read_inline(path))
    if "image" in payload:
        payload["image"] = base64.b64encode(payload["image"]).decode()
    return payload


def start_of(name: str) -> str:
    """Return the ``start`` with which a plugin is fast."""
    return "resident" if TABLE[name].cold else "auto"


def runs_here(name: str, layers: Layers) -> bool:
    """Tell whether a plugin runs on this host, as far as the table knows."""
    return bool(layers.namespaces) or not TABLE[name].fails_without


@pytest.fixture
def plugins(open_folder: Path, service: Service) -> Path:  # noqa: ARG001 - says where there is none
    """A folder with the ten, those that cannot be forked as residents."""
    for name in NAMES:
        path = plugin_file(name)
        source = libraries.variant(path.read_text(encoding="utf-8"), start_of(name))
        (open_folder / path.name).write_text(source, encoding="utf-8")
    return open_folder


def command(plugins: Path, state: Path, *words: str) -> list[str]:
    """Return the command line of ``toolrunner`` in the libraries' environment."""
    program = ENVIRONMENT.resolve() / "bin/toolrunner"
    return [str(program), "--plugins", str(plugins), "--state", str(state), *words]


@pytest.fixture
def address(plugins: Path, tmp_path: Path) -> Iterator[str]:
    """A server with the ten plugins."""
    words = command(plugins, tmp_path / "state", "serve", "--port", "0", "--workers", "1")
    with subprocess.Popen(
        words, env={**os.environ, **ALLOWED}, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        log = iter(server.stderr.readline, "")
        yield next(
            found[1] for line in log if (found := re.search(r"listening on http://(\S+)", line))
        )
        server.send_signal(signal.SIGTERM)
        rest = "".join(log)
    assert server.returncode == 0, rest


def test_one_server_has_all_of_them(address: str, plugins: Path, host_layers: Layers) -> None:
    """All at once, and again; where there are no namespaces, those that run there."""
    names = [name for name in NAMES if runs_here(name, host_layers)]

    def ask(name: str) -> tuple[int, Any]:
        path = plugins / f"{name}.py"
        manifest = read_inline(path)
        body: dict[str, Any] = {"plugin": manifest.name}
        body |= body_of(path) if manifest.input == "image" else {"payload": body_of(path)}
        connection = http.client.HTTPConnection(address)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/analyze", json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer.get("result", answer)

    with concurrent.futures.ThreadPoolExecutor(len(names)) as threads:
        for _ in range(2):
            answers = dict(zip(names, threads.map(ask, names), strict=True))
            assert answers == {name: (200, TABLE[name].answer) for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_the_command_runs_each_of_them(
    name: str, plugins: Path, tmp_path: Path, host_layers: Layers
) -> None:
    """And says how its call started."""
    path = plugins / f"{name}.py"
    words = command(plugins, tmp_path, "run", read_inline(path).name, "--payload", "-", "--json")
    done = subprocess.run(
        words,
        env={**os.environ, **ALLOWED},
        input=json.dumps(body_of(path)),
        capture_output=True,
        text=True,
        check=False,
    )
    if not runs_here(name, host_layers):
        assert TABLE[name].fails_without in done.stdout
        return
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["result"] == TABLE[name].answer
    assert answer["isolation"]["mode"] == {"auto": "warm"}.get(start_of(name), "resident")
