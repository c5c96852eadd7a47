"""What a beginner's mistakes are told, one by one: each message has what it takes to mend it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.api.cli.telling import PLUGIN_AT_FAULT, told
from tests.api.conftest import Cli
from tests.commands import a_script
from tests.conftest import WritePlugin

NO_TERMINAL = (
    "a call has no terminal: `toolrunner plugins check --debug PATH` runs the plugin without a "
    "box, in yours"
)


def test_a_typo_in_a_name(cli: Cli, write_plugin: WritePlugin) -> None:
    """The line, and the name that was meant."""
    path = write_plugin("def run(payload):\n    words = payload['text']\n    return {'n': wrods}\n")
    assert told(cli, path) == (
        f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n"
        "  | sample.py:12 in run: NameError: name 'wrods' is not defined; did you mean 'words'?\n"
        "  |     return {'n': wrods}\n"
    )


def test_a_typo_in_an_attribute(cli: Cli, write_plugin: WritePlugin) -> None:
    """The same for what an object has."""
    path = write_plugin("def run(payload):\n    return {'text': payload['text'].uper()}\n")
    assert told(cli, path) == (
        f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n"
        "  | sample.py:11 in run: AttributeError: 'str' object has no attribute 'uper'; "
        "did you mean 'upper'?\n"
        "  |     return {'text': payload['text'].uper()}\n"
    )


def test_a_typo_in_the_grammar(cli: Cli, write_plugin: WritePlugin) -> None:
    """The line, though no function has been entered."""
    path = write_plugin("def run(payload)\n    return {}\n")
    assert told(cli, path) == (
        f"✗ sample: PluginLoadError {PLUGIN_AT_FAULT}\n"
        "  | sample.py:10: SyntaxError: expected ':'\n"
        "  |     def run(payload)\n"
    )


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (
            "def rum(payload):\n    return {}\n",
            "line 10 of sample.py has a function rum: call it run",
        ),
        ("x = 1\nasync def main(): ...\n", "line 11 of sample.py has a function main: call it run"),
        ("def f(a): ...\n", "line 10 of sample.py has a function f: call it run"),
        ("class plugin: ...\n", "line 10 of sample.py has a class plugin: call it Plugin"),
        (
            "class Words:\n    def run(self, payload): ...\n",
            "line 10 of sample.py has a class Words: call it Plugin",
        ),
        ("def f(a): ...\ndef g(a): ...\n", ""),
    ],
)
def test_a_typo_in_the_name_of_run(
    body: str, advice: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """What has to be there, and what is there instead."""
    path = write_plugin(body)
    assert told(cli, path) == (
        f"✗ sample: PluginLoadError {PLUGIN_AT_FAULT}\n"
        f"  | AttributeError: {path} defines neither run(payload) nor a class Plugin"
        f"{'; ' if advice else ''}{advice}\n"
    )


@pytest.mark.parametrize(
    ("body", "name", "write"),
    [
        ("def run(): ...", "run", "write run(payload), or run(payload, context), in line 10 of"),
        ("async def run(): ...", "run", "write run(payload), or run(payload, context), in line 10"),
        (
            "def run(a, b, c): ...",
            "run",
            "write run(payload), or run(payload, context), in line 10",
        ),
        (
            "class Plugin:\n    def run(self): ...",
            "Plugin.run",
            "write run(self, payload), or run(self, payload, context), in line 11 of sample.py",
        ),
    ],
)
def test_a_run_that_cannot_be_called(
    body: str, name: str, write: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """How to write it, and where it stands, though no line of it has run."""
    path = write_plugin(f"{body}\n")
    text = told(cli, path)
    assert text.startswith(f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n  | TypeError: {name}() ")
    assert f"; {write}" in text
    assert "do what the message says" in cli("plugins", "check", path).out


def test_nothing_found_and_used_all_the_same(cli: Cli, write_plugin: WritePlugin) -> None:
    """As of a function that has forgotten its return."""
    path = write_plugin(
        "def find(text):\n    text.strip()\n"
        "def run(payload):\n    return {'text': find(payload['text']).upper()}\n"
    )
    assert told(cli, path) == (
        f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n"
        "  | sample.py:13 in run: AttributeError: 'NoneType' object has no attribute 'upper'; what "
        "gave it has found nothing, or has no return\n"
        "  |     return {'text': find(payload['text']).upper()}\n"
    )


CONTEXT = (
    "; the second parameter of run is the context; what the caller gave is in the first one: "
    'options, where there are some, are payload["options"]'
)
NO_FONT = (
    "no font arial.ttf is where a plugin may look: make the plugin a folder with a "
    "toolrunner.toml, put the font there, and give str(Path(__file__).parent / 'arial.ttf'); "
    "ImageFont.load_default() needs none"
)
READ = "; it is no JSON text but a dict already: use it as it is"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("options.get('a')", f"'Context' object has no attribute 'get'{CONTEXT}"),
        ("options['a']", f"'Context' object is not subscriptable{CONTEXT}"),
        ("options.progres(1)", "'Context' object has no attribute 'progres'; did you mean 'pro"),
        ("json.loads(payload)", f"the JSON object must be str, bytes or bytearray, not dict{READ}"),
        ("json.load(payload)", f"'dict' object has no attribute 'read'{READ}"),
        ("exit()", "; only an interactive Python has exit(): run ends with return, or with raise"),
        (
            "ImageFont.truetype('fonts/arial.ttf', 20)",
            f"cannot open resource; {NO_FONT}",
        ),
    ],
)
def test_one_thing_that_is_taken_for_another(
    line: str, said: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """What it is, and what to write."""
    path = write_plugin(
        "import json\nfrom PIL import ImageFont\n"
        f"def run(payload, options):\n    {line}\n    return {{}}\n",
        limits="{ wall_seconds = 300 }",
    )
    assert said in told(cli, path)


@pytest.mark.parametrize(
    ("payload", "advice"),
    [
        ("{}", "it is empty; payload.get('text') is None where there is none"),
        ('{"txet": 1}', "only 'txet'; did you mean 'txet'?"),
        ('{"a": 1, "b": 2}', "only 'a', 'b'; payload.get('text') is None where there is none"),
        ('{"options": {"text": 1}}', "but payload['options'] has it"),
    ],
)
def test_a_missing_key(payload: str, advice: str, cli: Cli, write_plugin: WritePlugin) -> None:
    """The keys that there are, and what allows for its absence."""
    path = write_plugin("def run(payload):\n    return {'text': payload['text']}\n")
    assert told(cli, path, payload) == (
        f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n"
        f"  | sample.py:11 in run: KeyError: 'text'; payload has no 'text', {advice}\n"
        "  |     return {'text': payload['text']}\n"
    )


@pytest.mark.parametrize(
    "written",
    [
        "payload['amount'] * rates[payload['currency'].strip().upper()]",
        "rates[\n        payload['currency']]",
        "'ü' and payload['amount'] * payload['rates']['GBP']",
        "'{GBP}'.format(**payload)",
        "found(rates, payload['currency'])",
    ],
)
def test_a_missing_key_of_what_is_no_payload(
    written: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """Nothing is said of the payload, though the line looks into it and it has no such key."""
    path = write_plugin(
        "def found(table, key):\n    return table[key]\n"
        "def run(payload):\n    rates = {'EUR': 1}\n"
        f"    return {{'amount': {written}}}\n"
    )
    text = told(cli, path, '{"amount": 2, "currency": "GBP", "rates": {"EUR": 1}}')
    assert "KeyError: 'GBP'\n" in text


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("payload['amount'] * rates['EUR'] * payload['GBP']", "payload"),
        ("'ü' and payload[\n        'GBP'\n    ]", "payload"),
        ("payload.pop('GBP')", "payload"),
        ("found(payload['rates'], 'GBP')", "table"),
    ],
)
def test_a_missing_key_among_other_dicts(
    written: str, name: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """The payload's, or that of an object right in it, is told by the place in the line."""
    path = write_plugin(
        "def found(table, key):\n    return table[key]\n"
        "def run(payload):\n    rates = {'EUR': 1}\n"
        f"    return {{'amount': {written}}}\n"
    )
    assert f"KeyError: 'GBP'; {name} has no 'GBP', only " in told(
        cli, path, '{"amount": 2, "rates": {"EUR": 1}}'
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("payload['text'].upper()", "a value of type str"),
        ("len(payload['text']), 'characters'", "a value of type tuple, in JSON a list"),
        ("None", "None (perhaps a return is missing)"),
    ],
)
def test_a_wrong_return_type(value: str, what: str, cli: Cli, write_plugin: WritePlugin) -> None:
    """What it was, and what it has to be."""
    path = write_plugin(f"def run(payload):\n    return {value}\n")
    assert told(cli, path) == (
        f"✗ sample: OutputValidationError {PLUGIN_AT_FAULT}\n"
        f'  | run returned {what}; it has to return a dict, such as {{"value": …}}\n'
    )


