#!/usr/bin/env python3
"""Hold the source against the rules of governed plugin calls: each goes through ToolRunner.

    python scripts/scan_phase_12_violations.py               # this project
    python scripts/scan_phase_12_violations.py --json        # one JSON document
    python scripts/scan_phase_12_violations.py --root DIR    # another checkout, or another server
    python scripts/scan_phase_12_violations.py --list-rules  # each rule's name and sentence

It reads every Python file below the folder but tests, as syntax trees; it imports and runs
nothing of them. A finding is a line "path:line: RULE: sentence". A comment in that line, or in one
of its own above it, allows it: "# phase12: allow RULE - reason". It is then listed with its reason;
without a reason it stays a finding. Exit status: 0 without findings, 1 with some, 2 when it was
called wrongly.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Neither -P nor -I has this folder on the path, and from elsewhere it might be another's.
sys.path.insert(0, str(HERE))

from phase12.rules import RULES, scan  # noqa: E402 - found only now
from phase12.source import read  # noqa: E402 - same


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--root", type=Path, metavar="DIR", default=HERE.parent)
    parser.add_argument("--list-rules", action="store_true", help="print the rules, and end")
    arguments = parser.parse_args(given)
    if not arguments.root.is_dir():
        parser.error(f"--root: {arguments.root} is not a folder; name one with a project in it")
    return arguments


def main(given: Sequence[str] | None = None) -> int:
    """Scan, print, and return the exit status."""
    arguments = _arguments(given)
    if arguments.list_rules:
        if arguments.json:
            print(json.dumps(RULES, indent=2))
        else:
            print("\n".join(f"{name}: {sentence}" for name, sentence in RULES.items()))
        return 0
    gc.disable()  # trees are all that is made, and none is thrown away: half of the time
    sources = read(arguments.root)
    answered = scan(sources)
    findings = [finding for finding in answered if not finding.reason]
    allowed = [finding for finding in answered if finding.reason]
    if arguments.json:
        document = {
            "ok": not findings,
            "files": len(sources.modules) + len(sources.unreadable),
            "findings": [asdict(finding) for finding in findings],
            "allowed": [asdict(finding) for finding in allowed],
        }
        print(json.dumps(document, indent=2))
        return 1 if findings else 0
    if findings:
        print("Phase 12 scanner FAILED:")
    else:
        print("Phase 12 scanner OK: no violations detected.")
    for finding in (*findings, *allowed):
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
