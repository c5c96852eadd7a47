"""The box that environments are made in: it runs uv, with the network and hardly anything else.

What it may write to is a folder made for one environment, and uv's cache. It has no home, no
secret but what the operator has told uv, and limits of its own. Where packages' own code may run
(builds), the cache is made for that environment alone: a hostile build could leave in it what the
next environment is made of.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolrunner.runner.environments import disclosure
from toolrunner.runner.environments.pythons import Python
from toolrunner.runner.environments.uv import Configuration, find_uv
from toolrunner.runner.errors import Blame, ErrorType, GovernedError
from toolrunner.runner.verdict import judge
from toolrunner.sandbox.building import Builder, remove_tree, tree_bytes
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.profile import Program

# What making one environment may take. docs/environments.md names them.
DISK_MB = 16 * 1024
LIMITS = Limits(
    wall_seconds=1800.0,
    cpu_seconds=3600.0,
    memory_mb=4096,
    processes=128,
    threads=512,
    open_files=4096,
    scratch_mb=4096,
    output_mb=64,
)
STAGE_PREFIX = "toolrunner-environment-"

_INSIDE = Path(__file__).with_name("inside.py")
_NAME = "environments"
_PRINTED = frozenset({"[stdout]", "[stderr]"})  # by a build, as uv shows it
_ELSEWHERE = "elsewhere"
_TMP = "tmp"  # of builds and downloads; a call's own scratch is memory
_READ_CAP = 64 * 1024 * 1024
_STAGE = re.compile(rf"{STAGE_PREFIX}\w{{8}}")
_ENDLESS = 1 << 62  # bytes that no disk has; what cannot be measured counts as more
_SHARED = ("/var/tmp", "/tmp")  # noqa: S108 - folders of mkdtemp's own are made there


@dataclass(frozen=True, slots=True)
class Output:
    """What uv said: its exit status, its output, the end of its errors. Data, and no more."""

    status: int
    text: str
    errors: str


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator asks for.

    ``find_links``: folders, or addresses of pages, where packages lie. ``offline``: no network at
    all. ``allow_builds``: packages that have no wheel may be built, by code of theirs.
    """

    allow_builds: bool = False
    offline: bool = False
    find_links: tuple[str, ...] = ()


class Workshop:
    """Runs uv in boxes, for one environment after the other. Not thread-safe."""

    def __init__(
        self,
        builder: Builder,
        folder: Path,
        configuration: Configuration,
        options: Options,
        *,
        limits: Limits = LIMITS,
        disk_mb: int = DISK_MB,
    ) -> None:
        """``folder``: where staged files, and uv's cache, may lie. It is this process's alone."""
        self._builder = builder
        self._folder = folder
        self._configuration = configuration
        self.options = options
        self.on_progress: Callable[[str], None] = lambda _words: None
        self._limits = limits
        self._disk_mb = disk_mb
        self._uv = find_uv()

    @contextlib.contextmanager
    def bench(self, python: Python) -> Iterator[Bench]:
        """Give a folder to make one environment in; it is gone afterwards."""
        with self._holder() as holder:
            work = holder / "work"
            work.mkdir(0o700)
            own_cache = self.options.allow_builds or holder.parent != self._folder
            cache = holder / "cache" if own_cache else self._folder.parent / "uv" / "cache"
            if not own_cache and _is_endless(cache):
                remove_any(cache)
            cache.parent.mkdir(0o700, exist_ok=True)
            cache.mkdir(0o700, exist_ok=True)
            yield Bench(self, python, work, cache)

    @contextlib.contextmanager
    def _holder(self) -> Iterator[Path]:
        """Make a folder that the box's user can get at, but not change itself."""
        place = self._place()
        if place is None:
            holder, note = Path(tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=self._folder)), None
        else:
            holder = Path(place) / f"{STAGE_PREFIX}{secrets.token_hex(4)}"
            note = Path(tempfile.mkdtemp(dir=self._folder))
            # Written down first, so that it is found whenever this process ends.
            (note / _ELSEWHERE).write_text(str(holder), "utf-8")
            holder.mkdir(0o711)
            holder.chmod(0o711)
        try:
            yield holder
        except KeyboardInterrupt:
            self.on_progress("interrupted: removing what is unfinished")  # that may take seconds
            raise
        finally:
            remove_tree(str(holder))
            if note is not None:
                remove_tree(str(note))

    def _place(self) -> str | None:
        """Return where to stage instead, if the box's user cannot get to the folder."""
        if not self._builder.walks():
            return None
        places = [tempfile.gettempdir(), *_SHARED]
        able = [p for p in places if self._builder.unreachable([f"{p}/folder"]) is None]
        if not able:
            message = "no folder that every user may enter; set TMPDIR to one with space"
            raise GovernedError(ErrorType.SANDBOX_ERROR, message)
        return able[0]

    def run(
        self, bench: Bench, arguments: list[str], *, network: bool, readable: tuple[str, ...]
    ) -> Output:
        """Run uv once; ``GovernedError`` if the box or a limit ended it."""
        closed = self._builder.unreachable(f"{path}/wheel" for path in readable)
        if closed is not None:
            message = f"the box's user cannot cross {closed}: let everybody enter it"
            raise GovernedError(ErrorType.SANDBOX_ERROR, message)
        program = Program(
            name=_NAME,
            path=str(_INSIDE),
            source=_INSIDE.read_bytes(),
            read=(self._uv, *readable, *self._configuration.paths),
            write=(str(bench.work), str(bench.cache)),
            network=network,
        )
        variables = self._configuration.variables
        payload = {
            "command": [self._uv, *arguments, *disclosure.arguments(variables)],
            "cwd": str(bench.work),
            "folders": [str(bench.work / _TMP)],
            "environment": {**disclosure.environment(variables), **self._own_variables(bench)},
        }
        built = self._builder.build(
            program,
            self._limits,
            json.dumps(payload).encode(),
            disk_mb=self._disk_mb,
            on_progress=_Told(self.on_progress).hear,
        )
        outcome = judge(built.ending)
        if outcome.error_type is None:
            return _output(outcome.result_body)
        message = outcome.message
        if built.wrote_too_much:
            message = f"wrote more than {self._disk_mb} MiB"
        if outcome.error_type.blame is Blame.HOST:
            raise GovernedError(outcome.error_type, message, outcome.details)
        message = f"making the environment was ended: {outcome.error_type.value}: {message}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)

    def _own_variables(self, bench: Bench) -> dict[str, str]:
        own = {
            "UV_CACHE_DIR": str(bench.cache),
            "UV_LINK_MODE": "copy",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "NO_COLOR": "1",
            "HOME": str(bench.work),
            "TMPDIR": str(bench.work / _TMP),
        }
        file = bench.work / "uv.toml"
        if self._configuration.file:
            return {**own, "UV_CONFIG_FILE": str(file)}
        return {**own, "UV_NO_CONFIG": "1"}

    def write_configuration(self, bench: Bench) -> None:
        """Put the operator's file of uv where the box sees it."""
        if self._configuration.file:
            text = disclosure.file(self._configuration.file, self._configuration.variables)
            (bench.work / "uv.toml").write_text(text, "utf-8")


