"""Finds out which layers this host has, by trying each in a process of its own.

``Sandbox`` asks once; ``toolrunner doctor`` shows all of it. What a trial finds is what boxes
are then built with, all of it or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psutil

from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.cgroups.groups import Cgroups
from toolrunner.sandbox.cgroups.place import find
from toolrunner.sandbox.ending import SetupFailure
from toolrunner.sandbox.layers import NAMESPACES, Layers
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.processes import children_of, proportional_bytes
from toolrunner.sandbox.root_host import NOT_ALLOWED, box_uid, refusal
from toolrunner.sandbox.shortage import REMEDY, remedy_of
from toolrunner.sandbox.spawn import Spawner

PROBE_SECONDS = 30.0
# What a trial fails with for want of a process or a descriptor.
_NOT_TRIED = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE})

_USERNS = (
    "allow user namespaces: sysctl user.max_user_namespaces > 0 and "
    "kernel.unprivileged_userns_clone=1; on Ubuntu 23.10 and later an AppArmor profile with "
    "`userns,` for this Python; in a container a seccomp profile that permits unshare"
)
REMEDIES = {
    "namespaces.user": _USERNS,
    "namespaces.mount": _USERNS,
    "namespaces.pid": _USERNS,
    "namespaces.net": _USERNS,
    "namespaces.ipc": _USERNS,
    "namespaces.uts": _USERNS,
    "proc": "without it plugins see no /proc; in a container, unmask /proc (Docker: "
    "--security-opt systempaths=unconfined)",
    "landlock": "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y and `landlock` in the "
    "lsm= list of the kernel's command line",
    "seccomp": "use a kernel with CONFIG_SECCOMP_FILTER=y on x86-64 or aarch64",
    "seccomp_notify": "needed for warm calls where Landlock is older than ABI 6 (Linux 6.12); it "
    "cannot be had in a container whose manager listens to a seccomp filter of its own",
    "rlimits": "let the service's own limits permit RLIMIT_DATA",
    "unprivileged_user": NOT_ALLOWED,
    "watchdog": "mount /proc, and let this user see its own processes in it",
    "cgroup": "without it the watchdog bounds memory, and what it cannot count is denied; "
    "systemd: Delegate=memory pids with DelegateSubgroup=; without systemd: run as root, or "
    "own the folder of the service's cgroup in /sys/fs/cgroup; in a container: mount it writable",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One layer tried: the operation, and its errno and remedy when it did not hold."""

    layer: str
    ok: bool
    operation: str
    detail: str = ""
    errno: int | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What this host offers, and how that was found out."""

    layers: Layers
    trials: tuple[Trial, ...]

    def user_gap(self) -> str:
        """Return why a plugin would run as root, or its user not reach Python; "" if neither."""
        refused = refusal(self.layers, box_uid(0))
        if refused is not None:
            return f"{refused.message}: {refused.remedy}"
        if "user" in self.layers.namespaces:
            return ""  # the box's user is its own, whatever root may do here
        failed = (t for t in self.trials if t.layer == "unprivileged_user" and not t.ok)
        return next((f"{trial.detail}: {trial.remedy}" for trial in failed), "")


def probe_host() -> Host:
    """Try every layer, by processes of its own; raise ``SetupError`` as ``probe``."""
    spawner = Spawner()
    try:
        return probe(spawner)
    finally:
        spawner.close()


def probe(spawner: Spawner) -> Host:
    """Try every layer; raise ``SetupError`` when not even trying is possible."""
    found, cgroup, cgroup_version = _inside(spawner)
    trials = [_trial(raw) for raw in found["trials"]]
    for trial in trials:
        if not trial.ok and trial.errno in _NOT_TRIED:
            # It says nothing of the layer, and would stand for as long as this process lives.
            failure = SetupFailure(trial.operation, trial.detail, trial.errno, REMEDY)
            raise SetupError(failure)
    trials += [_try_watchdog(), cgroup]
    passed = {trial.layer for trial in trials if trial.ok}
    abi = next(
        (raw["detail"] for raw in found["trials"] if raw["layer"] == "landlock" and raw["ok"]), 0
    )
    namespaces = frozenset(name for name in NAMESPACES if f"namespaces.{name}" in passed)
    layers = Layers(
        namespaces=namespaces,
        landlock=int(abi),
        seccomp="seccomp" in passed,
        seccomp_notify="seccomp_notify" in passed,
        rlimits="rlimits" in passed,
        watchdog="watchdog" in passed,
        cgroup=cgroup_version if found["machine"] else 0,
        proc="proc" in passed,
        portable=not found["machine"],
    )
    return Host(layers, tuple(trials))


def _inside(spawner: Spawner) -> tuple[dict[str, Any], Trial, int]:
    """Run the trials in a fresh interpreter.

    Return what it printed, and the trial of cgroups with their version (0: none).
    """
    try:
        process = spawner.run_probe(str(box_uid(0) or ""))
    except OSError as error:
        raise SetupError(
            SetupFailure(
                "start the probe",
                str(error),
                error.errno,
                remedy_of(error, "check that Python can be started"),
            )
        ) from error
    with process, contextlib.ExitStack() as after:
        cgroup, version = _try_cgroup(process.pid, after)
        try:
            output, errors = process.communicate(timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        raise SetupError(_untold(process.returncode, errors.decode("utf-8", "replace"))) from None
    return found, cgroup, version


def _untold(status: int, said: str) -> SetupFailure:
    """Return why the trials have brought nothing: mostly, the host had nothing to make them with.

    The last line of a traceback is the name of some exception, and tells nobody what to do.
    """
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    remedy = f"{REMEDY}; then `toolrunner doctor` says what this host can isolate"
    message = f"the trials of this host's layers ended with status {status}: {last[0]}"
    return SetupFailure("probe the host", message, remedy=remedy)


def _try_cgroup(pid: int, after: contextlib.ExitStack) -> tuple[Trial, int]:
    """Make what a box has of cgroups, and put a process of ours in it; ``after`` removes it.

    Return their version as well, 0 if it failed.
    """
    operation = "mkdir in the own cgroup; limits; cgroup.procs; the figures"
    if sys.platform != "linux":
        return Trial("cgroup", ok=False, operation=operation, remedy=REMEDIES["cgroup"]), 0
    try:
        place = find()
        cgroups = Cgroups(place)
        after.callback(cgroups.close)
        groups = cgroups.box(Limits())
        after.callback(groups.close)
        groups.imported.join(pid)
        groups.slot(0).figures()
    except (OSError, KeyError, ValueError) as error:
        number = getattr(error, "errno", None)
        return Trial("cgroup", False, operation, str(error), number, REMEDIES["cgroup"]), 0
    detail = f"version {place.version}"
    return Trial("cgroup", ok=True, operation=operation, detail=detail), place.version


def _trial(raw: dict[str, Any]) -> Trial:
    layer = raw["layer"]
    if raw["ok"]:
        detail = f"ABI {raw['detail']}" if layer == "landlock" else ""
        return Trial(layer, ok=True, operation=raw["operation"], detail=detail)
    return Trial(
        layer,
        ok=False,
        operation=raw["operation"],
        detail=raw["message"],
        errno=raw["errno"],
        remedy=REMEDIES[layer],
    )


def _try_watchdog() -> Trial:
    """Measure a process of our own as the watchdog measures a call's."""
    operation = "psutil memory, cpu and threads; smaps_rollup; children"
    try:
        process = psutil.Process()
        process.memory_info()
        process.cpu_times()
        process.num_threads()
        children_of(os.getpid())
        if sys.platform == "linux":
            proportional_bytes(os.getpid())
    except (psutil.Error, OSError) as error:
        number = getattr(error, "errno", None)
        return Trial("watchdog", False, operation, str(error), number, REMEDIES["watchdog"])
    return Trial("watchdog", ok=True, operation=operation)
