"""What an error says to set, where a box's walls have caused it; and that it helps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.layers import Layers

NO_NETWORK = 'set network = true in its manifest, and "sample" in allow_network of the operator'
BESIDE = "no files beside it: make it a folder with a toolrunner.toml, or name the folder in read"
NO_MODULE = (
    'if it is a library, write dependencies = ["a-module-beside-it"] in the manifest, and '
    "`toolrunner plugins install`; a single-file plugin has no modules beside it: with some of its "
    "own, make it a folder with a toolrunner.toml"
)
NOT_FOR_ALL = "; read names it, but not every user may read it"
UNSEEN = "; if it is there, a plugin may not see it: name its folder in read of the manifest"


def message_of(make_runner: MakeRunner, path: Path, layers: Layers, **settings: object) -> str:
    """Return the message of a call that fails, "" for one that does not."""
    _result, error = make_runner(path, layers=layers, **settings).run("sample", {})
    return "" if error is None else error["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.getaddrinfo('host.invalid', 80)",
        "urllib.request.urlopen('http://127.0.0.1:9/')",
        "asyncio.run(asyncio.open_connection('127.0.0.1', 9))",
    ],
)
def test_who_wants_the_network_is_told_what_to_set(
    body: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whatever wraps the error; with the grant, nothing is said of it."""
    source = (
        f"import asyncio, socket, urllib.request\ndef run(payload):\n    {body}\n    return {{}}"
    )
    assert NO_NETWORK in message_of(make_runner, write_plugin(source), layers)
    granted = message_of(
        make_runner, write_plugin(source, network="true"), layers, allow_network=["sample"]
    )
    assert "network = true" not in granted


def test_files_beside_a_plugin_are_for_folders(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """What the error says works: a folder, or ``read``."""
    head = '[tool.toolrunner]\nname = "sample"\ninput = "json"\n'
    body = (
        "from pathlib import Path\ndef run(payload):\n"
        "    return {'text': (Path(__file__).parent / 'words.txt').read_text()}\n"
    )
    (open_folder / "words.txt").write_text("here")
    plugin = open_folder / "sample.py"

    def write(more: str = "") -> None:
        lines = "".join(f"# {line}\n" for line in (head + more).splitlines())
        plugin.write_text(f"# /// script\n{lines}# ///\n{body}")

    write()
    assert BESIDE in message_of(make_runner, plugin, layers)
    write(f"read = [{json.dumps(str(open_folder))}]\n")
    assert message_of(make_runner, plugin, layers) == ""
    folder = open_folder / "folder"
    folder.mkdir()
    (folder / "words.txt").write_text("here")
    (folder / "main.py").write_text(body)
    (folder / "toolrunner.toml").write_text(f'{head}entry = "main:run"\n')
    assert message_of(make_runner, folder, layers) == ""
    (folder / "words.txt").unlink()
    missing = message_of(make_runner, folder, layers)
    assert "No such file" in missing
    assert "; " not in missing


def test_files_elsewhere_are_for_read(
    layers: Layers, open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Also where a library says it in words of its own, as far as it is an ``OSError``."""
    (open_folder / "model").write_text("here")
    body = f"def run(payload):\n    return {{'text': open('{open_folder}/model').read()}}\n"
    assert message_of(make_runner, write_plugin(body), layers).endswith(UNSEEN)
    granted = write_plugin(body, read=f'["{open_folder}"]')
    assert message_of(make_runner, granted, layers) == ""
    (open_folder / "model").chmod(0)
    if os.geteuid() != 0:  # a box's user is the runner's then, and owns the file
        (open_folder / "model").chmod(0o600)
        assert message_of(make_runner, granted, layers) == ""
    else:
        assert NOT_FOR_ALL in message_of(make_runner, granted, layers)
    own = write_plugin("def run(payload):\n    open('mine')\n")
    assert message_of(make_runner, own, layers).endswith("'mine'")


def test_modules_beside_a_plugin_are_for_folders(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """At the import, where they are mostly missed."""
    path = write_plugin("import a_module_beside_it\ndef run(payload):\n    return {}\n")
    (path.parent / "a_module_beside_it.py").write_text("")
    assert NO_MODULE in message_of(make_runner, path, layers)


def test_a_caller_is_not_told_what_to_set(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Who gets a ``ValidationError`` has no manifest."""
    path = write_plugin("""
    import socket
    class InvalidInput(Exception):
        pass
    def run(payload):
        try:
            socket.socket()
        except OSError as error:
            raise InvalidInput("no such place") from error
    """)
    assert message_of(make_runner, path, layers) == "no such place"


@pytest.mark.parametrize(
    "body",
    [
        "def __str__(self): raise SystemExit",
        "__cause__ = property(lambda self: 1 / 0)",
        "filename = property(lambda self: 1 / 0)",
    ],
)
def test_an_odd_exception_gets_no_advice_and_is_told(
    body: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Advice is asked of what a plugin has made, and may fail."""
    path = write_plugin(
        f"class Odd(OSError):\n    {body}\ndef run(payload):\n    raise Odd(2, 'odd', '/x/y')\n"
    )
    assert message_of(make_runner, path, layers).startswith("Odd")
