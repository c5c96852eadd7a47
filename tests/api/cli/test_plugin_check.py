"""What ``toolrunner plugins check`` measures and advises: by real calls, and never believed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin
from toolrunner.api.cli.advice import advise, memory_to_set
from toolrunner.api.cli.examined import examined
from toolrunner.api.cli.measuring import Measured
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.start_mode import Start

# Slow enough for what is won to be more than what a busy host takes.
THREAD = """
import threading
import time
time.sleep(0.5)
threading.Thread(target=threading.Event().wait, daemon=True).start()

def run(payload):
    return {"fine": True}
"""
LAZY = """
import time
READY = []

def run(payload):
    if not READY:
        import colorsys
        time.sleep(0.5)
        READY.append(1)
    return {"fine": True}
"""
EXAMPLE = '{ type = "object", examples = [{ a = 1 }] }'
FOUND: dict[str, Any] = {
    "load_ms": 1.0,
    "loading": {
        "modules": 2, "ms": 0.5, "packages": [{"name": "numpy", "modules": 2, "ms": 0.5}],
    },
    "warm_up_ms": 0.0,
    "has_warm_up": False,
    "left": [{"kind": "thread", "name": "helper", "by": "numpy"}],
    "first_ms": 2.0,
    "second_ms": 1.0,
    "calling": {"modules": 0, "ms": 0.0, "packages": []},
    "libraries": ["numpy"],
}  # fmt: skip


def report_of(cli: Cli, path: Path, **environment: str) -> dict[str, Any]:
    """Return what the check of a plugin reports."""
    [report] = cli("plugins", "check", path, "--json", **environment).documents
    assert report["error"] is None, report["error"]
    found: dict[str, Any] = report
    return found


def test_check_says_first_how_calls_start_and_what_to_say(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """A plugin that a thread of its import makes cold; what it advises then makes it warm."""
    path = write_plugin(THREAD)
    report = report_of(cli, path)
    if any("no Landlock" in reason for reason in report["start"]["reasons"]):
        pytest.skip("this kernel has no Landlock of ABI 6: every call is cold")
    assert report["start"]["mode"] == "cold"
    assert "threads (1" in report["start"]["reasons"][0]
    assert set(report["measured"]["p50_ms"]) == {"cold", "warm", "resident"}
    assert 'say start = "warm"' in report["advice"][0]
    lines = cli("plugins", "check", path).out.splitlines()
    assert lines[1].startswith("  calls start cold: each loads the plugin anew; its import starts")
    advised = report_of(cli, write_plugin(THREAD, start='"warm"'))
    assert advised["start"] == {"mode": "warm", "reasons": []}
    assert not any('say start = "warm"' in words for words in advised["advice"])


def test_the_time_of_a_call_is_what_its_caller_waits(cli: Cli, write_plugin: WritePlugin) -> None:
    """A cold call's has the load in it, whatever ``run`` itself takes."""
    report = report_of(cli, write_plugin(THREAD, start='"cold"'))
    [runs] = [step for step in report["steps"] if step["name"] == "runs"]
    waited, _, rest = runs["detail"].rpartition(": ")[2].partition(" ms, ")
    assert int(waited) >= 500
    assert rest.endswith(" of them in run")
    assert int(rest.split()[0]) < 500
    assert report["measured"]["p50_ms"]["cold"] >= 500


def test_check_tells_of_what_a_first_call_does(cli: Cli, write_plugin: WritePlugin) -> None:
    """Its imports by name; with ``warm_up = true``, as it says, there is nothing left to advise."""
    report = report_of(cli, write_plugin(LAZY, input_schema=EXAMPLE))
    within = report["measured"]["examined"]
    assert within["first_ms"] >= 500 > within["second_ms"]
    assert [one["name"] for one in within["calling"]["packages"]] == ["colorsys"]
    [advice] = [words for words in report["advice"] if "warm_up" in words]
    assert "or say warm_up = true" in advice
    assert "it imports 1 module (colorsys)" in advice
    advised = report_of(cli, write_plugin(LAZY, input_schema=EXAMPLE, warm_up="true"))
    assert not any("warm_up" in words for words in advised["advice"])
    own = LAZY + "\ndef warm_up():\n    run({})\n"
    assert not any("warm_up" in words for words in report_of(cli, write_plugin(own))["advice"])