def test_a_value_that_has_no_json_form(cli: Cli, write_plugin: WritePlugin) -> None:
    """Where it is, and what to write."""
    path = write_plugin("def run(payload):\n    return {'n': [0, (x for x in 'ab')]}\n")
    assert told(cli, path) == (
        f"✗ sample: OutputValidationError {PLUGIN_AT_FAULT}\n"
        "  | result['n'][1] is of type generator, which has no JSON form; return list(value)\n"
    )


def test_more_memory_than_there_is(cli: Cli, write_plugin: WritePlugin) -> None:
    """The line that asked for it, and what the call held by then, which is less than the limit."""
    body = "def run(payload):\n    return {'n': len([0] * 10**9)}\n"
    path = write_plugin(body, limits="{ memory_mb = 64 }")
    text = re.sub(r"(; |used )[0-9.]+ ", r"\1… ", told(cli, path))
    assert text == (
        f"✗ sample: MemoryLimitExceeded {PLUGIN_AT_FAULT}\n"
        "  | sample.py:12 in run: asked for more than memory_mb = 64 MiB allows, having used … MiB:"
        " MemoryError\n"
        "  |     return {'n': len([0] * 10**9)}\n"
        "  what to do: use less, or raise limits.memory_mb in its manifest\n"
        "  limit memory_mb: at most 64; … when more was asked for\n"
    )


