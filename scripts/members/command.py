"""The command line of ``scripts/cluster``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from members.held import end, held, new_folder, running
from members.program import Program, ProgramError
from members.toolrunners import ROOT
from members.whole import Cluster, Plan

_EPILOG = """\
examples:
  scripts/cluster                              two servers, three workers, files in a folder
  scripts/cluster --s3                         files in a bucket, of moto's server
  scripts/cluster --plugins my_plugins --workers 1
  scripts/cluster --folder /var/tmp/mine       a folder that stays, to go on with another time
  scripts/cluster stop                         ends the cluster; so does Ctrl-C where it runs

It is for trying: everything listens on the loopback or a socket, there are no keys, PostgreSQL does
not wait for the disk. It needs PostgreSQL's programs (Debian, Ubuntu: apt-get install postgresql)
and the extra `cluster` (pip install ".[cluster]"); --s3 needs moto[s3,server] as well. All that it
starts ends with it, and nothing else does. Exit status: 0 when it has been ended, 1 if something
could not be started.
"""
_NEEDED = "psutil, psycopg, procrastinate, obstore, toolrunner"
_CHECK_SECONDS = 1.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        description="Starts a cluster on this machine, for trying: PostgreSQL, a place for files,"
        " servers and workers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("action", nargs="?", choices=["start", "stop"], default="start", help="(start)")
    add("--folder", type=Path, help="where all of it lies (a temporary one)")
    add("--servers", type=int, default=2, metavar="N", help="(2)")
    add("--workers", type=int, default=3, metavar="N", help="(3)")
    add("--port", type=int, default=0, help="of the first server; 0 takes any that are free (0)")
    add("--s3", action="store_true", help="keep files in a bucket instead of a folder")
    add(
        "--plugins", metavar="PATH", action="append", default=[], help="as toolrunner's; repeatable"
    )
    options = parser.parse_args()
    if min(options.servers, options.workers) < 0 or options.servers + options.workers == 0:
        parser.error("--servers and --workers have to be 0 or more, and one of them above it")
    return options


def main() -> None:
    """Run it."""
    options = _options()
    try:
        sys.exit(_stop(options.folder) if options.action == "stop" else _start(options))
    except ProgramError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(folder: Path | None) -> int:
    found = [folder] if folder is not None else running()
    if len(found) > 1:
        listed = "\n".join(f"  scripts/cluster stop --folder {one}" for one in found)
        message = f"several clusters run; name one:\n{listed}"
        raise ProgramError(message)
    if not found or not end(found[0]):
        where = "" if folder is None else f" in {folder}"
        message = f"no cluster of this user runs{where}"
        raise ProgramError(message)
    _say(f"The cluster in {found[0]} has ended.")
    return 0


def _start(options: argparse.Namespace) -> int:
    plan = Plan(
        servers=options.servers,
        workers=options.workers,
        s3=options.s3,
        plugins=tuple(str(Path(path).absolute()) for path in options.plugins),
        first_port=options.port,
        python=_python("moto" if options.s3 else ""),
        settings=dict(os.environ),
    )
    folder = new_folder() if options.folder is None else options.folder.absolute()
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        # PostgreSQL, which is another user's where root starts it, has to get into its own.
        folder.chmod(0o711)
        with held(folder):
            return _run(Cluster(folder, plan))
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror}"
        raise ProgramError(message) from error
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _run(cluster: Cluster) -> int:
    over = threading.Event()
    # Not before, so that a Ctrl-C ends what is being started as well.
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell lets it ignore these
        signal.signal(number, signal.default_int_handler)
    try:
        cluster.start(lambda name: _say(f"starts: {name}"))
        _tell(cluster)
        _watch(cluster, over)
    except KeyboardInterrupt:
        _say("Ending: what runs may end first. Once more to kill it.")
    finally:
        cluster.stop()
    _say("All of it has ended.")
    return 0


def _watch(cluster: Cluster, over: threading.Event) -> None:
    """Say which program has ended by itself, or was ended, until this one is."""
    alive: list[Program] = [cluster.postgres, *cluster.members]
    while not over.wait(_CHECK_SECONDS):
        for program in [one for one in alive if not one.runs]:
            alive.remove(program)
            _say(f"{program.name} has ended, status {program.wait()}: see {program.log_file}")


def _tell(cluster: Cluster) -> None:
    """Say where everything is, and what can be done with it."""
    rows = [(one.name, f"{one.address}  process group {one.pid}") for one in cluster.members]
    rows += [("jobs", cluster.postgres.url()), ("blobs", cluster.blobs)]
    rows += [("logs", f"{cluster.folder}/*.log")]
    for name, what in rows:
        print(f"{name:10} {what}")
    if cluster.servers:
        address, last = cluster.servers[0].address, cluster.servers[-1].address
        print(f"""
Leave a job at a server, and ask for it at another one:
  curl -s {address}/v1/jobs -H 'Content-Type: application/json' \\
    -d '{{"plugin": "text-stats", "payload": {{"text": "one two"}}}}'
  curl -s {last}/v1/jobs/ID/result
What it does: {address}/openapi.json, {address}/v1/plugins""")
    # The process that is known here starts the one that works, which goes on without it.
    killed = "".join(
        f"\nSee what becomes of the jobs of one that dies: kill -9 -- -{one.pid}  ({one.name})"
        for one in cluster.members[-1:]
    )
    print(
        f"{killed}\nStop: Ctrl-C, or scripts/cluster stop --folder {cluster.folder}",
        flush=True,
    )


def _python(also: str) -> str:
    """Return a Python that has what is needed: this one, or that of an environment of the clone."""
    modules = f"{_NEEDED}, {also}".rstrip(", ")
    own = [ROOT / venv / "bin/python" for venv in (".venv-dev", ".venv")]
    for python in [sys.executable, *(str(one) for one in own if one.exists())]:
        done = subprocess.run(
            [python, "-P", "-c", f"import {modules}"],
            capture_output=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        if done.returncode == 0:
            return python
    more = ' "moto[s3,server]"' if also else ""
    message = (
        f"no Python here has all of {modules}. In a clone: python3 -m venv .venv &&"
        f' .venv/bin/pip install ".[cluster]"{more}, or scripts/test once, which makes .venv-dev'
    )
    raise ProgramError(message)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
