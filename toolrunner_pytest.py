"""The pytest plugin of Toolrunner: authors test their plugins under the real sandbox.

    def test_it_counts(governed):
        assert governed("plugins/counter.py", {"text": "a b"}).result == {"words": 2}

    def test_it_fails_well_when_memory_is_short(governed):
        assert governed("plugins/counter.py", {"text": "a b"}, inject="oom").is_a_limit

Loaded by pytest wherever toolrunner-sandbox is installed (entry point ``pytest11``). It imports
nothing of Toolrunner and runs its console script, so that folders named ``plugins``, ``runner`` or
``api`` in an author's repository are never mistaken for Toolrunner's.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

INJECTIONS = ("slow", "oom", "crash", "no_network")
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")  # as PEP 723 has it
_NETWORK = re.compile(r"(?m)^(#?\s*network\s*=\s*)true\b")
_FOLDER_MANIFEST = "toolrunner.toml"
_HOST_FAULT = 3  # the exit status

# Put behind a copy of the plugin, whose entry it wraps. The worker sees the signature through it.
_WRAPPER = """

def _injected(run):
    import functools
    import os
    import signal
    import time

    @functools.wraps(run)
    def crash(*arguments, **named):
        run(*arguments, **named)
        os.kill(os.getpid(), signal.SIGSEGV)

    @functools.wraps(run)
    def slow(*arguments, **named):
        runner = os.getpid()
        brake = os.fork()
        if brake == 0:
            while os.getppid() == runner:
                os.kill(runner, signal.SIGSTOP)
                time.sleep(0.009)
                os.kill(runner, signal.SIGCONT)
                time.sleep(0.001)
            os._exit(0)
        try:
            return run(*arguments, **named)
        finally:
            os.kill(brake, signal.SIGKILL)
            os.waitpid(brake, 0)

    return {kind}
"""
_WRAP_ENTRY = """

{name} = _injected({name}) if not isinstance({name}, type) else {name}
if isinstance({name}, type):
    {name}.run = _injected({name}.run)
"""


class GovernedCallError(AssertionError):
    """A call failed that had to succeed; the message says how."""


@dataclass(frozen=True)
class Outcome:
    """What came of one governed call: ``result``, or ``error`` as the HTTP API would show it.

    ``usage``: wall_ms, cpu_ms, peak_memory_bytes, processes and others. ``isolation``: the layers
    that confined it. ``log``: what the plugin and the command wrote.
    """

    plugin: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    usage: dict[str, Any] = field(default_factory=dict, repr=False)
    isolation: dict[str, Any] = field(default_factory=dict, repr=False)
    log: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the plugin gave a result."""
        return self.error is None

    @property
    def error_type(self) -> str | None:
        """Such as "MemoryLimitExceeded"; ``None`` for a result."""
        return None if self.error is None else str(self.error["type"])

    @property
    def is_a_limit(self) -> bool:
        """Whether a limit ended the call."""
        return bool(self.error_type and self.error_type.endswith("LimitExceeded"))

    def unwrap(self) -> dict[str, Any]:
        """Return the result; fail the test with the whole story when there is none."""
        __tracebackhide__ = True
        if self.result is not None:
            return self.result
        assert self.error is not None
        story = f"{self.plugin}: {self.error['type']}: {self.error['message']}"
        raise GovernedCallError(f"{story}\n{self.log}".rstrip())


Governed = Callable[..., Outcome]