def test_an_endless_loop(cli: Cli, write_plugin: WritePlugin) -> None:
    """Which limit has ended it, in which line, what it printed last, and what to look at."""
    body = "def run(payload):\n    print('before the loop')\n    while True: pass\n"
    path = write_plugin(body, limits="{ wall_seconds = 1, cpu_seconds = 100 }")
    text = re.sub(r"observed [0-9.]+", "observed …", told(cli, path))
    assert text == (
        f"✗ sample: TimeLimitExceeded {PLUGIN_AT_FAULT}\n"
        "  | sample.py:13 in run: ran longer than 1 s\n"
        "  |     while True: pass\n"
        "  what to do: see that every loop ends (what print() says in one is shown), make it "
        "faster, or raise limits.wall_seconds in its manifest\n"
        "  limit wall_seconds: at most 1, observed …\n"
        "  the last that it printed:\n"
        "    | before the loop\n"
    )


def test_a_plugin_of_ours_is_nobodys_to_change(cli: Cli) -> None:
    """Who calls it has no manifest of it to raise a limit in."""
    ended = cli(
        *("run", "python", "--payload", '{"code": "while True: pass"}'),
        TOOLRUNNER_ALLOW_BUNDLED="python",
        TOOLRUNNER_CAPS__WALL_SECONDS="0.5",
    )
    assert "TimeLimitExceeded" in ended.err
    assert "its manifest" not in ended.err


