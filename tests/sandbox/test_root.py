"""Whom a plugin runs as when the runner is root, however few layers there are: never root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin, skip_unless_taken
from toolrunner.sandbox import root_host, spawn
from toolrunner.sandbox.inside import privileges
from toolrunner.sandbox.inside.syscalls import Rights
from toolrunner.sandbox.layers import NAMESPACES, Layers

HERE = Path(__file__).parent
INSIDE = HERE.parent.parent / "sandbox" / "inside"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="it is about root, and this is another user")
# By system calls, as there is no /proc to read where there is Landlock alone.
WHO_AM_I = """
    import ctypes
    import os

    def run(payload):
        libc = ctypes.CDLL(None)
        data = (ctypes.c_uint32 * 6)()
        libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)
        words = {"effective": 0, "permitted": 1, "inheritable": 2}
        return {
            "users": os.getresuid(),
            "own_groups": os.getresgid(),
            "groups": os.getgroups(),
            **{name: data[i] | data[i + 3] << 32 for name, i in words.items()},
            "bounding": sum(libc.prctl(23, c, 0, 0, 0) == 1 for c in range(64)),
            "ambient": sum(libc.prctl(47, 1, c, 0, 0) == 1 for c in range(64)),
            "no_new_privs": libc.prctl(39, 0, 0, 0, 0),
        }
"""
LESS: dict[str, tuple[str, ...]] = {
    "all": (),
    "no namespaces": ("namespaces",),
    "no user namespace": ("namespaces.user",),
    "no pid namespace": ("namespaces.pid", "proc"),
    "no seccomp": ("seccomp",),
    "no Landlock": ("landlock",),
    "no seccomp, no Landlock": ("seccomp", "landlock"),
    "namespaces alone": ("seccomp", "landlock", "rlimits", "watchdog"),
    "a user namespace alone": (
        *(f"namespaces.{name}" for name in NAMESPACES if name != "user"),
        *("seccomp", "landlock", "rlimits", "watchdog"),
    ),
    "Landlock alone": ("namespaces", "seccomp", "rlimits", "watchdog"),
    "seccomp alone": ("namespaces", "landlock", "rlimits", "watchdog"),
    "nothing": ("namespaces", "seccomp", "landlock", "rlimits", "watchdog"),
    "another system": (),
}


@pytest.fixture(params=LESS)
def fewer(request: pytest.FixtureRequest, host_layers: Layers) -> Layers:
    """The host's layers without some of them, down to none."""
    if request.param == "another system":
        return skip_unless_taken(Layers(rlimits=True, watchdog=True, portable=True))
    if request.param == "no user namespace" and os.geteuid() != 0:
        pytest.skip("only root makes namespaces without a user namespace (CLONE_NEWNS is refused)")
    return skip_unless_taken(host_layers.without(*LESS[request.param]))


