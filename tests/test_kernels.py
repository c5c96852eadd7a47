"""``scripts/kernels``, as far as it needs no machine: rows, table, what machines boot from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guests.image import cpio, locked
from guests.rows import COLUMNS, ROWS, line, table

ROOT = Path(__file__).parent.parent
KERNELS = [sys.executable, str(ROOT / "scripts/kernels")]


def found(**changes: object) -> dict[str, Any]:
    """Return what a machine found that has nothing to complain of."""
    good = {
        "kernel": "6.1.0",
        "machine": "x86_64",
        "doctor": {"landlock": "2", "cgroup": "version 2", "missing": []},
        "calls": {"ok": 10, "of": 10, "modes": ["cold"]},
        "attacks": {"contained": 9, "degraded": 1, "escaped": 0},
        "tests": {"passed": 5, "failed": 0, "error": 0, "skipped": 1},
    }
    return good | changes


def test_it_says_what_it_can_do() -> None:
    """The help has examples, and the list all rows."""
    shown = subprocess.check_output([*KERNELS, "--help"], text=True)
    assert "examples:" in shown
    listed = subprocess.check_output([*KERNELS, "--list"], text=True).splitlines()
    assert [row.split()[0] for row in listed] == [row.name for row in ROWS]


def test_a_row_that_is_unknown_is_refused() -> None:
    """With where to look."""
    done = subprocess.run([*KERNELS, "no-such-row"], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "--list" in done.stderr


@pytest.mark.parametrize(
    "bad",
    [
        {"attacks": {"contained": 0, "degraded": 0, "escaped": 1}},
        {"calls": {"ok": 9, "of": 10, "modes": ["warm"]}},
        {"tests": {"passed": 0, "failed": 0, "error": 1, "skipped": 0}},
    ],
)
def test_what_failed_is_bad(bad: dict[str, Any]) -> None:
    """An escape, a call that failed, a test that failed."""
    cells = ("6.1.0 x86_64", ROWS[0].says, "2", "2", "none", "cold", "10 of 10", "9 / 1 / 0")
    assert line(ROWS[0], found()) == (f"| {' | '.join(cells)} | 5 / 0 / 1 |", False)
    assert line(ROWS[0], found(**bad))[1]


def test_a_machine_that_did_not_do_its_job_has_a_row() -> None:
    """With what it had done until then, and as many cells as the others."""
    for number in range(len(found()) + 1):
        done = dict(list(found().items())[:number])
        text, is_bad = line(ROWS[0], {**done, "trouble": "it did not end"})
        assert is_bad
        assert text.count("|") == len(COLUMNS) + 1
    assert text == line(ROWS[0], found())[0]


def test_the_document_has_a_table_as_it_is_printed() -> None:
    """The same columns, and only hosts that can be booted again."""
    text = (ROOT / "docs/security.md").read_text("utf-8").split("## Other kernels")[1]
    printed = table([], ([], []))
    lines = [row for row in text.split("\n## ")[0].splitlines() if row.startswith("|")]
    assert lines[:2] == printed[-2:]
    assert {row.split("|")[2].strip() for row in lines[2:]} <= {row.says for row in ROWS}
    assert len(lines) > 5


def test_a_first_root_is_an_archive_that_the_kernel_unpacks() -> None:
    """Names, modes and contents are where the format has them, four bytes each aligned."""
    packed = cpio({"bin/one": b"12345", "init": b""})
    at, names = 0, {}
    while True:
        assert packed[at : at + 6] == b"070701"
        fields = [int(packed[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = packed[at + 110 : at + 109 + fields[11]].decode()
        if name == "TRAILER!!!":
            break
        start = (at + 110 + fields[11] + 3) & ~3
        names[name] = (oct(fields[1]), packed[start : start + fields[6]])
        at = (start + fields[6] + 3) & ~3
    assert names == {
        "bin": ("0o40755", b""),
        "bin/one": ("0o100755", b"12345"),
        "init": ("0o100755", b""),
    }


def test_machines_get_no_linters() -> None:
    """A lock's entry goes with its digests."""
    lock = "mypy==1 \\\n    --hash=a\npsutil==2 \\\n    --hash=b\nruff==3 \\\n    --hash=c\n"
    assert list(locked(lock)) == ["psutil==2 \\", "    --hash=b"]


def test_a_ctrl_c_ends_the_machine_and_leaves_no_file(tmp_path: Path) -> None:
    """Even one that would never end, in place of QEMU."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    fake = binaries / "qemu-system-x86_64"
    fake.write_text("#!/bin/sh\necho pid $$\nexec sleep 1000\n", "utf-8")
    fake.chmod(0o755)
    for unused in ("apt-get", "dpkg-deb", "mke2fs"):
        (binaries / unused).symlink_to(fake)
    row = next(row for row in ROWS if row.architecture == "amd64")
    cache = tmp_path / "cache"
    (cache / f"kernel-{row.suite}-amd64").mkdir(parents=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
    }
    # A disk by the name that it asks for: what is in it is QEMU's business.
    command = [*KERNELS, row.name, "--cache", str(cache), "--run", "true"]
    name = subprocess.check_output(
        [sys.executable, "-c", "from guests.image import disk_name; print(disk_name('amd64'))"],
        cwd=ROOT / "scripts",
        text=True,
    ).strip()
    (cache / name).mkdir()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said: list[str] = []
        for text in process.stderr:
            said.append(text)
            if " pid " in text:
                break
        assert " pid " in said[-1], said
        words = said[-1]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    machine = int(words.split()[-1])
    with pytest.raises(ProcessLookupError):
        os.kill(machine, 0)
    assert list(temporary.iterdir()) == []
