"""What is told of classes, dicts, modules and programs that are not used as Python has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.cli.telling import PLUGIN_AT_FAULT, told
from tests.api.conftest import Cli
from tests.conftest import WritePlugin

WORDS = """
class Words:
    def __init__(self):
        self.total = 3
    def count(self, text):
        return len(text)
    def longest(self, texts):
        return max(map(self.count, texts))
def run(payload):
    return {"n": %s}
"""


def failed(kind: str, *lines: str) -> str:
    """Return what is shown of a plugin that has failed so."""
    return f"✗ sample: {kind} {PLUGIN_AT_FAULT}\n" + "".join(f"  | {line}\n" for line in lines)


@pytest.mark.parametrize(
    "body",
    [
        "def run(self, payload):\n    return {}\n",
        "class Plugin:\n    @staticmethod\n    def run(self, payload, context): ...\n",
    ],
)
def test_a_function_that_is_written_as_a_method(
    body: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """It would be given the payload as its self."""
    text = told(cli, write_plugin(body))
    assert text.startswith(
        f"✗ sample: PluginLoadError {PLUGIN_AT_FAULT}\n  | TypeError: run(self, "
    )
    assert text.endswith(
        " of sample.py is no method of an object, so it is given no self; "
        "write run(payload), or run(payload, context)\n"
    )


def test_a_function_with_a_self_of_its_own(cli: Cli, write_plugin: WritePlugin) -> None:
    """One parameter is the payload, whatever it is called; a method has a self."""
    for body in (
        "def run(self):\n    return {'n': len(self['text'])}\n",
        "class Plugin:\n    def run(self, payload):\n        return {'n': len(payload['text'])}\n",
    ):
        path = write_plugin(body)
        assert cli("--plugins", path, "run", "sample", "--payload", '{"text": "a"}').status == 0


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("payload.text", "it is a dict: write payload['text']"),
        ("payload.itmes()", "did you mean 'items'?"),
        (
            "payload.words",
            (
                "it is a dict: write payload['words'], but it has no such key, only 'text', 'a'; "
                "payload.get('words') is None where there is none"
            ),
        ),
        ("payload['a'].b", "it is a dict: write it['b']"),
    ],
)
def test_a_dict_that_is_used_as_an_object(
    written: str, advice: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """How its keys are reached."""
    path = write_plugin(f"def run(payload):\n    return {{'n': {written}}}\n")
    name = written.rpartition(".")[2].removesuffix("()")
    assert told(cli, path, '{"text": "hello", "a": {"b": 1}}') == failed(
        "ExecutionError",
        f"sample.py:11 in run: AttributeError: 'dict' object has no attribute '{name}'; {advice}",
        f"    return {{'n': {written}}}",
    )


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (
            'Image.open(payload["image"])',
            'payload["image"] are bytes: Image.open(io.BytesIO(payload["image"]))',
        ),
        (
            'data = payload["image"]; Image.open(data)',
            "data are bytes: Image.open(io.BytesIO(data))",
        ),
        (
            'payload["image"].size',
            'payload["image"] are bytes: Image.open(io.BytesIO(payload["image"]))',
        ),
        (
            'ImageOps.grayscale(payload["image"])',
            'payload["image"] are bytes: Image.open(io.BytesIO(payload["image"]))',
        ),
        (
            "Image.open(payload)",
            (
                'payload is the payload, and payload["image"] are bytes: '
                'Image.open(io.BytesIO(payload["image"]))'
            ),
        ),
        ('open("\\0")', ""),
        ("colorsys.rgb_to_hsv(payload, 1, 1)", ""),
        ('json.load(payload["image"])', ""),
        ("json.load(payload)", "it is no JSON text but a dict already: use it as it is"),
    ],
)
def test_a_picture_is_told_how_it_is_opened(
    body: str, advice: str, cli: Cli, png: Path, write_plugin: WritePlugin
) -> None:
    """Its bytes are no picture, nor a path; of a variable of Pillow's own nothing is said."""
    imports = "import colorsys, io, json\nfrom PIL import Image, ImageOps\n"
    path = write_plugin(f"{imports}def run(payload):\n    {body}\n", input="image")
    ended = cli("--plugins", path, "analyze", "sample", png, COLUMNS="1000")
    line = next(line for line in ended.err.splitlines() if "Error: " in line)
    assert line.partition("; ")[2] == advice