class _Told:
    """Passes uv's lines on, up to its error: the reason that is given in the end quotes that.

    What a failed build has printed is passed on again: the reason has its last line alone.
    """

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._is_quiet = False

    def hear(self, words: str) -> None:
        """Pass a line on, or not."""
        if words.lstrip().startswith(("error:", "\u00d7")):
            self._is_quiet = True
        elif words in _PRINTED:
            self._is_quiet = False
        if not self._is_quiet:
            self._on_progress(words)
            if words.startswith("Installed "):  # of what uv does next, it tells only the end
                self._on_progress("compiling what is installed")


class Bench:
    """One environment's folders. What lies in them after a run is the box's, and not believed."""

    def __init__(self, workshop: Workshop, python: Python, work: Path, cache: Path) -> None:
        self._workshop = workshop
        self._python = python
        self.work = work
        self.cache = cache
        self.target = work / "site-packages"
        workshop.write_configuration(self)

    @property
    def owner(self) -> int:
        """The user that the box ran as."""
        return self.work.lstat().st_uid

    @property
    def offline(self) -> bool:
        """Whether uv has no network."""
        return self._workshop.options.offline

    def put(self, name: str, text: str | bytes) -> str:
        """Write a file before the first run; return the name by which uv finds it."""
        data = text.encode() if isinstance(text, str) else text
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.work / name, flags, 0o644)
        except FileExistsError:
            message = f"a build has written {name}, which is the runner's to write"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), self.owner, self.owner)
        return name

    def read(self, name: str) -> bytes:
        """Return what the box has written to a file; ``GovernedError`` if that is none."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self.work / name, flags), "rb") as file:
            found = os.fstat(file.fileno())
            is_its = stat.S_ISREG(found.st_mode) and found.st_uid == self.owner
            data = file.read(_READ_CAP + 1) if is_its else b""
        if not is_its or len(data) > _READ_CAP:
            message = f"{name} of the box is no file, or too large"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
        return data

    def uv(self, *arguments: str) -> Output:
        """Run uv with what every run has in common."""
        options = self._workshop.options
        common = ["--python", self._python.executable, "--no-python-downloads"]
        if not options.allow_builds:
            common.append("--no-build")
        if options.offline:
            common.append("--offline")
        folders = []
        for place in options.find_links:
            common += ["--find-links", place]
            if place.startswith("/"):
                folders.append(place)
        prefix = self._python.prefix
        readable = (self._python.executable, prefix) if prefix != "/usr" else ()
        return self._workshop.run(
            self,
            [*arguments, *common],
            network=not options.offline,
            readable=(*readable, *folders),
        )


def _is_endless(cache: Path) -> bool:
    """Tell whether a package has left so deep a tree that no box can be given the cache."""
    return tree_bytes(str(cache), _ENDLESS) > _ENDLESS


def _output(body: bytes | None) -> Output:
    try:
        found = json.loads(body or b"")
        return Output(int(found["status"]), str(found["output"]), str(found["errors"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        message = "making the environment was ended: its answer makes no sense"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None


def sweep(folder: Path) -> None:
    """Remove what interrupted installs have left below ``folder``, and what they staged elsewhere.

    Only while no other install runs.
    """
    for entry in sorted(folder.iterdir()):
        with contextlib.suppress(OSError, ValueError):
            elsewhere = Path((entry / _ELSEWHERE).read_text("utf-8"))
            is_ours = not elsewhere.is_symlink() and elsewhere.lstat().st_uid == os.geteuid()
            if _STAGE.fullmatch(elsewhere.name) and is_ours:
                remove_tree(str(elsewhere))
        remove_any(entry)


def remove_any(path: Path) -> None:
    """Remove a file or a folder, whatever is in it and of whatever modes."""
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            path.chmod(0o700)
        remove_tree(str(path))
    else:
        path.unlink(missing_ok=True)
