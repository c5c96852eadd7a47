"""What an error says to set, where a box's walls have caused it; and that it helps."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.settings.settings import PluginSettings
from toolrunner.sandbox.layers import Layers

NO_NETWORK = 'set network = true in its manifest, and "sample" in allow_network of the operator'
BESIDE = "no files beside it: make it a folder with a toolrunner.toml, or name the folder in read"
NOT_IN_THE_SCRATCH = (
    "; a single-file plugin has no files beside it: make it a folder with a toolrunner.toml, or "
    'have the caller give the file (input = "files")'
)
NO_MODULE = (
    'if it is a library, write dependencies = ["a-module-beside-it"] in the manifest, and '
    "`{install}`; a single-file plugin has no modules beside it: with some of its "
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
    asking = write_plugin(body, read=f'["{open_folder}"]')
    assert message_of(make_runner, asking, layers) == ""
    granted = {"sample": PluginSettings(read=(open_folder,))}
    (open_folder / "model").chmod(0)
    if os.geteuid() != 0:  # a box's user is the runner's then, and owns the file
        (open_folder / "model").chmod(0o600)
        assert message_of(make_runner, asking, layers, plugin=granted) == ""
    else:
        assert NOT_FOR_ALL in message_of(make_runner, asking, layers, plugin=granted)


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_folder_that_is_named_and_cannot_be_found_is_told_so(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner, *, by_operator: bool
) -> None:
    """That it has to be named would be no advice."""
    body = "def run(payload):\n    open('/srv/modles/a/b')\n"
    granted: dict[str, object] = {"plugin": {"sample": {"read": ["/srv/modles"]}}}
    plugin = write_plugin(body, **({} if by_operator else {"read": '["/srv/modles"]'}))
    message = message_of(make_runner, plugin, layers, **(granted if by_operator else {}))
    assert message.endswith(
        "; read names /srv/modles, which cannot be found on this host: put it there, or correct "
        "the name"
    )


@pytest.mark.parametrize(
    "body",
    [
        "open('/tmp/x/out.txt', 'w')",
        "open('/home/out.txt', mode='ab')",
        "open(\n        '/home/x/out.txt',\n        'w',\n    )",
        "Path('/home/out.txt').write_text('')",
        "Path('/home/out.txt').open('w')",
        "os.makedirs('/home/out.txt')",
        "Path(__file__).with_name('out.txt').write_text('')",
    ],
)
def test_who_writes_elsewhere_is_told_where_to_write(
    body: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """To the scratch, and how a file is given back; what they read there is another thing."""
    source = (
        f"import os\nfrom pathlib import Path\ndef run(payload):\n    {body}\n    return {{}}\n"
    )
    assert message_of(make_runner, write_plugin(source), layers).endswith(
        "; a plugin may write to the working directory alone, which is context.scratch: write it "
        "there, and give it back with context.artifact(name, path)"
    )


def test_a_file_that_is_looked_for_in_the_scratch(
    layers: Layers, open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It lies elsewhere: beside a folder's code, or nowhere; of a program PATH is told."""
    run = "import subprocess\ndef run(payload):\n    {}\n    return {{}}\n"
    single = write_plugin(run.format("open('data/a.csv')"))
    assert message_of(make_runner, single, layers).endswith(NOT_IN_THE_SCRATCH)
    for other in ("subprocess.run(['true'], cwd='nosuch')", "open('data/a.csv', 'w')"):
        single = write_plugin(run.format(other))
        assert "; " not in message_of(make_runner, single, layers)
    for line in (
        "subprocess.run(['nosuch'])",
        "subprocess.run(['nosuch', 'x'])",
        "subprocess.run(['nosuch', 'a', 'r+'], stdout=subprocess.PIPE)",
        "subprocess.run('nosuch', shell=True, check=True)",
    ):
        single = write_plugin(run.format(line))
        assert message_of(make_runner, single, layers).endswith(
            "; the box's PATH is /usr/local/bin:/usr/bin:/bin: install it on the host. One that "
            "lies elsewhere is not seen: give its path, and name its folder in read of the manifest"
        ), line
    single = write_plugin(run.format("subprocess.run(['/nosuch/tool', 'x'])"))
    assert message_of(make_runner, single, layers).endswith(UNSEEN)
    folder = open_folder / "folder"
    folder.mkdir()
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "sample"\ninput = "json"\nentry = "main:run"\n'
    )
    (folder / "main.py").write_text(run.format("open('a.csv')"))
    assert "; " not in message_of(make_runner, folder, layers)
    (folder / "a.csv").write_text("here")
    assert message_of(make_runner, folder, layers).endswith(
        "; the working directory is the call's scratch, not the plugin's folder: open "
        "Path(__file__).parent / 'a.csv'"
    )


@pytest.mark.parametrize(
    ("line", "meant"),
    [("import jsn", "json"), ("from colections import Counter", "collections")],
)
def test_a_misspelled_standard_module_is_no_library(
    line: str, meant: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whoever installed it by that name would get what a stranger has put there."""
    path = write_plugin(f"{line}\ndef run(payload):\n    return {{}}\n")
    assert message_of(make_runner, path, layers).endswith(
        f"; did you mean {meant!r}? If it is a module of your own, make the plugin a folder with a "
        "toolrunner.toml"
    )


@pytest.mark.parametrize(("module", "words"), [("ujson", "dependencies"), ("os.pth", "")])
def test_a_module_that_is_like_a_standard_one_or_a_part_of_it(
    module: str, words: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Well-known libraries are libraries, and a part that is missing is none."""
    path = write_plugin(f"import {module}\ndef run(payload):\n    return {{}}\n")
    message = message_of(make_runner, path, layers)
    assert "did you mean" not in message
    assert (words or "No module") in message
    assert bool(words) == ("dependencies" in message)


def test_modules_beside_a_plugin_are_for_folders(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """At the import, where they are mostly missed."""
    path = write_plugin("import a_module_beside_it\ndef run(payload):\n    return {}\n")
    (path.parent / "a_module_beside_it.py").write_text("")
    message = message_of(make_runner, path, layers)
    install = re.search(r"`(toolrunner plugins install [^`]+)`", message)
    assert install is not None
    assert install[1].endswith(f" {path}")
    assert NO_MODULE.format(install=install[1]) in message


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
