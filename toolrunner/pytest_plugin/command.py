"""Runs the console script once, and reads what it answers."""

from __future__ import annotations

import base64
import difflib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from toolrunner.pytest_plugin.outcome import Outcome
from toolrunner.pytest_plugin.plugin_copy import PluginCopy

_HOST_FAULT = 3  # the exit status
# Nothing ran, and not for what a test is about: the plugin, its name or its place is wrong.
LIMITS = (  # those of a manifest: nothing of the product is imported beside a plugin's test
    *("wall_seconds", "load_seconds", "cpu_seconds", "memory_mb", "processes", "threads"),
    *("open_files", "scratch_mb", "payload_mb", "output_mb", "artifacts_mb", "log_kb"),
)
_NOTHING_TO_TEST = ("PluginUnavailable", "PluginNotFound")


def call(plugin: PluginCopy, payload: bytes, caps: Mapping[str, float], folder: Path) -> Outcome:
    """Run the command once."""
    __tracebackhide__ = True
    command = [console_script(), "run", plugin.name, "--json", "--debug", "-v"]
    out = tempfile.mkdtemp(dir=folder)
    command += ["--payload", "-", "--state", str(folder), "--out", out]
    if plugin.path is not None:
        command += ["--plugins", str(plugin.path)]
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        input=payload,
        env=_environment(plugin, caps),
        cwd=folder,
        capture_output=True,
        check=False,
    )
    words = done.stderr.decode("utf-8", "replace")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        # What it says in the end; before it is the traceback that --debug asks for.
        said = words[words.rfind("\ntoolrunner: ") + 1 :]
        pytest.fail(f"toolrunner could not run {plugin.name}:\n{said}", pytrace=False)
    error = answer.get("error")
    if error and (done.returncode == _HOST_FAULT or error["type"] in _NOTHING_TO_TEST):
        pytest.fail(f"{plugin.name}: {error['type']}: {error['message']}", pytrace=False)
    details = answer if error is None else error["details"]
    trace = answer.get("_internal", {}).get("traceback", "")
    log = "\n".join(filter(None, (details.get("log_tail", ""), words, trace))).strip()
    artifacts = {path.name: path.read_bytes() for path in sorted(Path(out).iterdir())}
    usage, isolation = details["usage"], details["isolation"]
    return Outcome(plugin.name, answer.get("result"), error, usage, isolation, log, artifacts)


def _environment(plugin: PluginCopy, caps: Mapping[str, float]) -> dict[str, str]:
    """Return the command's environment, in which what a call asks for wins."""
    own = {f"TOOLRUNNER_CAPS__{name.upper()}": f"{cap:g}" for name, cap in caps.items()}
    if plugin.path is not None:
        own["TOOLRUNNER_PLUGINS"] = ""  # the same plugin again, perhaps
    if plugin.manifest.get("network"):
        own["TOOLRUNNER_ALLOW_NETWORK"] = json.dumps([plugin.name.partition(":")[0]])
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name.upper() not in own
    }
    return kept | own


def check_limits(limits: Mapping[str, float]) -> None:
    """Refuse what is no limit, or no number, before the command says so in its own words."""
    __tracebackhide__ = True
    for name, value in limits.items():
        if name not in LIMITS:
            near = difflib.get_close_matches(str(name), LIMITS, n=1)
            meant = f"did you mean {near[0]!r}? There are" if near else "use"
            raise ValueError(f"there is no limit {name!r}; {meant} {', '.join(LIMITS)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"the limit {name} is a number; this is a {type(value).__name__}")


def payload_json(payload: Mapping[str, Any], root: Path) -> bytes:
    """Return a payload as JSON text; an image or files, of bytes or by Path, become base64."""
    __tracebackhide__ = True
    if not isinstance(payload, Mapping):
        raise TypeError(
            f"a payload is a dict, as a JSON object; this is a {type(payload).__name__}"
        )
    sent = dict(payload)
    image = sent.get("image")
    if isinstance(image, Path):
        image = (root / image).read_bytes()  # its content says what it is, as at every door
    if isinstance(image, bytes):
        sent["image"] = base64.b64encode(image).decode("ascii")
    if isinstance(sent.get("files"), (list, tuple)):
        sent["files"] = [_file(one, root) for one in sent["files"]]
    try:
        return json.dumps(sent).encode()
    except TypeError as error:
        message = (
            f'a payload is what JSON can carry: {error}; bytes and a Path stand in "image" or in '
            '"files" alone'
        )
        raise TypeError(message) from None


def _file(given: object, root: Path) -> object:
    """Return one of a payload's files as JSON has it."""
    if isinstance(given, Path):
        given = {"path": given}
    if not isinstance(given, Mapping):
        return given  # the call says what is wrong with it
    file = dict(given)
    path = file.get("path")
    if isinstance(path, Path):
        file.setdefault("name", path.name)
        file["data"] = (root / file.pop("path")).read_bytes()
    if isinstance(file.get("data"), bytes):
        file["data"] = base64.b64encode(file["data"]).decode("ascii")
    return file


def console_script() -> str:
    """Return the console script: this environment's own, else the one on the PATH."""
    beside = (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent)
    for folder in beside:
        if (folder / "toolrunner").is_file():
            return str(folder / "toolrunner")
    found = shutil.which("toolrunner")
    if found is None:
        pytest.fail(
            f"there is no command toolrunner in {beside[0]} or on the PATH: "
            "pip install toolrunner-sandbox in the environment that runs pytest",
            pytrace=False,
        )
    return found
