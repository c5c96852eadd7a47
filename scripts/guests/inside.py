"""Runs in a machine, as root and as the first of its programs: does the job, says what it found.

What follows "@guest " in a line is JSON, for ``machine``; all else is for people. Never run it
elsewhere: it mounts and changes what it likes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
USER = 1000
_CONTROLLERS = "+memory +pids +cpu"


def tell(**words: object) -> None:
    """Say something to the program that started this machine."""
    print("@guest " + json.dumps(words), flush=True)


def make_cgroups(kind: str, uid: int) -> Path | None:
    """Make a host's cgroups; return the one that the work is done in.

    "root": all in the root of version 2, as in a small container of its own. "delegated": as
    systemd leaves a service with Delegate= and DelegateSubgroup=. "leaf": as it leaves one without.
    "none": no cgroups.
    """
    if kind == "none":
        return None
    subprocess.run(["mount", "-t", "cgroup2", "cgroup", CGROUPS], check=True)
    if kind == "root":
        return CGROUPS
    service = CGROUPS / "system.slice"
    first = CGROUPS / "init"
    for folder in (first, service):
        folder.mkdir()
    (first / "cgroup.procs").write_text("1")
    (first / "cgroup.procs").write_text(str(os.getpid()))
    for folder in (CGROUPS, service):
        (folder / "cgroup.subtree_control").write_text(_CONTROLLERS)
    service /= "toolrunner.service"
    service.mkdir()
    if kind == "leaf":
        return service
    leaf = service / "runner"
    leaf.mkdir()
    os.setxattr(service, "trusted.delegate", b"1")
    os.setxattr(service, "user.delegate", b"1")
    for folder in (service, leaf):
        for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            os.chown(folder / name, uid, uid)
    return leaf


class Host:
    """Runs programs as the job's user, in the job's cgroup."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.uid: int = job["uid"]
        self._home = tempfile.mkdtemp(dir="/var/tmp")
        Path(self._home).chmod(0o755)
        os.chown(self._home, self.uid, self.uid)
        self._cgroup = make_cgroups(job["cgroup"], self.uid)

    def run(self, command: Sequence[str], *, shown: bool = False) -> tuple[int, str]:
        """Run a program; return its status and its output, which is also shown if so wished."""
        prefix = []
        if self._cgroup is not None:
            join = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
            prefix += ["/bin/bash", "-c", join, str(self._cgroup)]
        if self.uid:
            prefix += ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        environment = os.environ | {
            "HOME": self._home,
            "TMPDIR": self._home,
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "150",
        }
        output = []
        errors = Path(self._home, "errors")  # no terminal: progress would be drawn on it
        with (
            errors.open("w") as aside,
            subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if shown else aside,
                env=environment,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                output.append(line)
                if shown:
                    print(line, end="", flush=True)
        if process.returncode:
            print(errors.read_text("utf-8"), end="", flush=True)
        return process.returncode, "".join(output)

    def python(self, *arguments: str, shown: bool = False) -> tuple[int, str]:
        """Run the machine's Python."""
        return self.run([sys.executable, "-P", *arguments], shown=shown)


def doctor(host: Host) -> dict[str, Any]:
    """Return what the host can isolate, and why what is missing is missing."""
    _, output = host.python("-m", "toolrunner", "doctor", "--json")
    found = json.loads(output)
    layers = {layer["layer"]: layer for layer in found["layers"]}
    return {
        "landlock": layers["landlock"]["detail"].removeprefix("ABI ")
        if layers["landlock"]["on"]
        else "",
        "cgroup": layers["cgroup"]["detail"],
        "missing": [name for name, layer in layers.items() if not layer["on"]],
        "reasons": {n: layer["detail"] for n, layer in layers.items() if not layer["on"]},
        "start": found["start"]["mode"],
        "floor": found["floor"]["gaps"],
    }


def calls(host: Host) -> dict[str, Any]:
    """Return how many calls of bundled plugins and of harmless ones succeeded, and how they ran."""
    _, output = host.python("scripts/guests/calls.py")
    found: dict[str, Any] = json.loads(output)
    return found


def attacks(host: Host) -> dict[str, Any]:
    """Return what came of the shipped attacks, by outcome, with those that were not contained."""
    patterns = [part for pattern in host.job["attacks"] for part in ("--only", pattern)]
    _, output = host.python("-m", "toolrunner", "doctor", "--attack", "--json", *patterns)
    cases = json.loads(output)["cases"]
    counts = dict.fromkeys(("contained", "degraded", "escaped"), 0)
    for case in cases:
        counts[case["outcome"]] += 1
        if case["outcome"] != "contained":
            print(f"{case['outcome']}: {case['name']}: {case['detail']}", flush=True)
    return counts


def tests(host: Host) -> dict[str, Any]:
    """Return how many tests passed, failed and were skipped."""
    arguments = ["-p", "no:cacheprovider", "-q", "--tb=short", "-o", "timeout=900"]
    _, output = host.python("-m", "pytest", *arguments, *host.job["tests"], shown=True)
    last = output.rstrip().rpartition("\n")[2]
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (\w+)", last)}
    return {name: counts.get(name, 0) for name in ("passed", "failed", "error", "skipped")}


def main() -> None:
    """Do the job that came with the sources."""
    job = json.loads(Path("job.json").read_text("utf-8"))
    release = os.uname()
    tell(kernel=release.release, machine=release.machine)
    print("compiling", flush=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "api", "plugins", "runner", "sandbox",
                    "toolrunner", "tests"], check=False)  # fmt: skip
    for folder in ("/tmp", "/var/tmp"):  # noqa: S108 - the machine's own
        Path(folder).chmod(0o1777)
    for name, value in job["sysctl"].items():
        Path("/proc/sys", *name.split(".")).write_text(value)
    host = Host(job)
    if job["command"] is not None:
        status, _ = host.run(["/bin/bash", "-c", job["command"]], shown=True)
        tell(status=status, done=True)
        return
    for part in (doctor, calls, attacks, tests):
        print(part.__name__, flush=True)
        tell(**{part.__name__: part(host)})
    tell(done=True)


if __name__ == "__main__":
    main()