@pytest.mark.parametrize("written", ["one()", "[1, one(), (one(),)]"])
def test_what_was_not_awaited_is_told_once(
    written: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """With its place in the result, and without a warning that names a line of ours."""
    body = f"async def one():\n    pass\ndef run(payload):\n    return {{'a': {written}}}\n"
    text = told(cli, write_plugin(body))
    assert "write await before it" in text
    assert "Warning" not in text


def test_a_program_that_failed_is_quoted_once(cli: Cli, open_folder: Path) -> None:
    """Also where what is quoted leaves out lines that nobody can read."""
    path = a_script(
        open_folder, "echo ' 1: 0xb78db3 node::Abort() [/usr/bin/node]\nwhy' >&2; exit 3"
    )
    assert told(cli, path) == (
        f"✗ sample: ExecutionError {PLUGIN_AT_FAULT}\n"
        "  | CommandError: ./main.sh ended with exit status 3; its standard error ends with:\n"
        "  | why\n"
    )


def test_a_stack_that_names_what_is_not_the_plugins(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """No line of such a file is shown."""
    body = """
    import os
    def run(payload):
        name = __file__ + "/../secret"
        text = f'Stack (most recent call first):\\n  File "{name}", line 1 in run\\n'
        os.write(2, text.encode())
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        while True: pass
    """
    path = write_plugin(body, limits="{ wall_seconds = 1, cpu_seconds = 100 }")
    (tmp_path / "secret").write_text("secret words\n")
    text = told(cli, path)
    assert "TimeLimitExceeded" in text
    assert "secret words" not in text


def test_an_endless_loop_that_prints_does_not_fill_the_screen(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """Its last lines are shown; with --debug, all that is kept."""
    body = "def run(payload):\n    for n in range(99):\n        print(n)\n    raise OSError('no')\n"
    shown = told(cli, write_plugin(body)).splitlines()
    assert [line for line in shown if line.startswith("    | ")] == [
        f"    | {n}" for n in range(79, 99)
    ]


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("requests_html", "requests-html"),
        ("sklearn.svm", "scikit-learn"),
        ("bs4", "beautifulsoup4"),
    ],
)
def test_a_missing_library(module: str, library: str, cli: Cli, write_plugin: WritePlugin) -> None:
    """What to write into the manifest, by the name that an index has it under."""
    path = write_plugin(f"import {module}\ndef run(payload):\n    return {{}}\n")
    text = told(cli, path)
    top = module.partition(".")[0]
    assert text.startswith(
        f"✗ sample: PluginLoadError {PLUGIN_AT_FAULT}\n"
        f"  | sample.py:10 in <module>: ModuleNotFoundError: No module named '{top}'; if it is a "
        f'library, write dependencies = ["{library}'
    )
    install = f"toolrunner plugins install {path}"
    assert f'"] in the manifest, and `{install}`; a single-file plugin has' in text
    assert text.endswith(f"  |     import {module}\n")


def test_print_debugging(cli: Cli, write_plugin: WritePlugin) -> None:
    """What is printed is shown, of a call that succeeds as well, and never in the result."""
    path = write_plugin("def run(payload):\n    print('got', payload)\n    return {'fine': True}\n")
    ended = cli("--plugins", path, "run", "sample", "--payload", '{"a": 1}')
    assert ended.err == "  it printed:\n    | got {'a': 1}\n"
    assert "got" not in ended.out
    assert cli("plugins", "check", path).out.endswith("  it printed:\n    | got {}\n")


def test_print_debugging_of_much(cli: Cli, write_plugin: WritePlugin) -> None:
    """The last lines, and how to see all."""
    path = write_plugin("def run(payload):\n    print(*range(99), sep='\\n')\n    return {}\n")
    few = cli("--plugins", path, "run", "sample").err.splitlines()
    assert few[0] == "  the last that it printed (79 lines before; -v shows all):"
    assert few[1:] == [f"    | {number}" for number in range(79, 99)]
    whole = cli("-v", "--plugins", path, "run", "sample").err.splitlines()
    assert [line for line in whole if line.startswith("    | ")] == [
        f"    | {n}" for n in range(99)
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\nnot really", "OSError: Truncated File Read"),
        (
            b"\xff\xd8\xff not really",
            "UnidentifiedImageError: cannot identify image file <_io.BytesIO object>",
        ),
    ],
)
def test_a_picture_that_is_none(
    content: bytes, said: str, cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Whose fault it would be, and how to say so."""
    body = """
    import io
    from PIL import Image
    def run(payload):
        return {"size": Image.open(io.BytesIO(payload["image"])).size}
    """
    path = write_plugin(body, input="image", limits="{ wall_seconds = 300 }")
    (tmp_path / "broken.png").write_bytes(content)
    ended = cli("--plugins", path, "analyze", "sample", "broken.png", COLUMNS="1000")
    text = re.sub(r" at 0x[0-9a-f]+|  call [0-9a-f]{32}\n", "", ended.err)
    assert text == (
        f"✗ broken.png: ExecutionError {PLUGIN_AT_FAULT}\n"
        f"  | sample.py:15 in run: {said}; if the caller's file is at fault, say so: raise an "
        "exception of a class named InvalidInput\n"
        '  |     return {"size": Image.open(io.BytesIO(payload["image"])).size}\n'
    )


def test_a_file_that_is_no_picture_at_all(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Whatever it is called."""
    path = write_plugin(
        "def run(payload):\n    return {}\n", input="image", accepts='["image/png"]'
    )
    (tmp_path / "notes.png").write_text("not at all")
    ended = cli("--plugins", path, "analyze", "sample", "notes.png")
    assert ended.status == 2
    assert (
        '  | sample does not take "application/octet-stream"; it takes: image/png; '
        "what it was given begins like no type that is known here\n"
    ) in ended.err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("breakpoint()", f"RuntimeError: breakpoint() cannot stop here; {NO_TERMINAL}"),
        ("__import__('pdb').set_trace()", f"BdbQuit: {NO_TERMINAL}"),
        ("input('name? ')", f"EOFError: EOF when reading a line; {NO_TERMINAL}"),
    ],
)
def test_a_debugger_in_a_box(body: str, said: str, cli: Cli, write_plugin: WritePlugin) -> None:
    """How to debug instead."""
    path = write_plugin(f"def run(payload):\n    {body}\n    return {{}}\n")
    assert f" in run: {said}\n" in told(cli, path)