def test_the_bytes_of_a_picture_are_no_path(
    cli: Cli, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """Also where one of that name could be looked for."""
    path = write_plugin("def run(payload):\n    open(payload['image'])\n", input="image")
    (tmp_path / "short.gif").write_bytes(b"GIF89a")
    ended = cli("--plugins", path, "analyze", "sample", tmp_path / "short.gif", COLUMNS="1000")
    assert "No such file or directory: b'GIF89a'; payload[\"image\"] are bytes: " in ended.err


@pytest.mark.parametrize(
    ("written", "said", "make"),
    [
        (
            "Words.count(payload['text'])",
            "TypeError: Words.count() missing 1 required positional argument: 'text'",
            "make one first, and call that: Words(…).count(…)",
        ),
        (
            "Words.total",
            "AttributeError: type object 'Words' has no attribute 'total'",
            "make one first, and use that: Words(…)",
        ),
    ],
)
def test_a_class_that_is_used_as_its_instance(
    written: str, said: str, make: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """That it has to be called first."""
    assert told(cli, write_plugin(WORDS % written)) == failed(
        "ExecutionError",
        f"sample.py:19 in run: {said}; Words is a class: {make}",
        f'    return {{"n": {written}}}',
    )


def test_an_instance_whose_method_lacks_an_argument(cli: Cli, write_plugin: WritePlugin) -> None:
    """That there is an instance already: nothing is said of making one."""
    text = told(cli, write_plugin(WORDS % "Words().count()"))
    assert "missing 1 required positional argument: 'text'\n" in text


@pytest.mark.parametrize(
    ("line", "write"),
    [
        ("from . import other", "import other"),
        ("from .other import (", "from other import find"),
    ],
)
def test_a_module_beside_a_single_file(
    line: str, write: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """There is none: it takes a folder; in one, what it is called there."""
    rest = "\n    find,\n)" if line.endswith("(") else ""
    body = f"{line}{rest}\ndef run(payload):\n    return {{}}\n"
    path = write_plugin(body)
    no_parent = "ImportError: attempted relative import with no known parent package"
    assert (
        f"{no_parent}; a single-file plugin has no modules beside it: make it a folder with a "
        f"toolrunner.toml, and write {write} there\n"
    ) in told(cli, path)
    folder = path.parent / "folder"
    folder.mkdir()
    (folder / "main.py").write_text(body)
    table = '[tool.toolrunner]\nname = "sample"\ninput = "json"\nentry = "main:run"\n'
    (folder / "toolrunner.toml").write_text(table)
    (folder / "other.py").write_text("find = 1\n")
    assert (
        f"{no_parent}; modules of the plugin's folder are found without the dot: write {write}\n"
    ) in told(cli, folder)


def test_a_name_that_a_module_has_not(cli: Cli, write_plugin: WritePlugin) -> None:
    """The one that was meant."""
    path = write_plugin("from collections import orderedDict\ndef run(payload):\n    return {}\n")
    assert "; did you mean 'OrderedDict'?\n" in told(cli, path)


def test_a_variable_of_the_environment(cli: Cli, write_plugin: WritePlugin, tmp_path: Path) -> None:
    """Where a plugin's settings come from instead, as it can be copied."""
    path = write_plugin("import os\ndef run(payload):\n    return {'k': os.environ['API_KEY']}\n")
    assert told(cli, path) == failed(
        "ExecutionError",
        "sample.py:12 in run: KeyError: 'API_KEY'; a plugin has no environment variables of the "
        "host: write run(payload, context) and context.config['API_KEY'], which the operator sets "
        'in the settings, below [plugin.sample]: config = { API_KEY = "…" }',
        "    return {'k': os.environ['API_KEY']}",
    )
    path = write_plugin("def run(payload, context):\n    return {'k': context.config['API_KEY']}\n")
    settings = tmp_path / "settings.toml"
    settings.write_text('[plugin.sample]\nconfig = { API_KEY = "one" }\n')
    ended = cli(
        "--plugins", path, "run", "sample", "--json", TOOLRUNNER_CONFIG=str(settings), COLUMNS="99"
    )
    assert ended.documents[0]["result"] == {"k": "one"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("capture_output=True", " Its standard error ends with: cannot read it\n"),
        ("capture_output=True, text=True", " Its standard error ends with: cannot read it\n"),
        ("stdout=subprocess.PIPE", " Its output ends with: going\n"),
        ("stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL", "exit status 3.\n"),
    ],
)
def test_a_program_that_fails(
    options: str, words: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """What it said last, which the exception has and does not tell."""
    script = "echo going; echo much >&2; echo 'cannot read it' >&2; exit 3"
    path = write_plugin(
        f"import subprocess\nSCRIPT = {script!r}\ndef run(payload):\n"
        f"    subprocess.run(['sh', '-c', SCRIPT], check=True, {options})\n"
    )
    text = told(cli, path)
    assert "in run: CalledProcessError: " in text
    assert words in text
