"""Every plugin goes through ``ToolRunner.run`` and is counted once; nothing else can run one."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toolrunner.runner.tool_runner
from tests.conftest import WritePlugin, needs_processor_time
from toolrunner import PluginRegistry, ToolRunner

ROOT = Path(toolrunner.runner.tool_runner.__file__).parent.parent
PACKAGES = ("api", "runner", "plugins", "sandbox", "scripts")
WORKER = "sandbox/inside/worker.py"
SAMPLE = ROOT / "plugins/bundled/samples/coffee-label.jpg"
BUNDLED = sorted(
    path.stem.replace("_", "-")
    for path in (ROOT / "plugins/bundled").glob("*.py")
    if path.stem != "__init__"
)


class RecordingRegistry(PluginRegistry):
    """A registry that keeps what it was told of each call's end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.ended: list[tuple[str, str, bool]] = []

    def mark_running(self, name: str) -> None:
        """Note a call's beginning."""
        self.begun.append(name)
        super().mark_running(name)

    def update_execution_metrics(
        self, plugin_name: str, state: str, elapsed_ms: int, had_error: bool
    ) -> None:
        """Note a call's end."""
        assert type(elapsed_ms) is int
        assert elapsed_ms >= 0
        self.ended.append((plugin_name, state, had_error))
        super().update_execution_metrics(plugin_name, state, elapsed_ms, had_error)


def good_payload(name: str) -> dict[str, Any]:
    """Return a payload that a bundled plugin takes."""
    if name == "text-stats":
        return {"text": "The cat sat on the mat."}
    return {"image": SAMPLE.read_bytes(), "mime_type": "image/jpeg"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_processor_time(20) if name == "ocr" else ())
        for name in BUNDLED
    ],
)
def test_a_bundled_plugin_is_recorded_exactly_once(name: str) -> None:
    """It works, or says why it cannot here; either way there is one record of the call."""
    registry = RecordingRegistry.discover()
    available = registry.is_available(name)
    with ToolRunner(registry) as tool_runner:
        result, envelope = tool_runner.run(name, good_payload(name))
    if available:
        assert envelope is None
        assert registry.ended == [(name, "INITIALIZED", False)]
        json.dumps(result, allow_nan=False)
    else:
        assert envelope is not None
        assert envelope["error"]["type"] == "PluginUnavailable"
        assert [(plugin, failed) for plugin, _state, failed in registry.ended] == [(name, True)]
        assert registry.get_state(name) == "UNAVAILABLE"
    assert registry.begun == [name]


def test_every_kind_of_discovered_plugin_is_recorded_exactly_once(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Files, folders, broken ones and those that fail at any stage: one call, one record."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "in-folder"\nversion = "1"\ndescription = "d"\n'
        'input = "json"\nentry = "code:go"\n'
    )
    (folder / "code.py").write_text("def go(payload): return {'from': 'folder'}\n")
    expected = {
        "good": "def run(p): return {}",
        "raises": "def run(p): 1 / 0",
        "crashes": "import os\ndef run(p): os.abort()",
        "unloadable": "raise ImportError('no')",
        "wordless": "def run(p): pass",
    }
    paths = [write_plugin(body, name=name) for name, body in expected.items()]
    broken = tmp_path / "broken.py"
    broken.write_text("# /// script\n# [tool.toolrunner]\n# name = 7\n# ///\n")
    registry = RecordingRegistry.discover([*paths, folder, broken])
    own = sorted(set(registry.list_plugins()) - set(BUNDLED))
    assert {*expected, "in-folder"} <= set(own)
    assert len(own) == len(expected) + 2
    with ToolRunner(registry) as tool_runner:
        answers = {name: tool_runner.run(name, {}) for name in own}
    assert [name for name, _state, _error in registry.ended] == own
    assert registry.begun == own
    for name, (result, error) in answers.items():
        status = registry.get_status(name)
        assert status is not None
        assert status.success_count == (error is None)
        assert status.error_count == (result is None)
        assert status.in_flight == 0
    assert answers["in-folder"] == ({"from": "folder"}, None)