def test_check_names_what_an_import_leaves_and_whose_it_is(cli: Cli, tmp_path: Path) -> None:
    """Threads, descriptors and files, by the package that has made them."""
    folder = tmp_path / "leaves"
    folder.mkdir()
    tmp_path.chmod(0o755)
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "leaves"\ninput = "json"\nentry = "main:run"\n'
    )
    (folder / "main.py").write_text("import untidy\ndef run(payload):\n    return {}\n")
    (folder / "untidy.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "kept = open(__file__)\nopen('cache', 'w').close()\n"
    )
    report = report_of(cli, folder)
    if not report["measured"]["examined"]["left"][1:]:
        pytest.skip("without a mount namespace (CLONE_NEWNS) a box has no /proc to look at")
    left = {(one["kind"], one["by"]) for one in report["measured"]["examined"]["left"]}
    assert left == {("thread", "untidy"), ("descriptor", "untidy"), ("file", "untidy")}
    assert "(untidy)" in cli("plugins", "check", folder).out


def test_libraries_of_the_runner_that_no_dependency_names_are_advised(
    cli: Cli, tmp_path: Path
) -> None:
    """Whatever way its own code imports them, and not its own modules, nor what others import."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "sample"
    folder.mkdir()
    manifest = '[tool.toolrunner]\nname = "sample"\ninput = "json"\nentry = "main:run"\n'
    (folder / "toolrunner.toml").write_text(manifest)
    (folder / "attr.py").write_text("")  # by the name of a module of attrs
    (folder / "own.py").write_text(
        "import importlib\nimportlib.import_module('numpy')\nfrom PIL import Image\n"
    )
    (folder / "main.py").write_text(
        "import json, attr\ndef run(payload):\n    import own\n    return {}\n"
    )
    [named, *_] = report_of(cli, folder)["advice"]
    assert named.startswith('write dependencies = ["numpy", "pillow"] in the manifest: ')
    all_named = f'dependencies = ["pillow>=11", "numpy"]\n{manifest}'
    (folder / "toolrunner.toml").write_text(all_named)
    assert not any("dependencies" in words for words in report_of(cli, folder)["advice"])


@pytest.mark.parametrize("held_mb", [136, 250, 700])
def test_the_memory_that_check_advises_is_enough(
    held_mb: int, cli: Cli, write_plugin: WritePlugin
) -> None:
    """For a plugin near its limit, and for one that is ended by it."""
    body = f"""
    KEPT = bytearray({held_mb} << 20)
    for place in range(0, len(KEPT), 4096):
        KEPT[place] = 1
    def run(payload):
        return {{}}
    """
    ended = cli("plugins", "check", write_plugin(body, limits="{ memory_mb = 160 }"), "--json")
    [report] = ended.documents
    assert report["ok"] == (held_mb < 160)
    [advice] = [words for words in report["advice"] if "memory_mb" in words]
    advised = advice.partition("set memory_mb to ")[2].partition(":")[0]
    assert int(advised) % 64 == 0
    ended = cli("plugins", "check", write_plugin(body, limits=f"{{ memory_mb = {advised} }}"))
    assert ended.status == 0
    assert "memory_mb" not in ended.out


HOSTILE = """
import sys

frame = sys._getframe()
while "Examination" not in frame.f_globals:
    frame = frame.f_back
    if frame is None:
        break
else:
    known = frame.f_globals["Examination"].of

    def lie(self, payload, context):
        found = known(self, payload, context)
        {lie}
        return found

    frame.f_globals["Examination"].of = lie

def run(payload):
    return {{"fine": True}}