@pytest.fixture
def governed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Return a function that runs a plugin once under Toolrunner's sandbox.

    ``governed(plugin, payload={}, *, limits={}, inject=())`` returns an ``Outcome``. ``plugin``: a
    file or folder, relative to pytest's rootdir, or the name of an installed plugin. ``payload``:
    JSON; ``image`` may be bytes. ``limits``: lower the manifest's for this call. ``inject``: one or
    several of

    - "slow": the plugin gets a tenth of the processor's time, as on an overloaded host;
    - "oom": it gets half of the memory that the same call has used just before;
    - "crash": its process dies by SIGSEGV when ``run`` has done its work and the reply is due;
    - "no_network": ``network = false``, whatever its manifest asks for.

    A host that cannot run plugins fails the test: nothing is skipped.
    """
    folder = tmp_path_factory.mktemp("governed")
    numbers = itertools.count()

    def run(
        plugin: str | os.PathLike[str],
        payload: Mapping[str, Any] | None = None,
        *,
        limits: Mapping[str, float] | None = None,
        inject: str | Sequence[str] = (),
    ) -> Outcome:
        kinds = (inject,) if isinstance(inject, str) else tuple(inject)
        for kind in kinds:
            if kind not in INJECTIONS:
                raise ValueError(f"there is no injection {kind!r}; use {', '.join(INJECTIONS)}")
        found = _Plugin.find(plugin, request.config.rootpath)
        caps = dict(limits or {})
        if "oom" in kinds:
            before = _call(found, payload or {}, caps, folder)
            used = before.usage.get("peak_memory_bytes", 0)
            caps["memory_mb"] = max(1, int(used) // 2 >> 20)
        changed = found.injected(kinds, folder / str(next(numbers)))
        return _call(changed, payload or {}, caps, folder)

    return run


@dataclass(frozen=True)
class _Plugin:
    """A plugin to call: ``path`` is ``None`` for one that is installed."""

    name: str
    path: Path | None
    manifest: Mapping[str, Any]

    @classmethod
    def find(cls, plugin: str | os.PathLike[str], root: Path) -> _Plugin:
        """Find it by its path, else take it for a name."""
        path = root / plugin
        if path.is_dir():
            text = (path / _FOLDER_MANIFEST).read_text("utf-8")
        elif path.is_file():
            blocks = list(_BLOCK.finditer(path.read_text("utf-8")))
            lines = blocks[0]["content"].splitlines() if blocks else []
            text = "\n".join(line[2:] for line in lines)
        elif isinstance(plugin, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", plugin):
            return cls(plugin, None, {})
        else:
            raise FileNotFoundError(f"there is no plugin at {path}: a path is taken from {root}")
        try:
            manifest = tomllib.loads(text)["tool"]["toolrunner"]
            return cls(str(manifest["name"]), path.resolve(), manifest)
        except (KeyError, TypeError, tomllib.TOMLDecodeError):
            words = (
                f"{path} has no manifest; `toolrunner plugins check {path}` says what is missing"
            )
            raise ValueError(words) from None

    def injected(self, kinds: Sequence[str], folder: Path) -> _Plugin:
        """Return a copy in ``folder`` that behaves as the injections say, or itself."""
        wrapper = next((kind for kind in ("crash", "slow") if kind in kinds), "")
        if not wrapper and "no_network" not in kinds:
            return self
        if self.path is None:
            raise ValueError(
                f"{self.name} is installed: give the path of its file or folder instead"
            )
        folder.mkdir()
        copy = folder / self.path.name
        if self.path.is_dir():
            shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(self.path, copy)
        text = copy if copy.is_file() else copy / _FOLDER_MANIFEST
        manifest = dict(self.manifest)
        if "no_network" in kinds:
            text.write_text(_NETWORK.sub(r"\1false", text.read_text("utf-8")), "utf-8")
            manifest["network"] = False
        if wrapper:
            self._wrap(copy, wrapper)
        return _Plugin(self.name, copy, manifest)

    def _wrap(self, copy: Path, kind: str) -> None:
        """Wrap the entry of a copied plugin, where it is defined."""
        if copy.is_file():
            source = copy
            defined = re.findall(
                r"(?m)^(?:async )?(?:def|class) +(run|Plugin)\b", source.read_text("utf-8")
            )
            names = ["run"] if "run" in defined else ["Plugin"]
        else:
            module, _, entry = str(self.manifest.get("entry", "")).partition(":")
            source = copy.joinpath(*module.split(".")).with_suffix(".py")
            if not source.is_file():
                source = copy.joinpath(*module.split("."), "__init__.py")
            names = [entry]
        added = _WRAPPER.replace("{kind}", kind) + "".join(
            _WRAP_ENTRY.format(name=n) for n in names
        )
        source.write_text(source.read_text("utf-8") + added, "utf-8")


def _call(
    plugin: _Plugin, payload: Mapping[str, Any], caps: Mapping[str, float], folder: Path
) -> Outcome:
    """Run the command once."""
    command = [_command(), "run", plugin.name, "--json", "--debug", "--payload", "-"]
    command += ["--state", str(folder)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    if plugin.path is not None:
        command += ["--plugins", str(plugin.path)]
    if caps:
        environment["TOOLRUNNER_CAPS"] = json.dumps(dict(caps))
    if plugin.manifest.get("network"):
        environment["TOOLRUNNER_ALLOW_NETWORK"] = json.dumps([plugin.name])
    done = subprocess.run(  # noqa: S603 - our own command
        command, input=_json(payload), env=environment, cwd=folder, capture_output=True, check=False
    )
    words = done.stderr.decode("utf-8", "replace")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"toolrunner could not run {plugin.name}:\n{words}", pytrace=False)
    error = answer.get("error")
    if done.returncode == _HOST_FAULT:
        advice = "`toolrunner doctor` says what this host lacks"
        pytest.fail(f"{plugin.name}: {error['type']}: {error['message']}; {advice}", pytrace=False)
    details = answer if error is None else error["details"]
    log = "\n".join(filter(None, (details.get("log_tail", ""), words))).strip()
    return Outcome(
        plugin.name, answer.get("result"), error, details["usage"], details["isolation"], log
    )


def _json(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as JSON text; an image of bytes becomes base64."""
    sent = dict(payload)
    if isinstance(sent.get("image"), bytes):
        sent["image"] = base64.b64encode(sent["image"]).decode("ascii")
    return json.dumps(sent).encode()


def _command() -> str:
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
