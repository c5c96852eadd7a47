"""python: what a piece of code prints, leaves, comes to and does wrong; off unless allowed."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ISOLATIONS, skip_unless_taken
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.plugins import discovery
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.failures import verdict_of
from toolrunner.runner.registry.suspensions import Verdict
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Run = Callable[..., dict[str, Any]]
RAISES = "lambda *_: (_ for _ in ()).throw(SystemExit)"
WORDLESS = "a value without words (SystemExit)"
LIAR = f"class M(type):\n    __name__ = property({RAISES})\n"
HOLDER = "class Odd:\n    def __repr__(self):\n        raise ValueError('no words')\n"


@pytest.fixture(scope="module", params=ISOLATIONS)
def tool_runner(request: pytest.FixtureRequest, host_layers: Layers) -> Iterator[ToolRunner]:
    """One runner of an operator who allows it, with namespaces and without."""
    layers = host_layers
    if request.param == "no-namespaces":
        layers = host_layers.without("namespaces")
        skip_unless_taken(layers)
    elif not host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    settings = Settings.load().model_copy(update={"allow_bundled": ("python",)})
    registry = PluginRegistry.discover(settings=settings)
    sandbox = build_sandbox(settings, layers=layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as runner:
        yield runner


@pytest.fixture
def run(tool_runner: ToolRunner) -> Run:
    """Return a function that runs a piece of code and returns the result that it must give."""

    def call(code: str, *, handle: Call | None = None, **payload: object) -> dict[str, Any]:
        result, error = tool_runner.run("python", {"code": code, **payload}, call=handle)
        assert error is None, error
        assert isinstance(result, dict)
        return result

    return call


def test_it_is_off_unless_it_is_allowed() -> None:
    """No caller of a default install can run code of its own."""
    default = PluginRegistry.discover(settings=Settings())
    assert "python" not in default.list_plugins()
    with ToolRunner(default) as runner:
        _, error = runner.run("python", {"code": "1"})
    assert error is not None
    assert error["error"]["type"] == "PluginNotFound"
    assert 'allow_bundled = ["python"]' in error["error"]["message"]
    allowed = Settings(allow_bundled=("python",))
    assert "python" in PluginRegistry.discover(settings=allowed).list_plugins()
    both = Settings(allow_bundled=("python",), disable_bundled=("python",))
    assert "python" not in PluginRegistry.discover(settings=both).list_plugins()


def test_what_is_allowed_has_to_be_there() -> None:
    """A typing mistake is told."""
    with pytest.raises(discovery.DiscoveryError, match=r"allow_bundled: .*mean python\?"):
        discovery.discover((), allow_bundled=("pyhton",))


def test_it_is_warm_with_numpy_loaded(tool_runner: ToolRunner, run: Run) -> None:
    """A call forks from a process that has imported it."""
    start = tool_runner.start("python")
    call = Call()
    answer = run("import sys\n'numpy.linalg' in sys.modules", handle=call)
    assert answer["value"] is (start.mode == "warm")
    assert call.isolation.mode == start.mode


def test_its_examples_run(tool_runner: ToolRunner) -> None:
    """Those of its manifest's schema, with known answers."""
    schema = tool_runner.registry.plugin("python").manifest.input_schema
    assert schema is not None
    answers = [tool_runner.run("python", one)[0] for one in schema["examples"]]
    assert [answer["value"] for answer in answers] == [[0, 2, 4], None, "ONE"]
    assert [answer["stdout"] for answer in answers] == ["", "one line\n", ""]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("", None),
        ("x = 1", None),
        ("x = 1\nx + 1", 2),
        ("[1, (2, 3), {'a': None}]", [1, [2, 3], {"a": None}]),
        ("import numpy as np\nnp.float32(0.5)", 0.5),
        ("import numpy as np\n{'mean': np.ones((2, 2))}", {"mean": [[1.0, 1.0], [1.0, 1.0]]}),
        ("{1: 2}", "{1: 2}"),
        ("float('nan')", "nan"),
        ("2 ** 70", str(2**70)),
        ("'a\\ud800'", "a\\ud800"),
        ("range(3)", "range(0, 3)"),
        (f"{HOLDER}Odd()", "a value without words (ValueError)"),
        (f"{HOLDER}[1, Odd()]", [1, "a value without words (ValueError)"]),
        (f"class A(int):\n    __abs__ = {RAISES}\nA(3)", WORDLESS),
        (f"class A(str):\n    __str__ = {RAISES}\nA('x')", WORDLESS),
        (f"class A:\n    __class__ = property({RAISES})\nA()", WORDLESS),
        (
            f"class M(type):\n    __mro__ = property({RAISES})\nclass A(metaclass=M): pass\nA()",
            WORDLESS,
        ),
        ("__name__", "__main__"),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nA(3)", "A(x=3)"),
    ],
)
def test_the_last_expression_is_the_value(code: str, value: object, run: Run) -> None:
    """As JSON where it is that, and as its ``repr`` where it is not."""
    answer = run(code)
    assert (answer["value"], answer["error"]) == (value, None)


