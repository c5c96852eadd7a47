#!/usr/bin/env python3
"""Check that this project runs plugins as Phase 12 says, and bring plugins of other hosts under it.

    python scripts/migrate_phase_12.py                       # check this project
    python scripts/migrate_phase_12.py ../ocr                # what a plugin needs, as a diff
    python scripts/migrate_phase_12.py ../ocr --write        # do it; what it was is kept as .orig
    python scripts/migrate_phase_12.py ../server --json      # a code base: its plugins, its calls
    python scripts/migrate_phase_12.py ../ocr --host acme    # acme is the plugin's host, too
    python scripts/migrate_phase_12.py ../ocr --rename ocr=acme-ocr   # under another name

Plugins are classes with run, run_tool(tool, args) or analyze(image, options), in a file, in a
folder with manifest.json, or in a distribution with entry points such as "forgesyte.plugins".
Their code stays, and their host still finds them: they get a manifest, and a few lines that call
them. Nothing of theirs is run. Tests and links are not looked at. Hooks and functions that another
host collects are named. What a comment "# by hand: why it stays" answers is not left to do.

Exit status: 0 nothing to do, or all done; 1 something is left to do; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

from migration import project_check, report, writing
from migration.findings import Finding, Plan, shown
from migration.manifest import legal_name
from migration.plan import plan
from migration.walk import METADATA

ROOT = Path(__file__).resolve().parents[1]


def check_project(*, as_json: bool) -> int:
    """Check the project that this script belongs to; return the exit status."""
    problems = project_check.check(ROOT)
    if as_json:
        found = [{"problem": heading, "findings": lines} for heading, lines in problems]
        print(json.dumps({"ok": not problems, "problems": found}))
        return 1 if problems else 0
    for heading, lines in problems:
        print(f"Phase 12 migration check FAILED: {heading}")
        for line in lines:
            print(f" - {line}")
    if not problems:
        print("Phase 12 migration check OK: no direct plugin.run() calls found.")
    return 1 if problems else 0


def perform(made: Plan) -> dict[Path, Path | None]:
    """Write a plan's files; return those that were, with their backups. Stops at a failure."""
    written: dict[Path, Path | None] = {}
    for change in made.changes:
        try:
            written[change.path] = writing.write(change)
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            made.by_hand.append(Finding(change.path, 1, what, "run this again after mending that"))
            break
    return written


def migrate(
    path: Path, hosts: list[str], names: dict[str, str], *, write: bool, as_json: bool
) -> int:
    """Report what a path needs, and do it if asked; return the exit status."""
    made = plan(path, hosts, names)
    written = perform(made) if write else None
    if as_json:
        print(json.dumps(report.document(made, written)))
    else:
        print("\n".join(report.lines(made, written)))
    return 1 if made.to_do or (made.changes and not write) else 0


def _renaming(text: str) -> tuple[str, str]:
    """Return the two names of ``NAME=NEW``; raise ArgumentTypeError for what is not."""
    name, is_there, new = text.partition("=")
    if not is_there or legal_name(new) != new:
        message = "give NAME=NEW; a name has small letters, digits and hyphens, 64 at most"
        raise argparse.ArgumentTypeError(message)
    return legal_name(name), new


def main() -> int:
    """Read the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", nargs="?", type=Path, help="a plugin, or a folder of code")
    parser.add_argument("--write", action="store_true", help="do it, instead of showing it")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument(
        "--host", action="append", default=[], metavar="MODULE",
        help="a top-level module of the plugin's old host (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--rename", action="append", default=[], metavar="NAME=NEW", type=_renaming,
        help="give the plugin that would be called NAME another name (repeatable)",
    )  # fmt: skip
    given = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # files are called and say anything
    if given.path is None:
        if given.write or given.host or given.rename:
            parser.error("--write, --host and --rename need a path")
        return check_project(as_json=given.json)
    if not given.path.exists():
        parser.error(f"{shown(given.path)}: there is no such file or folder")
    if given.path.is_file() and given.path.suffix != ".py" and given.path.name not in METADATA:
        parser.error(f"{shown(given.path)}: name a Python file, or a folder")
    return migrate(
        given.path, given.host, dict(given.rename), write=given.write, as_json=given.json
    )


if __name__ == "__main__":
    sys.exit(main())
