"""Packages that are hostile while they are built or installed: they get at nothing."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runner.environments.conftest import Find, Install
from tests.wheels import write_needy, write_sources, write_wheel
from toolrunner.runner.environments.workshop import LIMITS
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox.tree import HostileTreeError, copy_tree

# What a build script finds out goes into its wheel: there is no other way out but the network.
_CURIOUS = """
    import json, socket, subprocess

    def attempt(work):
        try:
            return repr(work())
        except BaseException as error:
            return f"{{type(error).__name__}}: {{error}}"

    secret, folder, state, runner = {arguments!r}
    found = {{
        "environment": dict(os.environ),
        "read secret": attempt(lambda: open(secret).read()),
        "read shadow": attempt(lambda: open("/etc/shadow").read()),
        "read state": attempt(lambda: os.listdir(state)),
        "runner environ": attempt(lambda: open(f"/proc/{{runner}}/environ", "rb").read()),
        "runner memory": attempt(lambda: open(f"/proc/{{runner}}/mem", "rb").read(1)),
        "signal": attempt(lambda: os.kill(runner, 0)),
        "write": attempt(lambda: open(folder + "/written", "w")),
        "link": attempt(lambda: os.link(secret, "stolen")),
        "mode": attempt(lambda: os.chmod(secret, 0o777)),
        "root": attempt(lambda: os.setuid(0)),
        "namespace": attempt(lambda: subprocess.run(["unshare", "-Ur", "true"], check=True)),
        "user": os.getuid(),
    }}
    return {{"curious.py": "VERSION = 1\\n", "found.json": json.dumps(found)}}
"""


def test_a_build_script_gets_at_nothing(
    install: Install, tmp_path: Path, wheels: Path, open_folder: Path, state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Neither secrets nor other files, processes or rights; it may write what is its own."""
    monkeypatch.setenv("DATABASE_PASSWORD", "do-not-tell")
    monkeypatch.setenv("UV_PUBLISH_TOKEN", "do-not-tell")
    monkeypatch.setenv("UV_INDEX_OURS_USERNAME", "told")
    outside = open_folder / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    secret = outside / "secret"
    secret.write_text("do-not-tell")
    secret.chmod(0o644)
    arguments = (str(secret), str(outside), str(state), os.getpid())
    write_sources(wheels, "curious", _CURIOUS.format(arguments=arguments))
    installed = install(write_needy(tmp_path, "curious"), allow_builds=True)
    assert installed is not None
    found: dict[str, Any] = json.loads(
        (installed.environment.site_packages / "found.json").read_text()
    )
    assert "do-not-tell" not in json.dumps(found)
    environment = found.pop("environment")
    assert "UV_INDEX_OURS_USERNAME" not in environment
    assert environment["HOME"] != str(Path.home())
    if os.geteuid() == 0:
        assert found["user"] != 0
    del found["user"]
    succeeded = {name: what for name, what in found.items() if "Error" not in what}
    # Where it has no root of its own it believes that it has changed a mode.
    assert succeeded.pop("mode", "None") == "None"
    assert succeeded == {}
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644


def test_nothing_is_built_unless_that_is_allowed(
    install: Install, find: Find, tmp_path: Path, wheels: Path, open_folder: Path
) -> None:
    """Neither for its metadata nor to install it; the remedy says how to allow it."""
    mark = open_folder / "mark"
    mark.mkdir()
    mark.chmod(0o777)
    write_sources(wheels, "sources", f"open({str(mark / 'ran')!r}, 'w'); return {{}}")
    plugin = write_needy(tmp_path, "sources")
    with pytest.raises(GovernedError, match="--allow-builds"):
        install(plugin)
    assert find(plugin) is None
    assert list(mark.iterdir()) == []


