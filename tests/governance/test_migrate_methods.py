"""Each way to write a plugin's method, migrated by ``scripts/migrate_phase_12.py`` and then run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner
from tests.governance.migrating import PICTURE, PNG, ROOT, migrate

# Ways to write a method, each with a payload and the result.
METHODS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a coroutine": (
        "class Plugin:\n    async def run(self, payload):\n        return {'a': 1}\n",
        {},
        {"a": 1},
    ),
    "a context": (
        (
            "class OwnPlugin:\n    def run(self, payload, context):\n"
            "        return {'id': len(context.call_id) > 4}\n"
        ),
        {},
        {"id": True},
    ),
    "a context by name": (
        (
            "class OwnPlugin:\n    def run(self, payload, *, context):\n"
            "        return {'id': len(context.call_id) > 4}\n"
        ),
        {},
        {"id": True},
    ),
    "a base class in the file": (
        (
            "class Base:\n    def analyze(self, image_bytes):\n"
            "        return {'n': len(image_bytes)}\n"
            "class OwnPlugin(Base):\n    pass\n"
        ),
        PICTURE,
        {"n": len(PNG)},
    ),
    "an abstract base class in the file": (
        (
            "from abc import ABC, abstractmethod\n"
            "class BasePlugin(ABC):\n    @abstractmethod\n    def run(self, payload): ...\n"
            "class Own(BasePlugin):\n    def run(self, payload):\n        return payload\n"
        ),
        {"x": [1]},
        {"x": [1]},
    ),
    "a static method": (
        (
            "class OwnPlugin:\n    @staticmethod\n    def analyze(image):\n"
            "        return [len(image)]\n"
        ),
        PICTURE,
        {"result": [len(PNG)]},
    ),
    "options by name": (
        (
            "class OwnPlugin:\n"
            "    def analyze(self, image_bytes: bytes, mime_type: str, **options):\n"
            "        return {'type': mime_type, **options}\n"
        ),
        {**PICTURE, "options": {"k": 2}},
        {"type": "image/png", "k": 2},
    ),
    "options by name alone": (
        (
            "class OwnPlugin:\n    def run(self, image: 'bytes', *, options=None, more=3):\n"
            "        return {'options': options, 'more': more}\n"
        ),
        {**PICTURE, "options": {"k": 2}},
        {"options": {"k": 2}, "more": 3},
    ),
    "arguments of a tool by name": (
        (
            "class OwnPlugin:\n    async def run_tool(self, name, **args):\n"
            "        return {'name': name, **args}\n"
        ),
        {"tool": "t", "args": {"a": 1}},
        {"name": "t", "a": 1},
    ),
    "the whole payload by name": (
        "class OwnPlugin:\n    def run(self, **payload):\n        return payload\n",
        {"a": 1},
        {"a": 1},
    ),
    "a tool called by run": (
        (
            "class OwnPlugin:\n    def run(self, tool: str, args: dict):\n"
            "        return {tool: args}\n"
        ),
        {"tool": "t", "args": {"a": 1}},
        {"t": {"a": 1}},
    ),
    "a payload with an image": (
        (
            "class Plugin:\n    def run(self, payload):\n"
            "        return {'n': len(payload['image']), 't': payload.get('mime_type')}\n"
        ),
        PICTURE,
        {"n": len(PNG), "t": "image/png"},
    ),
    "analyze behind run_tool": (
        (
            "class Plugin:\n    tools = {'analyze': {'handler': 'analyze'}}\n"
            "    def run_tool(self, tool, args):\n        return self.analyze(**args)\n"
            "    def analyze(self, image_bytes):\n        return {'n': len(image_bytes)}\n"
        ),
        PICTURE,
        {"n": len(PNG)},
    ),
    "a base class from around the plugin": (
        (
            "from ..base import BasePlugin\n"
            "class Plugin(BasePlugin):\n    def run(self, payload):\n        return payload\n"
        ),
        {"a": 1},
        {"a": 1},
    ),
    "an image after the options": (
        (
            "class OwnPlugin:\n    def analyze(self, options, image_bytes):\n"
            "        return {'options': options, 'n': len(image_bytes)}\n"
        ),
        PICTURE,
        {"options": {}, "n": len(PNG)},
    ),
    "an error and a result of the host": (
        (
            "from app.errors import PluginError\nfrom app.models import Answer as Said\n"
            "class Plugin:\n    def run(self, payload) -> Said:\n"
            "        try:\n            raise PluginError('x')\n"
            "        except PluginError as error:\n"
            "            return Said(text=str(error), more=[1])\n"
        ),
        {},
        {"text": "x", "more": [1]},
    ),
}


@pytest.mark.parametrize("case", METHODS)
def test_each_way_to_write_a_method_works(
    tmp_path: Path, make_runner: MakeRunner, case: str
) -> None:
    """Whatever it takes and whatever it gives."""
    tmp_path.chmod(0o755)
    text, payload, wanted = METHODS[case]
    path = tmp_path / "own.py"
    path.write_text(text)
    ended = migrate(path, "--write")
    assert ended.status == 0, ended.out
    assert make_runner(path).run("own", payload) == (wanted, None), path.read_text()


# An argument as a manifest.json says it, and as JSON Schema.
ARGUMENTS: list[tuple[object, dict[str, Any]]] = [
    ("string", {"type": "string"}),
    ("str", {"type": "string"}),
    ("integer?", {"type": ["integer", "null"]}),
    ("file", {}),
    (None, {}),
    ({"type": "int", "min": 1, "max": 2.5}, {"type": "integer", "minimum": 1, "maximum": 2.5}),
    ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
    ({"type": "string", "default": None, "minLength": -1}, {"type": "string"}),
    ({"type": "string", "pattern": "(", "format": "date"}, {"type": "string", "format": "date"}),
    ({"type": "array", "items": "float"}, {"type": "array", "items": {"type": "number"}}),
    ({"enum": ["a", 1], "title": 3, "widget": "slider"}, {"enum": ["a", 1]}),
    (
        {"type": "object", "properties": {"x": "int"}, "required": ["x", "x", 1]},
        {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    ),
]


@pytest.mark.parametrize(("said", "schema"), ARGUMENTS)
def test_arguments_become_json_schema(
    monkeypatch: pytest.MonkeyPatch, said: object, schema: dict[str, Any]
) -> None:
    """What they mean is kept, and what means nothing is not."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from migration.tools import tools_said

    assert tools_said([{"id": "one", "inputs": {"it": said}}])["one"].properties == {"it": schema}
    assert tools_said({"one": {"parameters": {"it": said}}})["one"].properties == {"it": schema}
