#!/usr/bin/env python3
"""Changes what governed execution does, one edit at a time, and sees the contract suites fail.

    scripts/mutate.py              every edit of tests/governance/behaviours.py (half an hour)
    scripts/mutate.py NAME...      these

Run it with the Python of the development environment. Each edit is made in a copy of the checkout,
in which tests/phase_11 and tests/phase_12 are run until the first of them fails. Exit status: 0
when all edits die, 1 when one survives, 2 when it was called wrongly.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.governance import behaviours  # noqa: E402 - found only now
from tests.governance.edits import Case  # noqa: E402 - same

SUITES = ("tests/phase_11", "tests/phase_12")
COPIED = ("api", "plugins", "runner", "sandbox", "scripts", "tests", "toolrunner")


def survives(case: Case, copy: Path) -> bool:
    """Make an edit in the copy, run the suites there, and take the edit back."""
    texts = case.texts()
    for path, text in texts.items():
        (copy / path).write_text(text or "", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *SUITES]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    for path in texts:
        shutil.copy(ROOT / path, copy / path)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    print(f"{case.name}: {failed[0][:150] if failed else 'SURVIVES'}", flush=True)
    return done.returncode == 0


def main(given: list[str]) -> int:
    """Try the edits, and return the exit status."""
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args(given).names
    unknown = set(names) - {case.name for case in behaviours.ALL}
    if unknown:
        parser.error(f"no such edit: {', '.join(sorted(unknown))}")
    wanted = [case for case in behaviours.ALL if not names or case.name in names]
    # Below a folder that the boxes' user can cross.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        copy = Path(name)
        copy.chmod(0o755)
        for part in COPIED:
            shutil.copytree(
                ROOT / part,
                copy / part,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(ROOT / "pyproject.toml", copy)
        surviving = [case.name for case in wanted if survives(case, copy)]
    print(f"{len(wanted) - len(surviving)} of {len(wanted)} edits die")
    return 1 if surviving else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
