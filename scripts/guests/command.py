"""The command line of ``scripts/kernels``."""

from __future__ import annotations

import argparse
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from guests.image import Images
from guests.machine import MachineError, Stopped, run
from guests.rows import ATTACKS, ROWS, TESTS, Row, line, table

_EPILOG = """\
examples:
  scripts/kernels                              all rows, two machines at once
  scripts/kernels --list                       the rows
  scripts/kernels '6.12-*' --jobs 1            some of them
  scripts/kernels 6.1-user --attack '' --test tests/sandbox
                                               the whole corpus, all tests of the sandbox
  scripts/kernels 6.12-root --run 'toolrunner doctor'
                                               a command of your own, shown as it runs

Machines are QEMU's, emulated (no KVM): some ten times slower than this one. Kernels and the small
system around them come from Debian's archive and are kept in --cache (1 GB or so); nothing is
installed. The sources are those of this checkout, committed or not. The table goes to stdout,
progress to stderr. Exit status: 1 if an attack escaped, a call or a test failed; 2 if a machine did
not do its job; 130 after a Ctrl-C.
"""
_TOOLS = ("apt-get", "dpkg-deb", "tar", "mke2fs", "git")
_STARTED = time.monotonic()


def say(words: str) -> None:
    """Say how far it is."""
    print(f"{time.monotonic() - _STARTED:6.0f} s  {words}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/kernels",
        description="Tries this project on other kernels and kinds of hosts, in virtual machines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    add = parser.add_argument
    add("row", nargs="*", default=["*"], help="names of rows; * stands for anything")
    add("--list", action="store_true", help="say which rows there are, and end")
    add("--run", metavar="COMMAND", help="run this instead, by bash, as the row's user")
    add("--attack", metavar="NAME", action="append", help="as `toolrunner doctor --only`")
    add("--test", metavar="PATH", action="append", help="as pytest takes it")
    add("--jobs", type=int, default=2, help="machines at once (2)")
    add("--cache", type=Path, default=cache / "toolrunner-kernels", help="folder (%(default)s)")
    add("--minutes", type=float, default=60, help="the most that a machine may take (60)")
    add("--memory-mb", type=int, default=2048, help="of a machine (2048)")
    return parser.parse_args()


def _chosen(patterns: list[str]) -> list[Row]:
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(row.name, pattern) for row in ROWS):
            sys.exit(f"error: there is no row {pattern!r}; --list says which there are")
    return [row for row in ROWS if any(fnmatch.fnmatchcase(row.name, p) for p in patterns)]


def main() -> None:
    """Run it."""
    options = _options()
    rows = _chosen(options.row)
    if options.list:
        for row in rows:
            print(f"{row.name:22} {row.suite}/{row.architecture}: {row.says}")
        return
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(f"error: not found: {', '.join(missing)}")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell let it ignore these
        signal.signal(number, signal.default_int_handler)
    stop = threading.Event()
    pool = ThreadPoolExecutor(max(1, options.jobs))
    try:
        sys.exit(_run_all(rows, options, pool, stop))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is short
        stop.set()
        pool.shutdown(cancel_futures=True)
        say("interrupted; no machine is left")
        sys.exit(130)


def _run_all(
    rows: list[Row], options: argparse.Namespace, pool: ThreadPoolExecutor, stop: threading.Event
) -> int:
    """Run all rows, show the table; return the exit status."""
    images = Images(options.cache.absolute(), say)
    try:  # what machines share is made before the first of them
        for row in rows:
            images.kernel(row.suite, row.architecture)
            images.disk(row.architecture)
    except (OSError, LookupError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: a machine's kernel or disk could not be made: {error}")
    ends = [pool.submit(_run_one, row, options, images, stop) for row in rows]
    found = [end.result() for end in ends]
    pool.shutdown()
    if options.run is not None:
        return max(int(one.get("status", 2)) for one in found)
    print("\n".join(table(list(zip(rows, found, strict=True)), _parts(options))))
    if any("trouble" in one for one in found):
        return 2
    return int(any(line(row, one)[1] for row, one in zip(rows, found, strict=True)))


def _parts(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    return options.attack or list(ATTACKS), options.test or list(TESTS)


def _run_one(
    row: Row, options: argparse.Namespace, images: Images, stop: threading.Event
) -> dict[str, Any]:
    say(f"{row.name}: boots")
    job = row.job(*_parts(options), options.run)
    try:
        found = run(
            images,
            row.suite,
            row.architecture,
            job,
            lambda words: say(f"{row.name}: {words}"),
            stop,
            seconds=options.minutes * 60,
            memory_mb=options.memory_mb,
        )
    except Stopped:
        return {"trouble": "interrupted"}
    except (MachineError, OSError) as error:
        say(f"{row.name}: {error}")
        return {**getattr(error, "found", {}), "trouble": str(error)}
    say(f"{row.name}: done; {found}")
    return found