def test_all_that_is_written_is_heard(run: Run) -> None:
    """By Python, by its descriptors and by other programs, in their order."""
    answer = run(
        "import os, subprocess, sys\n"
        "print('one', flush=True)\n"
        "os.write(1, b'two\\n')\n"
        "subprocess.run(['echo', 'three'])\n"
        "print('four', file=sys.stderr)\n"
        "os.write(2, b'\\xff')\n"
    )
    assert answer["stdout"] == "one\ntwo\nthree\n"
    assert answer["stderr"] == "four\n\ufffd"
    assert len(run("print('x' * 2_000_000)")["stdout"]) < 1_000_100


def test_standard_input_is_read(run: Run) -> None:
    """All of it, and no more; by other programs as well."""
    assert run("input() + input()", stdin="a\nb\n")["value"] == "ab"
    assert run("import subprocess\nsubprocess.run(['cat'])\n1", stdin="ü")["stdout"] == "ü"
    assert run("input()")["error"]["type"] == "EOFError"


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError", 2),
        ("def f():\n    raise KeyError('a')\n\nf()", "KeyError", 2),
        ("x = 1\ndef f(:", "SyntaxError", 2),
        ("import json\njson.loads('{')", "JSONDecodeError", 2),
        ("import sys\nsys.exit('no')", "SystemExit", 2),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
        ("x = '\\0'\nopen(x)", "ValueError", 2),
    ],
)
def test_an_exception_is_an_answer(code: str, kind: str, line: int, run: Run) -> None:
    """With its line, and a traceback that begins in the code."""
    answer = run(f"{code}\n")
    assert (answer["error"]["type"], answer["error"]["line"]) == (kind, line)
    assert kind in answer["error"]["traceback"]
    assert "python.py" not in answer["error"]["traceback"]
    assert answer["value"] is None
    assert run("print(1)\nraise SystemExit")["error"] is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import json\njson.loads('{')", 'File "json/decoder.py", line '),
        ("import numpy\nnumpy.linalg.inv(numpy.zeros((2, 2)))", 'File "numpy/linalg/_linalg.py"'),
        ("from numpy import nothing", "(numpy/__init__.py)"),
        (
            "import sys\nsys.path.insert(0, '.')\nopen('own.py', 'w').write('1 / 0')\nimport own",
            'File "own.py", line 1',
        ),
    ],
)
def test_a_traceback_shows_no_path_of_the_host(code: str, told: str, run: Run) -> None:
    """Libraries and files of the code stand in it by their names."""
    error = run(code)["error"]
    assert told in error["traceback"]
    for text in (error["message"], error["traceback"]):
        assert not re.search(r"(?<![\w.])/\w", text), text


def test_what_its_schema_says_is_there_is(tool_runner: ToolRunner, run: Run) -> None:
    """The libraries that a model is told of."""
    schema = tool_runner.registry.plugin("python").manifest.input_schema
    assert schema is not None
    assert "NumPy and Pillow" in schema["description"]
    assert run("import numpy, PIL.Image\nPIL.Image.__name__")["value"] == "PIL.Image"


@pytest.mark.parametrize(
    ("code", "kind", "line", "message"),
    [
        (f"class E(Exception):\n    __str__ = {RAISES}\nraise E", "E", 3, "SystemExit"),
        ("class E(SyntaxError):\n    lineno = object()\nraise E('x')", "E", None, "x"),
        (
            f"class E(SyntaxError):\n    lineno = property({RAISES})\nraise E('x')",
            "E",
            3,
            "SystemExit",
        ),
        (
            f"class E(SystemExit):\n    code = property({RAISES})\nraise E('x')",
            "E",
            None,
            "SystemExit",
        ),
        (f"{LIAR}class E(Exception, metaclass=M): pass\nraise E('x')", "E", 4, "x"),
    ],
)
def test_an_exception_that_lies_of_itself_is_an_answer(
    code: str, kind: str, line: int | None, message: str, run: Run
) -> None:
    """Whatever its own code raises when it is looked at."""
    error = run(code)["error"]
    assert (error["type"], error["line"]) == (kind, line)
    assert message in error["message"]


def test_a_stream_that_cannot_be_flushed_is_let_be(run: Run) -> None:
    """The code may have put anything in its place."""
    code = f"import sys\nclass S:\n    flush = {RAISES}\nsys.stdout = S()\n1"
    assert run(code)["value"] == 1


