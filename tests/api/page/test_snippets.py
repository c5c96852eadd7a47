"""The same call as curl and as Python: what is copied from the page does what the page did."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site
from tests.conftest import WritePlugin
from toolrunner.api.page.snippets import KEY_VARIABLE, Given, Request, as_curl, as_python

ECHO = """
    def run(payload):
        files = [[one["name"], one["mime_type"], one["bytes"]] for one in payload.get("files", [])]
        image = payload.get("image")
        payload = {key: value for key, value in payload.items() if key not in {"image", "files"}}
        return {"payload": payload, "files": files, "image": image.decode() if image else None}
"""
NAME = "it's $(id) `id`; a,b & \\ c.png"
NASTY = {"text": 'it\'s "$HOME" `id` \n \\ @x ; ü \u2028', "n": [1, None, True]}


@pytest.fixture
def site(make_site: MakeSite, write_plugin: WritePlugin) -> Site:
    """A server that wants keys, and plugins that give back what they get."""
    return make_site(
        write_plugin(ECHO),
        write_plugin(ECHO, name="looks", input="image"),
        write_plugin(ECHO, name="reads", input="files"),
        keys=True,
    )


def ran(site: Site, folder: Path, command: list[str]) -> Any:
    """Run what was copied, with a key in the environment."""
    assert site.doors.keys is not None
    _, token = site.doors.keys.create("copied", also=True)
    environment = {**os.environ, KEY_VARIABLE: token}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    assert token not in "".join(command)
    return done.stdout


@pytest.mark.parametrize("language", ["curl", "python"])
@pytest.mark.parametrize(
    "kind",
    ["payload", "image", "files"],
)
def test_what_is_copied_asks_for_the_same(
    language: str, kind: str, site: Site, tmp_path: Path
) -> None:
    """Whatever characters names and values have."""
    address = f"http://127.0.0.1:{site.address[1]}"
    folder = tmp_path / "copied"
    folder.mkdir()
    (folder / NAME).write_text("content")
    given = Given(NAME, "image/png")
    asked = {
        "payload": Request(address, "sample", True, payload=NASTY),
        "image": Request(address, "looks", True, image=given, options=NASTY),
        "files": Request(address, "reads", True, files=[given], options=NASTY),
    }[kind]
    if language == "curl":
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        answer = json.loads(ran(site, folder, ["bash", "-c", as_curl(asked) + " -s"]))
    else:
        answer = ast.literal_eval(ran(site, folder, [sys.executable, "-c", as_python(asked)]))
    result = answer["result"]
    if kind == "payload":
        assert result["payload"] == NASTY
        return
    assert result["payload"]["options"] == NASTY
    if kind == "image":
        assert (result["image"], result["payload"]["mime_type"]) == ("content", "image/png")
    else:
        assert result["files"] == [[NAME, "image/png", 7]]


def test_without_keys_none_is_asked_for() -> None:
    """And none is ever written down."""
    asked = Request("http://127.0.0.1:8000", "sample", payload={})
    assert KEY_VARIABLE not in as_curl(asked) + as_python(asked)
