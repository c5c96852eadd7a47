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
import mimetypes
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
# Nothing ran, and not for what a test is about: the plugin, its name or its place is wrong.
_NOTHING_TO_TEST = ("PluginUnavailable", "PluginNotFound")

# Put behind a copy of the plugin, whose entry it wraps. The worker sees the signature through it.
_WRAPPER = """

def _injected(found):
    import functools
    import inspect
    import os
    import resource
    import select
    import signal
    import time

    def crash(run):
        @functools.wraps(run)
        def crashing(*arguments, **named):
            run(*arguments, **named)
            os.kill(os.getpid(), signal.SIGSEGV)

        return crashing

    def slow(run):
        @functools.wraps(run)
        def braked(*arguments, **named):
            brake = start_brake(os.getpid())
            try:
                return run(*arguments, **named)
            finally:
                os.close(brake)

        return braked

    def oom(run):
        @functools.wraps(run)
        def starved(*arguments, **named):
            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            # Not 0, for which the kernel takes the hard limit, as a favour to Valgrind.
            resource.setrlimit(resource.RLIMIT_DATA, (1, hard))
            try:
                return run(*arguments, **named)
            finally:
                resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

        return starved

    def start_brake(runner):
        source, sink = os.pipe()
        between = os.fork()
        if between == 0:
            # An orphan brakes: a plugin may wait until it has no children left.
            if os.fork():
                os._exit(0)
            os.close(sink)
            is_over = False
            try:
                # It ends right after SIGCONT, and is never killed: nobody else would send one.
                while not is_over:
                    os.kill(runner, signal.SIGSTOP)
                    time.sleep(0.009)
                    os.kill(runner, signal.SIGCONT)
                    is_over = bool(select.select([source], [], [], 0.001)[0])
            finally:
                os._exit(0)
        os.waitpid(between, 0)
        os.close(source)
        return sink

    def wrapped(run):
        for injection in ({injections},):
            run = injection(run)
        return run

    if not isinstance(found, type) and not callable(getattr(found, "run", None)):
        return wrapped(found)
    kind = type(inspect.getattr_static(found, "run"))
    run = wrapped(found.run)
    found.run = staticmethod(run) if kind in (staticmethod, classmethod) else run
    return found
"""
_WRAP_FILE = """

if callable(globals().get("run")):
    run = _injected(run)
elif "Plugin" in globals():
    Plugin = _injected(Plugin)
"""
_WRAP_ENTRY = """

{name} = _injected({name})
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
    JSON; ``image`` may be bytes, or the Path of a file. ``limits``: lower the manifest's for this
    call. ``inject``: one or several of

    - "slow": the plugin gets a tenth of the processor's time, as on an overloaded host; what does
      this counts as one of its processes, two at first;
    - "oom": from when ``run`` begins the kernel gives it no more memory (RLIMIT_DATA, as behind
      ``memory_mb``): what it allocates is a MemoryError, unless it fits into what it has;
    - "crash": its process dies by SIGSEGV when ``run`` has done its work and the reply is due;
    - "no_network": ``network = false``, whatever its manifest asks for.

    A plugin that cannot run at all fails the test, and so does such a host: nothing is skipped.
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
        root = request.config.rootpath
        found = _Plugin.find(plugin, root).injected(kinds, folder / str(next(numbers)))
        return _call(found, _json(payload or {}, root), limits or {}, folder)

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
        if not path.exists():
            if isinstance(plugin, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", plugin):
                return cls(plugin, None, {})
            raise FileNotFoundError(f"there is no plugin at {path}: a path is taken from {root}")
        try:
            manifest = tomllib.loads(_manifest_text(path))["tool"]["toolrunner"]
            return cls(str(manifest["name"]), path.resolve(), manifest)
        except (KeyError, TypeError, ValueError, OSError):
            words = (
                f"{path} has no manifest; `toolrunner plugins check {path}` says what is missing"
            )
            raise ValueError(words) from None

    def injected(self, kinds: Sequence[str], folder: Path) -> _Plugin:
        """Return a copy in ``folder`` that behaves as the injections say, or itself."""
        wrappers = [kind for kind in ("oom", "slow", "crash") if kind in kinds]
        if not wrappers and "no_network" not in kinds:
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
        if wrappers:
            self._wrap(copy, wrappers)
        return _Plugin(self.name, copy, manifest)

    def _wrap(self, copy: Path, kinds: Sequence[str]) -> None:
        """Wrap the entry of a copied plugin, where it is defined."""
        source, added = copy, _WRAP_FILE
        if copy.is_dir():
            module, _, entry = str(self.manifest.get("entry", "")).partition(":")
            source = copy.joinpath(*module.split("."), "__init__.py")
            if not source.is_file():
                source = copy / f"{module.replace('.', '/')}.py"
            if not source.is_file():
                return  # the command says what is wrong with the manifest
            added = _WRAP_ENTRY.format(name=entry)
        wrapper = _WRAPPER.replace("{injections}", ", ".join(kinds))
        source.write_text(source.read_text("utf-8") + wrapper + added, "utf-8")


def _manifest_text(path: Path) -> str:
    """Return the TOML text of a plugin's manifest; empty when it has none."""
    if path.is_dir():
        return (path / _FOLDER_MANIFEST).read_text("utf-8")
    block = _BLOCK.search(path.read_text("utf-8"))
    return "\n".join(line[2:] for line in block["content"].splitlines()) if block else ""


def _call(plugin: _Plugin, payload: bytes, caps: Mapping[str, float], folder: Path) -> Outcome:
    """Run the command once."""
    command = [_command(), "run", plugin.name, "--json", "--debug", "--payload", "-"]
    command += ["--state", str(folder)]
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
    log = "\n".join(filter(None, (details.get("log_tail", ""), words))).strip()
    return Outcome(
        plugin.name, answer.get("result"), error, details["usage"], details["isolation"], log
    )


def _environment(plugin: _Plugin, caps: Mapping[str, float]) -> dict[str, str]:
    """Return the command's environment, in which what a call asks for wins."""
    own = {f"TOOLRUNNER_CAPS__{name.upper()}": f"{cap:g}" for name, cap in caps.items()}
    if plugin.path is not None:
        own["TOOLRUNNER_PLUGINS"] = ""  # the same plugin again, perhaps
    if plugin.manifest.get("network"):
        own["TOOLRUNNER_ALLOW_NETWORK"] = json.dumps([plugin.name])
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name.upper() not in own
    }
    return kept | own


def _json(payload: Mapping[str, Any], root: Path) -> bytes:
    """Return a payload as JSON text; an image of bytes or in a file becomes base64."""
    sent = dict(payload)
    image = sent.get("image")
    if isinstance(image, Path):
        image = (root / image).read_bytes()
        sent.setdefault("mime_type", mimetypes.guess_type(payload["image"])[0])
    if isinstance(image, bytes):
        sent["image"] = base64.b64encode(image).decode("ascii")
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