@pytest.mark.parametrize(
    ("line", "is_missed"),
    [
        ("context.artifact('a.txt', context.scratch / 'no.txt')", False),
        ("int('x')", False),
        ("payload['n']", True),
        ("payload.get('n').upper()", True),
        ("payload.get('n') + 1", True),
    ],
)
def test_what_is_no_matter_of_a_sample(
    line: str, is_missed: bool, cli: Cli, write_plugin: WritePlugin
) -> None:
    """A sample is asked for where something was looked for in the payload."""
    path = write_plugin(f"def run(payload, context):\n    {line}\n    return {{}}\n")
    out = cli("plugins", "check", path, COLUMNS="1000").out
    assert ("give it a sample" in out) == is_missed
    assert ("what to do: mend run(), at the line that is shown" in out) != is_missed


@pytest.mark.parametrize(
    ("body", "keys", "advice"),
    [
        (
            "def f(a): ...",
            {"tools": "{ f = { input = 'json' }, g = { input = 'json' } }"},
            "what serves it",
        ),
        ("def run(self, payload): ...", {}, "do what the message says"),
        ("class Plugin: ...", {}, "see that entry in its manifest names what there is"),
    ],
)
def test_what_no_line_of_the_plugin_has_raised(
    body: str, keys: dict[str, str], advice: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """No line is shown, and none is spoken of."""
    out = cli("plugins", "check", write_plugin(f"{body}\n", **keys), COLUMNS="1000").out
    assert advice in out
    assert "line that is shown" not in out


def test_no_sample_to_be_called_with(cli: Cli, write_plugin: WritePlugin) -> None:
    """A line that can be copied, with the key that was missing."""
    path = write_plugin("def run(payload):\n    return {'text': payload['text']}\n")
    ended = cli("plugins", "check", path, COLUMNS="1000")
    line = 'input_schema = { examples = [{ text = "value" }] }'
    assert (
        "    what to do: it was called with {}: if it needs more, give it a sample, in a line of "
        f"its manifest below [tool.toolrunner]: {line}\n"
    ) in ended.out
    key, _, value = line.partition(" = ")
    body = "def run(payload):\n    return {'text': payload['text']}\n"
    assert cli("plugins", "check", write_plugin(body, **{key: value})).status == 0


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({}, 'give it one: input_schema = { examples = [{ key = "value" }] }'),
        (
            {"input_schema": '{ properties = { a = { type = "string" } } }'},
            'give it one: examples = [{ key = "value" }] in its input_schema',
        ),
        ({"input_schema": "{ examples = [{ a = 1 }] }"}, ""),
    ],
)
def test_a_sample_that_is_missing_and_not_missed(
    keys: dict[str, str], line: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """It is said how to give one, though the check is passed."""
    ended = cli("plugins", "check", write_plugin("def run(payload):\n    return {}\n", **keys))
    assert ended.status == 0
    assert line in ended.out
    assert ("as it has no sample of its input" in ended.out) == bool(line)