def test_a_crash_is_the_codes_and_suspends_nothing(host_layers: Layers, tmp_path: Path) -> None:
    """One caller's code takes the plugin from no other; a plugin that cannot be loaded does."""
    allowed = {"allow_bundled": ("python",), "breaker_failures": 1, "state": tmp_path}
    settings = Settings.load().model_copy(update=allowed)
    registry = PluginRegistry.discover(settings=settings)
    sandbox = build_sandbox(settings, layers=host_layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as runner:
        for _ in range(2):
            _, error = runner.run("python", {"code": "import os\nos._exit(0)"})
            assert error is not None
            assert error["error"]["type"] == "PluginCrashed"
        assert runner.run("python", {"code": "1 + 1"})[0]["value"] == 2
    plugin = registry.plugin("python")
    no_load = GovernedError(ErrorType.PLUGIN_LOAD_ERROR, "no module")
    assert verdict_of(no_load, plugin) is Verdict.FAILED
    crash = GovernedError(ErrorType.PLUGIN_CRASHED, "died")
    assert verdict_of(crash, plugin) is Verdict.NONE
    of_the_operator = replace(plugin, path=tmp_path / "python.py")
    assert verdict_of(crash, of_the_operator) is Verdict.FAILED


def test_files_come_in_and_go_out(run: Run) -> None:
    """What is given stays as it is unless it is written; what is written is an artifact."""
    call = Call()
    answer = run(
        "import os\n"
        "open('b.txt', 'w').write(open('a.txt').read() + 'two')\n"
        "os.mkdir('deep')\n"
        "open('deep/c.bin', 'wb').write(open('d.bin', 'rb').read()[::-1])\n"
        "open('e.txt', 'w').write('new')\n"
        "os.symlink('/etc/passwd', 'link')\n"
        "open('ü.txt', 'w').close()\n"
        "os.chdir('/')\n",
        handle=call,
        files=[
            {"name": "a.txt", "text": "one"},
            {"name": "d.bin", "data": base64.b64encode(b"\x00\x01").decode()},
            {"name": "e.txt", "text": "old"},
        ],
    )
    assert {one.name: bytes(one.data) for one in call.artifacts} == {
        "b.txt": b"onetwo",
        "c.bin": b"\x01\x00",
        "e.txt": b"new",
        "file.txt": b"",
    }
    names = [one["artifact"] for one in answer["files"]]
    assert names == ["b.txt", "c.bin", "e.txt", "file.txt"]
    assert answer["paths"] == ["b.txt", "deep/c.bin", "e.txt", "ü.txt"]
    assert answer["left_out"] == []


def test_a_picture_is_an_artifact(run: Run) -> None:
    """As in every plugin's result."""
    call = Call()
    answer = run("from PIL import Image\nImage.new('RGB', (2, 2))", handle=call)
    assert answer["value"]["artifact"] == "value.png"
    assert call.artifacts[0].data.startswith(b"\x89PNG")


def test_more_files_than_fit_are_named(run: Run) -> None:
    """The first by name are given back."""
    answer = run("for n in range(70):\n    open(f'{n:02}', 'w').write('x')")
    assert len(answer["files"]) == 64
    assert answer["left_out"] == ["64", "65", "66", "67", "68", "69"]


@pytest.mark.parametrize(
    "file",
    [
        {"name": "../a", "text": ""},
        {"name": "a/b", "text": ""},
        {"name": ".a", "text": ""},
        {"name": "", "text": ""},
        {"name": "a\n", "text": ""},
        {"name": "a" * 201, "text": ""},
        {"name": "a"},
        {"name": "a", "text": "", "data": ""},
        {"name": "a", "data": "%"},
    ],
)
def test_a_file_that_is_none_is_refused(file: dict[str, str], tool_runner: ToolRunner) -> None:
    """Before anything runs: the caller is told which."""
    _, error = tool_runner.run("python", {"code": "print(1)", "files": [file]})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"
    twice = [{"name": "a", "text": ""}, {"name": "a", "text": ""}]
    _, error = tool_runner.run("python", {"code": "", "files": twice})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os\nos.abort()", "PluginCrashed"),
        ("x = 'x' * 2 ** 34", "MemoryLimitExceeded"),
        ("open('a', 'wb').write(bytes(64 << 20))\n" * 40, "DiskLimitExceeded"),
    ],
)
def test_what_passes_a_limit_is_the_calls_end(
    code: str, kind: str, tool_runner: ToolRunner
) -> None:
    """As with every plugin, and the next call is none the worse."""
    _, error = tool_runner.run("python", {"code": code})
    assert error is not None
    assert error["error"]["type"] == kind
    assert tool_runner.run("python", {"code": "1 + 1"})[0]["value"] == 2


def test_calls_know_nothing_of_each_other(run: Run) -> None:
    """What one has changed, the next does not see."""
    run("import builtins, numpy\nbuiltins.kept = numpy.kept = 1\nopen('kept', 'w')")
    seen = "[hasattr(builtins, 'kept'), hasattr(numpy, 'kept'), os.listdir()]"
    assert run(f"import builtins, numpy, os\n{seen}")["value"] == [False, False, []]