def test_a_plugin_is_nobody_and_can_do_nothing(
    fewer: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It is no root, has no capability and no way to one, with whatever layers besides."""
    tool_runner = make_runner(write_plugin(WHO_AM_I), layers=fewer, degraded=True)
    found, error = tool_runner.run("sample", {})
    assert error is None
    assert found is not None
    assert 0 not in found["users"]
    assert len(set(found["users"])) == 1
    sets = ("effective", "permitted", "inheritable", "ambient")
    assert {name: found[name] for name in sets} == dict.fromkeys(sets, 0)
    assert found["no_new_privs"] == 1
    if os.geteuid() == 0:
        # An ordinary user could give up neither of these.
        assert found["groups"] == []
        assert found["own_groups"] == found["users"]
        assert found["bounding"] == 0
        if "user" not in fewer.namespaces:
            assert root_host.FIRST_BOX_UID <= found["users"][0] <= root_host.LAST_BOX_UID


def report(plugin: Path, *prefix: str) -> dict[str, Any]:
    """Return how a call ended, in degraded mode, of a runner that was started by ``prefix``."""
    command = [*prefix, sys.executable, "-P", str(HERE / "report_host.py"), str(plugin), "degraded"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(found: dict[str, Any]) -> dict[str, Any]:
    """Return the details of a call that was refused since it would have been root's."""
    assert found["result"] is None, found["result"]
    error = found["error"]["error"]
    assert error["type"] == "SandboxError"
    assert error["details"]["operation"] == "become an unprivileged user"
    details: dict[str, Any] = error["details"]
    return details


def alone(*feature: str, called: str = "--map-root-user") -> tuple[str, ...]:
    """Return what starts a program as a root that has no other user, without a layer."""
    prefix = ("unshare", "--user", called)
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel gives this user no user namespaces (CLONE_NEWUSER is refused)")
    without = (sys.executable, "-P", str(HERE / "refusing.py"), *feature)
    # Found anew by the path that report() sets.
    return (*prefix, *without) if feature else prefix


@pytest.mark.parametrize("feature", ["seccomp", "namespaces", "namespaces.user"])
def test_a_root_that_has_no_other_user_is_refused(feature: str, write_plugin: WritePlugin) -> None:
    """Where a layer is missing, the plugin would be the runner's own user, and root by name."""
    details = refused(report(write_plugin(WHO_AM_I), *alone(feature)))
    assert "61184 to 65279" in details["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="about the host's root")
@pytest.mark.parametrize("called", ["--map-user=1000", "--setgroups=deny"])
@pytest.mark.parametrize("feature", [(), ("namespaces",)])
def test_the_hosts_root_under_another_number_is_refused(
    called: str, feature: tuple[str, ...], write_plugin: WritePlugin
) -> None:
    """A number that a namespace gives it, or the one of those that have none, hides nothing."""
    details = refused(report(write_plugin(WHO_AM_I), *alone(*feature, called=called)))
    assert "61184 to 65279" in details["remedy"]


def test_a_root_by_name_runs_plugins_with_all_layers(write_plugin: WritePlugin) -> None:
    """An ordinary user's, but not one that is the host's own root under the same name."""
    found = report(write_plugin(WHO_AM_I), *alone())
    if os.geteuid() == 0:
        refused(found)
    else:
        assert found["error"] is None
        assert found["result"]["users"] == [1000] * 3
        assert found["result"]["effective"] == found["result"]["bounding"] == 0


@pytest.mark.parametrize("attack", [(), ("--attack", "--only", "escape/regained_rights")])
def test_doctor_says_that_plugins_would_be_root(attack: tuple[str, ...]) -> None:
    """With the same remedy, and attacks nothing; degraded mode does not make it otherwise."""
    command = [*alone("namespaces"), sys.executable, "-P", "-m", "toolrunner", "doctor", *attack]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    environment |= {"TOOLRUNNER_ISOLATION": "degraded", "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "a plugin would run as root: none of users 61184" in done.stdout + done.stderr
    assert "contained" not in done.stdout


@AS_ROOT
@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_a_root_that_cannot_become_another_user_is_refused(
    capability: str, write_plugin: WritePlugin
) -> None:
    """As in a container that drops capabilities: with what to do about it."""
    prefix = ("setpriv", f"--bounding-set=-{capability}")
    details = refused(report(write_plugin(WHO_AM_I), *prefix))
    assert f"CAP_{capability.upper()}" in details["remedy"]


# It can do what the box's user can, and does not look like root.
SAVED = ("os.setresuid(user, user, user)", "os.setresuid(user, user, 0)")
# What a mistake could look like: a line of the box's own code, and what stands there instead.
MISTAKES = {
    "it can be root again": ("privileges.py", *SAVED),
    "it keeps its groups": ("privileges.py", "os.setgroups([])", "os.setgroups([0, 4])"),
    "it keeps capabilities": ("syscalls.py", "_libc.capset(", "_libc.capget("),
    "it keeps the bounding set": ("privileges.py", "rights.lock_privileges()", "pass"),
    "it can gain some": ("privileges.py", "rights.prctl(PR_SET_NO_NEW_PRIVS, 1)", "pass"),
}


def mistaken(folder: Path, *mistakes: tuple[str, str, str]) -> str:
    """Copy what runs inside a box, with mistakes; return the file that starts it."""
    copy = Path(shutil.copytree(INSIDE, folder / "inside"))
    for name, right, wrong in mistakes:
        source = (copy / name).read_text("utf-8")
        assert source.count(right) == 1, (name, right)
        (copy / name).write_text(source.replace(right, wrong), "utf-8")
    return str(copy / "launch.py")


@AS_ROOT
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("system", ["without namespaces", "another system"])
def test_what_is_not_given_up_is_noticed_before_the_plugin(
    mistake: str,
    system: str,
    request: pytest.FixtureRequest,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is read back: a box whose code were wrong would run nothing."""
    layers = request.getfixturevalue("portable" if system == "another system" else "no_namespaces")
    monkeypatch.setattr(spawn, "LAUNCH", mistaken(open_folder, MISTAKES[mistake]))
    tool_runner = make_runner(write_plugin(WHO_AM_I), layers=layers, degraded=True)
    _result, error = tool_runner.run("sample", {})
    details = refused({"result": _result, "error": error})
    assert "still has" in str(error), details


@AS_ROOT
@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("system", ["without namespaces", "another system"])
def test_what_loads_a_plugin_is_looked_at_once_more(
    start: str,
    system: str,
    request: pytest.FixtureRequest,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A box that neither became another user nor read it back does not load as root."""
    layers = request.getfixturevalue("portable" if system == "another system" else "no_namespaces")
    stays = ("privileges.py", *SAVED)
    unread = ("privileges.py", "    if left:\n", "    if False:\n")
    monkeypatch.setattr(spawn, "LAUNCH", mistaken(open_folder, stays, unread))
    plugin = write_plugin(WHO_AM_I, start=f'"{start}"')
    result, error = make_runner(plugin, layers=layers, degraded=True).run("sample", {})
    refused({"result": result, "error": error})
    assert "is root" in str(error)


def test_this_very_process_would_not_do() -> None:
    """Whoever runs the tests has more than a plugin may have, and it is all named."""
    profile: dict[str, Any] = {"uid": root_host.box_uid(0), "namespaces": []}
    with pytest.raises(privileges.PrivilegeError, match="a way to new privileges") as caught:
        privileges.check(Rights(), profile)
    if os.geteuid() == 0:
        for words in ("user 0", "group 0", "effective capabilities 0x", "bounding capabilities"):
            assert words in str(caught.value)
        with pytest.raises(privileges.PrivilegeError, match="is root"):
            privileges.refuse_root()
    else:
        privileges.refuse_root()
