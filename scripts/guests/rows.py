"""The rows of the table: kernels, and what kind of host each is booted as."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# What is tried if nothing else is asked for: emulation is too slow for all of it.
ATTACKS = (
    "channel/forged_reply", "escape/files", "escape/network", "escape/other_processes",
    "resources/heap", "resources/memory_hidden_from_proc", "resources/shared_mapping",
    "tree/fork_bomb", "tree/own_session",
)  # fmt: skip
TESTS = ("tests/sandbox/test_cgroups.py", "tests/sandbox/test_layers.py")
COLUMNS = (
    "kernel", "host", "Landlock", "cgroup", "layers missing", "calls run", "calls ok",
    "attacks: contained / degraded / escaped", "tests: passed / failed / skipped",
)  # fmt: skip
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A kernel of a Debian suite, and the host that is made with it.

    ``cgroup`` is one of those in ``inside.make_cgroups``.
    """

    name: str
    says: str
    suite: str
    architecture: str = "amd64"
    cgroup: str = "delegated"
    uid: int = 0
    sysctl: dict[str, str] = field(default_factory=dict)

    def job(self, attacks: list[str], tests: list[str], command: str | None) -> dict[str, Any]:
        """Return what ``inside`` is to do."""
        return {
            "cgroup": self.cgroup,
            "uid": self.uid,
            "sysctl": self.sysctl,
            "attacks": attacks,
            "tests": tests,
            "command": command,
        }


_NO_USERNS = {"user.max_user_namespaces": "0"}
_OLD, _NEW, _NEXT = "bookworm", "trixie", "sid"
ROWS = (
    Row("6.1-root", "root, a service with Delegate=", _OLD),
    Row("6.1-user", "user, a service with Delegate=", _OLD, uid=1000),
    Row("6.12-root", "root, a service with Delegate=", _NEW),
    Row("6.12-user", "user, a service with Delegate=", _NEW, uid=1000),
    Row("6.12-container", "root, in the root cgroup", _NEW, cgroup="root"),
    Row("6.12-leaf", "root, a service without Delegate=", _NEW, cgroup="leaf"),
    Row("6.12-no-userns", "user, no user namespaces, no cgroup", _NEW, cgroup="none", uid=1000,
        sysctl=_NO_USERNS),
    Row("6.12-no-userns-cgroup", "user, no user namespaces, Delegate=", _NEW, uid=1000,
        sysctl=_NO_USERNS),
    Row("recent-root", "root, a service with Delegate=", _NEXT),
    Row("arm64-user", "user, a service with Delegate=", _NEW, architecture="arm64", uid=1000),
)  # fmt: skip


def line(row: Row, found: Found) -> tuple[str, bool]:
    """Return a row of the table, and whether anything is bad in it.

    A machine that did not do its whole job shows what it had done, and a dash for the rest.
    """
    cells = [f"{found['kernel']} {found['machine']}" if "machine" in found else row.name, row.says]
    is_bad = "trouble" in found
    if host := found.get("doctor"):
        cells += [
            host["landlock"] or "none",
            host["cgroup"].removeprefix("version ") if "cgroup" not in host["missing"] else "none",
            ", ".join(f"`{name}`" for name in host["missing"]) or "none",
        ]
    if calls := found.get("calls"):
        cells += ["/".join(calls["modes"]) or "refused", f"{calls['ok']} of {calls['of']}"]
        is_bad |= calls["ok"] < calls["of"]
    if attacks := found.get("attacks"):
        counts = (attacks[name] for name in ("contained", "degraded", "escaped"))
        cells.append(" / ".join(map(str, counts)))
        is_bad |= attacks["escaped"] > 0
    if tests := found.get("tests"):
        failed = tests["failed"] + tests["error"]
        cells.append(f"{tests['passed']} / {failed} / {tests['skipped']}")
        is_bad |= failed > 0
    cells += ["-"] * (len(COLUMNS) - len(cells))
    return f"| {' | '.join(cells)} |", is_bad


def table(results: Iterable[tuple[Row, Found]], parts: tuple[list[str], list[str]]) -> list[str]:
    """Return the table as Markdown, with its date and what was tried."""
    attacks, tests = (", ".join(f"`{name or '*'}`" for name in names) for names in parts)
    return [
        f"Tried on {datetime.now(UTC):%Y-%m-%d}. Attacks: {attacks}. Tests: {tests}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *(line(row, found)[0] for row, found in results),
    ]
