"""Plugins on real libraries, in the process that asks and in boxes: ``tests/libraries/plugins``.

Needs the libraries in this Python: ``scripts/libraries`` makes such an environment. The tests of
these plugins, in ``tests/libraries``, take from here how one is called.
"""

from __future__ import annotations

import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import work
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.plugins.manifest import Manifest, read_inline
from toolrunner.plugins.requirements import missing_requirements
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
PLUGINS = ROOT / "tests/libraries/plugins"
PHOTO = ROOT / "plugins/bundled/samples/coffee-label.jpg"
_FEWEST, _MOST_SECONDS = 5, 2.0  # of calls that are measured, and of time for them
_COLD_CALLS = 2
Figures = dict[str, Any]


def names() -> list[str]:
    """Return the plugins' names, sorted."""
    return sorted(path.stem for path in PLUGINS.glob("*.py"))


def payload_of(manifest: Manifest) -> dict[str, Any]:
    """Return what to call a plugin with: its own example, or a photograph."""
    if manifest.input == "image":
        return {"image": PHOTO.read_bytes(), "mime_type": "image/jpeg"}
    example: dict[str, Any] = (manifest.input_schema or {})["examples"][0]
    return example


def photo(most_bytes: int) -> bytes:
    """Return a photograph as a JPEG file of nearly so many bytes."""
    image = Image.open(PHOTO)
    for quality in range(95, 10, -1):
        file = io.BytesIO()
        image.save(file, "jpeg", quality=quality)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()


def variant(source: str, start: str, undone: Sequence[str] = ()) -> str:
    """Return a plugin's source with another ``start``, and without variables of a box."""
    head, end, body = source.partition("\n# ///\n")
    head = re.sub(r"\n# start = .*", "", head)
    lines = "".join(f"import os; os.environ.pop({name!r}, None)\n" for name in undone)
    return f'{head}\n# start = "{start}"{end}{lines}{body}'


@contextmanager
def runner_of(
    path: Path, start: str, *, layers: Layers | None = None, undone: Sequence[str] = ()
) -> Iterator[tuple[ToolRunner, str]]:
    """Give a runner with one plugin, which may be resident if it wants to, and its name."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy = folder / path.name
        source = path.read_text(encoding="utf-8")
        copy.write_text(variant(source, start, undone), encoding="utf-8")
        settings = Settings(state=folder / "state", allow_resident=("*",))
        registry = PluginRegistry.discover([copy], settings=settings)
        sandbox = Sandbox(layers=layers) if layers is not None else None
        with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
            yield tool_runner, read_inline(copy).name


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """Return the milliseconds of one call after the other, in bounded time."""
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < calls:
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
        if len(taken) >= _FEWEST and time.perf_counter() - begun > _MOST_SECONDS:
            break
    return taken


def in_process(path: Path, calls: int) -> Figures:
    """The plugin called by the program that has loaded it, as one would without a runner."""
    payload = payload_of(read_inline(path))
    if "image" in payload:
        payload["image"] = str(PHOTO)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        source = path.read_text(encoding="utf-8") + work.IN_PROCESS_TAIL
        script.write_text(source, encoding="utf-8")
        command = [sys.executable, str(script), json.dumps([payload, calls, _MOST_SECONDS])]
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return {"mode": "in-process", "ms": statistics.median(json.loads(done.stdout))}


def in_a_box(path: Path, start: str, calls: int) -> Figures:
    """The plugin through ``ToolRunner.run``; without figures where it is cold and was not to be."""
    payload = payload_of(read_inline(path))
    with runner_of(path, start) as (tool_runner, name):
        started = tool_runner.start(name)
        if start != "cold" and started.mode not in {"warm", "resident"}:
            return {"mode": started.mode, "reasons": list(started.reasons), "ms": None}

        def run() -> None:
            call = Call()
            _, error = tool_runner.run(name, payload, call=call)
            assert error is None, error
            assert call.isolation.mode == started.mode, call.isolation

        if start == "cold":
            taken = timed(run, _COLD_CALLS)
        else:
            run()
            taken = timed(run, calls)
    return {"mode": started.mode, "ms": statistics.median(taken)}


def library(name: str, how: str, calls: int) -> Figures | None:
    """One plugin, "in-process", with its "own" or another ``start``; ``None`` if it cannot run."""
    path = PLUGINS / f"{name}.py"
    manifest = read_inline(path)
    if missing_requirements(manifest) is not None:
        return None
    if how == "in-process":
        return in_process(path, calls)
    return in_a_box(path, manifest.start if how == "own" else how, calls)