"""


@pytest.mark.parametrize(
    "lie",
    [
        'found["left"] = [{"kind": "thread", "name": "\\x1b[31mred\\n", "by": "\\u202ex"}]',
        'found["left"] = [{"kind": "thread", "name": "x" * 10_000_000, "by": ""}]',
        'found["load_ms"] = 1e300',
        'found["calling"]["packages"] *= 100_000',
        'found["libraries"] = ["\\x1b[31mred", "numpy", "\\u202ex"]',
        'found["more"] = {}',
        'found = {"modules": []}',
        'sys.stdout.write("\\x1b[31m" * 1000)',
        "raise ValueError('\\x1b[31m')",
        "import os; os._exit(3)",
    ],
)
def test_what_a_plugin_tells_of_itself_harms_nobody(
    lie: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """It shares the process that examines it: its words are bounded, cleaned or left out."""
    path = write_plugin(HOSTILE.format(lie=lie))
    for options in ((), ("--json",)):
        ended = cli("plugins", "check", path, *options)
        assert ended.status == 0
        assert len(ended.out) < 20_000
        assert not set("\x1b\u202e\r") & set(ended.out)


@pytest.mark.parametrize(
    "change",
    [
        {"load_ms": -1.0},
        {"load_ms": float("nan")},
        {"first_ms": "1"},
        {"left": [{"kind": "ghost", "name": "", "by": ""}]},
        {"left": FOUND["left"] * 13},
        {"has_warm_up": 1},
        {"calling": None},
        {"libraries": ["x"] * 41},
        {"more": 1},
    ],
)
def test_words_of_another_shape_count_for_nothing(change: dict[str, Any]) -> None:
    """What is as it has to be is taken."""
    assert examined(FOUND) is not None
    assert examined({**FOUND, **change}) is None


@pytest.mark.parametrize("no_object", [None, [], "x", 3])
def test_what_is_no_object_counts_for_nothing(no_object: object) -> None:
    """Whatever else a reply can be."""
    assert examined(no_object) is None


def test_a_resident_is_advised_where_nothing_else_helps() -> None:
    """And what stands in the manifest, or is fast already, is not advised again."""
    slow, fast = {"cold": 300.0, "resident": 5.0}, {"cold": 300.0, "warm": 4.0, "resident": 3.5}
    cold = Start("cold", ("its import maps writable shared memory (1)",))
    manifest = Manifest(name="sample", input="json")
    [words] = advise(manifest, cold, Measured(slow, memory_mb=512))
    assert 'say start = "resident", and have the operator add sample to allow_resident' in words
    asks = Manifest(name="sample", input="json", start="resident")
    [words] = advise(asks, cold, Measured(slow, memory_mb=512))
    assert words.startswith("have the operator add sample to allow_resident: 5.0 ms")
    assert advise(manifest, Start("warm"), Measured(fast, memory_mb=512)) == ()
    chosen = Manifest(name="sample", input="json", start="cold")
    assert advise(chosen, Start("cold"), Measured(fast, memory_mb=512)) == ()


def test_more_memory_than_the_limit_is_told_as_what_ends_calls() -> None:
    """Though the calls that were measured have passed: no watch sees all that is held."""
    manifest = Manifest(name="sample", input="json")
    said = [advise(manifest, Start("warm"), Measured({}, None, 4.0, mb)) for mb in (1, 4, 64)]
    assert ["any call may be ended" in " ".join(words) for words in said] == [True, False, False]
    assert [len(words) for words in said] == [1, 1, 0]


def test_memory_is_advised_with_room_and_in_steps() -> None:
    """As people write it."""
    assert [memory_to_set(mb) for mb in (10, 500, 512, 513)] == [64, 640, 640, 704]


def test_check_imports_no_plugin_code(write_plugin: WritePlugin, tmp_path: Path) -> None:
    """Whatever it measures is measured in the sandbox."""
    marker = tmp_path / "imported"
    path = write_plugin(f"open({str(marker)!r}, 'w')\ndef run(payload):\n    return {{}}\n")
    command = [sys.executable, "-P", "-m", "toolrunner", "plugins", "check", str(path)]
    subprocess.run(command, check=False, capture_output=True)
    assert not marker.exists()


FILES = """
from pathlib import Path

def run(payload, context):
    Path("b.txt").write_text("text")
    return {"a": context.artifact("a.txt", b"text"), "b": Path("b.txt")}
"""


def test_each_call_that_is_measured_finds_its_scratch_empty(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """As each call of its own does, also if the one before has gone elsewhere."""
    body = """
    import os
    def run(payload):
        os.mkdir("d")
        open("d/a.txt", "x").close()
        os.chdir("d")
        return {}
    """
    report = report_of(cli, write_plugin(body, input_schema=EXAMPLE))
    assert report["measured"]["examined"]["second_ms"] > 0
    assert report["measured"]["missed"] == []


@pytest.mark.parametrize("warm_up", ["true", "false"])
def test_files_that_a_plugin_gives_back_are_nobodys_when_it_is_measured(
    warm_up: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """It is called twice in one process, and gives back the same names."""
    report = report_of(cli, write_plugin(FILES, input_schema=EXAMPLE, warm_up=warm_up))
    assert report["ok"], report
    assert report["measured"]["examined"]["second_ms"] > 0
    assert report["measured"]["missed"] == []


def test_a_misspelled_keyword_of_a_schema_is_noted(cli: Cli, write_plugin: WritePlugin) -> None:
    """It would check nothing. Names of properties, and words of somebody's own, are no keywords."""
    path = write_plugin(
        "def run(payload):\n    return {}\n",
        input_schema='{ requires = ["a"], examples = [{ a = 1, requires = 1 }], x-own = 1, '
        'properties = { requires = { minimun = 0 }, b = { items = { tpye = "string" } } } }',
        output_schema="{ propertys = {} }",
    )
    assert report_of(cli, path)["notes"] == [
        f'"{word}" in its {field} is no keyword of JSON Schema, and has no effect; did you mean '
        f"{keyword}?"
        for word, field, keyword in (
            ("requires", "input_schema", "required"),
            ("tpye", "input_schema", "type"),
            ("minimun", "input_schema", "minimum"),
            ("propertys", "output_schema", "properties"),
        )
    ]