@pytest.mark.parametrize(
    ("name", "payload"), [("nobody", {}), ("sample", None), ("sample", {"x": object()}), (None, {})]
)
def test_a_call_that_never_starts_is_reported_once_too(
    name: Any, payload: Any, write_plugin: WritePlugin
) -> None:
    """Look-up and validation stand under the same ``finally`` as everything else."""
    registry = RecordingRegistry.discover([write_plugin("def run(p): return {}")])
    with ToolRunner(registry) as tool_runner:
        _result, envelope = tool_runner.run(name, payload)
    assert envelope is not None
    assert [(plugin, failed) for plugin, _state, failed in registry.ended] == [(name or "", True)]


# --- from the source ------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the project with its syntax tree."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            yield relative, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def last_name(node: ast.expr) -> str:
    """Return the name by which an expression is read: "plugin" for ``self.plugin`` too."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
            return last_name(inner)
    return ""


def reaches_for_run(node: ast.AST) -> bool:
    """Tell whether a node takes ``run`` from something called a plugin, called at once or not."""
    if isinstance(node, ast.Attribute) and node.attr == "run":
        return "plugin" in last_name(node.value).lower()
    return (
        isinstance(node, ast.Call)
        and last_name(node.func) in {"getattr", "attrgetter", "methodcaller"}
        and any(isinstance(a, ast.Constant) and a.value == "run" for a in node.args)
    )


def only_asked(tree: ast.Module) -> set[ast.expr]:
    """Return what stands in a ``callable(…)``, which looks and does not call."""
    return {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and last_name(node.func) == "callable"
        for argument in node.args
    }


def users_of_run(trees: Iterator[tuple[str, ast.Module]]) -> set[str]:
    """Return the modules that reach for a plugin's ``run``."""
    return {
        name
        for name, tree in trees
        if any(map(reaches_for_run, set(ast.walk(tree)) - only_asked(tree)))
    }


def test_only_the_worker_reaches_for_a_plugins_run() -> None:
    """The file that runs inside the sandbox, and no other, by any spelling."""
    assert users_of_run(sources()) == {WORKER}


@pytest.mark.parametrize(
    "source",
    [
        "plugin.run(payload)",
        "self.plugin.run(payload)",
        "f = plugin.run",
        "async def f(): await plugin.run(payload)",
        "plugins['a'].run(payload)",
        "registry.get_plugin(name).run(payload)",
        "getattr(plugin, 'run')(payload)",
        "operator.methodcaller('run', payload)(it)",
        "the_plugin.run(*a, **k)",
    ],
)
def test_the_search_is_not_fooled_by_spelling(source: str) -> None:
    """What it looks for is found behind aliases, attributes and calls."""
    assert users_of_run(iter([("file", ast.parse(source))])) == {"file"}


@pytest.mark.parametrize(
    "source",
    [
        "tool_runner.run(name, payload)",
        "subprocess.run(plugin)",
        "'plugin.run('",
        "callable(getattr(cls, 'run', None))",
    ],
)
def test_the_search_finds_nothing_where_nothing_is(source: str) -> None:
    """ToolRunner's own ``run`` is the way to call one."""
    assert users_of_run(iter([("file", ast.parse(source))])) == set()


def run_method() -> ast.FunctionDef:
    """Return the source of ``ToolRunner.run``."""
    tree = ast.parse(Path(toolrunner.runner.tool_runner.__file__).read_text(encoding="utf-8"))
    (owner,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ToolRunner")
    (method,) = (n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    return method


def test_run_is_a_plain_method_with_the_agreed_parameters() -> None:
    """``run(self, plugin_name, payload, *, call=None)``."""
    arguments = run_method().args
    assert [a.arg for a in arguments.args] == ["self", "plugin_name", "payload"]
    assert [a.arg for a in arguments.kwonlyargs] == ["call"]
    assert run_method().decorator_list == []


def test_every_call_is_recorded_in_the_one_finally() -> None:
    """One ``try``, and the record is a statement of its ``finally``, not of something nested."""
    method = run_method()
    tries = [n for n in ast.walk(method) if isinstance(n, ast.Try)]
    assert len(tries) == 1
    assert tries[0] in method.body
    calls = [
        last_name(statement.value.func)
        for statement in tries[0].finalbody
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    assert calls == ["update_execution_metrics"]
    assert not any(isinstance(n, ast.Return) for s in tries[0].body for n in ast.walk(s))
    recorders = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and last_name(node.func) == "update_execution_metrics"
    }
    assert recorders == {"runner/tool_runner.py"}