def test_a_build_leaves_nothing_for_others(
    install: Install, tmp_path: Path, wheels: Path, state: Path
) -> None:
    """Not in the cache that other installs use."""
    body = """
        for top, folders, files in os.walk(os.environ["UV_CACHE_DIR"]):
            for name in files:
                if name == "alpha.py":
                    open(os.path.join(top, name), "w").write("VERSION = 'poison'")
        return {"poison.py": ""}
    """
    write_sources(wheels, "poison", body)
    honest = write_needy(tmp_path, "alpha", name="honest")
    hostile = write_needy(tmp_path, "alpha", "poison", name="hostile")
    assert install(hostile, allow_builds=True) is not None
    installed = install(honest)
    assert installed is not None
    assert installed.how == "made"
    assert "'1.0'" in (installed.environment.site_packages / "alpha.py").read_text()
    assert list((state / "environments/building").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: pass", "TimeLimitExceeded"),
        ("import time; time.sleep(600)", "TimeLimitExceeded"),
        ("with open('large', 'wb') as f:\n    while True: f.write(bytes(1 << 20))", "wrote more"),
        ("bytearray(1 << 30); return {}", "MemoryLimitExceeded|MemoryError"),
        ("os.kill(os.getppid(), 9)", "install: it was ended by SIGKILL"),
        ("os.kill(1, 9); os.kill(-1, 9)", "install: |PluginCrashed"),
        ("os._exit(0)", "install: Failed to "),
    ],
)
def test_a_build_that_goes_wild_ends(
    body: str, words: str, install: Install, find: Find, tmp_path: Path, wheels: Path,
    state: Path, temporary: Path,
) -> None:  # fmt: skip
    """By limits of its own; nothing of it counts, and nothing is left."""
    write_sources(wheels, "wild", body)
    plugin = write_needy(tmp_path, "wild")
    limits = replace(LIMITS, wall_seconds=6.0, memory_mb=512, processes=40, threads=100)
    with pytest.raises(GovernedError, match=words) as told:
        install(plugin, allow_builds=True, limits=limits, disk_mb=50)
    assert told.value.error_type is ErrorType.PLUGIN_UNAVAILABLE
    assert find(plugin) is None
    assert list((state / "environments/building").iterdir()) == []
    assert list(temporary.iterdir()) == []
    ours = psutil.Process().children(recursive=True)
    assert [one for one in ours if one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_build_that_leaves_what_is_no_file(
    install: Install, find: Find, tmp_path: Path, wheels: Path
) -> None:
    """A build writes beside its wheel, into what is being installed: that is refused."""
    body = """
        work = os.environ["HOME"]
        os.makedirs(work + "/site-packages", exist_ok=True)
        os.symlink("/etc/passwd", work + "/site-packages/passwd.py")
        return {}
    """
    write_sources(wheels, "linking", body)
    plugin = write_needy(tmp_path, "linking")
    with pytest.raises(GovernedError, match=r"'passwd\.py' is a link"):
        install(plugin, allow_builds=True)
    assert find(plugin) is None


def test_a_wheel_that_leads_out_of_its_folder(
    install: Install, find: Find, tmp_path: Path, wheels: Path, state: Path
) -> None:
    """It is not installed, or not there."""
    write_wheel(wheels, "leading", files={"../../../../leading.py": "", "leading.py": ""})
    plugin = write_needy(tmp_path, "leading")
    with contextlib.suppress(GovernedError):
        install(plugin)
    assert [path for path in tmp_path.rglob("leading.py") if state not in path.parents] == []
    inside = [path.parent for path in (state / "environments").glob("*/lib/**/leading.py")]
    found = find(plugin)
    assert inside in ([], [found and found.site_packages])


def tree(tmp_path: Path) -> Path:
    """Return a folder to copy, with a file and a folder in it."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner/module.py").write_text("1")
    return source


def copy(source: Path, most_bytes: int = 1 << 20) -> Path:
    """Copy it; return where to."""
    target = source.with_name("target")
    copy_tree(str(source), str(target), owner=os.geteuid(), most_bytes=most_bytes)
    return target


def test_what_is_taken_over_has_modes_of_its_own(tmp_path: Path) -> None:
    """No setuid, nothing that anybody may write to; programs stay programs; times stay."""
    source = tree(tmp_path)
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o6777)
    os.utime(source / "inner/module.py", ns=(1_000_000_000, 2_000_000_000))
    target = copy(source)
    assert stat.S_IMODE((target / "tool").stat().st_mode) == 0o555
    assert stat.S_IMODE((target / "inner/module.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((target / "inner").stat().st_mode) == 0o555
    assert (target / "inner/module.py").stat().st_mtime_ns == 2_000_000_000


def test_a_tree_with_what_is_no_file_is_not_taken_over(tmp_path: Path) -> None:
    """Links, second names and pipes; a pipe is not even opened, which would wait."""
    makes: tuple[Callable[[Path], object], ...] = (
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("inner"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.hardlink_to(path.parent / "inner/module.py"),
        os.mkfifo,
    )
    for number, make in enumerate(makes):
        source = tree(tmp_path / str(number))
        make(source / "zz")
        with pytest.raises(HostileTreeError, match="a link, a second name, a device or a pipe"):
            copy(source)


def test_a_tree_that_is_too_large_is_not_taken_over(tmp_path: Path) -> None:
    """A sparse file takes no room until it is copied; folders in one another take none at all."""
    source = tree(tmp_path)
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(HostileTreeError, match="larger than 1 MiB"):
        copy(source)
    deep = tree(tmp_path / "deep")
    (deep / "/".join(["d"] * 200)).mkdir(parents=True)
    with pytest.raises(HostileTreeError, match="too deep"):
        copy(deep)


def test_a_tree_of_somebody_else_is_not_taken_over(tmp_path: Path) -> None:
    """All of it has to be of the user that the box ran as."""
    source, own = tree(tmp_path), os.geteuid()
    with pytest.raises(HostileTreeError, match=f"'inner' belongs to user {own}"):
        copy_tree(str(source), str(tmp_path / "target"), owner=own + 1, most_bytes=1 << 20)


def test_a_package_cannot_spoil_the_cache_for_others(
    install: Install, tmp_path: Path, wheels: Path
) -> None:
    """Folders too deep in one another cannot be measured or handed over; they are thrown away."""
    write_wheel(wheels, "deep", files={"/".join(["d"] * 130) + "/module.py": ""})
    with pytest.raises(GovernedError):
        install(write_needy(tmp_path, "deep", name="deep"))
    assert install(write_needy(tmp_path, "alpha")) is not None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("open(work + '/pinned.txt', 'w')", "written pinned.txt"),
        ("open(site + '/module.py', 'w'); os.chmod(site + '/module.py', 0)", "modes that keep it"),
    ],
)
def test_what_a_build_leaves_in_the_way_is_its_plugins_fault(
    body: str, words: str, install: Install, tmp_path: Path, wheels: Path, isolation: str
) -> None:
    """No error of the host's, which would end the installs of others as well."""
    if "modes" in words and (os.geteuid() == 0 or isolation == "no-namespaces"):
        words = "|"  # root reads it all the same, and without namespaces no mode changes
    prelude = "work = os.environ['HOME']\nsite = work + '/site-packages'\n"
    make = "os.makedirs(site, exist_ok=True)\n"
    write_sources(wheels, "leaving", f"{prelude}{make}{body}\nreturn {{}}", dynamic=True)
    with contextlib.ExitStack() as stack:
        if words != "|":
            stack.enter_context(pytest.raises(GovernedError, match=words))
        install(write_needy(tmp_path, "leaving"), allow_builds=True)


def test_names_of_packages_are_harmless(install: Install, tmp_path: Path, wheels: Path) -> None:
    """What a build has called a folder is shown to people."""
    body = """
        path = os.fsencode(os.environ["HOME"]) + b"/site-packages/\\xff\\x1b[2J\\n-1.dist-info"
        os.makedirs(path, exist_ok=True)
        open(path + b"/METADATA", "w").close()
        return {}
    """
    write_sources(wheels, "odd", body)
    installed = install(write_needy(tmp_path, "odd"), allow_builds=True)
    assert installed is not None
    names = [package.name for package in installed.environment.packages]
    assert "\\udcff\\x1b[2J\\n" in names
