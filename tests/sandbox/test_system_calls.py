"""Every system call of Linux is decided: the page, the filter's table and the kernel agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolrunner.sandbox.inside import seccomp_table
from toolrunner.sandbox.inside.syscalls import machine

PAGE = (Path(__file__).parents[2] / "docs/system-calls.md").read_text(encoding="utf-8")
TABLES = {
    name: table
    for name, table in vars(seccomp_table).items()
    if name.isupper() and isinstance(table, dict) and name != "GAP"
}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# In the generic header, what an architecture of 64 bits has not got, or calls otherwise.
NOT_CALLS = {"syscalls", "arch_specific_syscall", "sync_file_range2"}
OTHER_NAMES = {
    "fstatat": "newfstatat", "newfstat": "fstat", "newlstat": "lstat", "newstat": "stat",
    "newuname": "uname", "sendfile64": "sendfile", "umount": "umount2", "mmap_pgoff": "mmap",
    "fadvise64_64": "fadvise64",
}  # fmt: skip
# Functions of the kernel that no number of a 64-bit process leads to.
FOR_32_BITS = re.compile(
    r"(ia32_|s390_|pciconfig_|spu_|old|rtas$|subpage_prot$|vm86)|(16|time32|_time64|stime)$"
)
ONLY_FOR_32_BITS = {
    "fstatfs64", "statfs64", "gethostname", "ipc", "llseek", "ni_syscall", "nice", "recv", "send",
    "sgetmask", "ssetmask", "signal", "sigpending", "sigprocmask", "sigsuspend", "socketcall",
    "stime", "sync_file_range2", "waitpid", "clock_adjtime32", "clock_gettime32", "clock_settime32",
    "timer_gettime32", "timer_settime32", "timerfd_gettime32", "timerfd_settime32", "time32",
    "utime32", "clock_gettime64", "clock_settime64", "clock_adjtime64", "timer_gettime64",
    "timer_settime64", "timerfd_gettime64", "timerfd_settime64", "sigreturn", "truncate64",
    "ftruncate64", "stat64", "lstat64", "fstat64", "fstatat64", "fcntl64", "sigaction",
}  # fmt: skip


def rows(section: str) -> dict[str, list[str]]:
    """Return the calls of each row of a section, by the row's group."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and "`" in line and len(cells) == 3:
            found[cells[0]] = re.findall(r"`(\w+)`", cells[1])
    return found


DENIED = rows("Denied")
ALLOWED = rows("Allowed")
IN_PART = [name.strip("`") for name in rows("Allowed in part")]


def all_calls() -> list[str]:
    """Return every call that the page names, as often as it does."""
    groups = [*DENIED.values(), *ALLOWED.values()]
    return [*IN_PART, *(name for group in groups for name in group)]


def test_a_call_is_decided_once() -> None:
    """What stood in two groups would be allowed by one reader and denied by the other."""
    names = all_calls()
    assert sorted(names) == sorted(set(names))
    assert len(names) > 380


def test_the_page_has_the_groups_of_the_table() -> None:
    """Each with all of its calls."""
    on_page = {group.split("`")[1]: set(calls) for group, calls in DENIED.items() if "`" in group}
    in_table = {name: set(table) for name, table in TABLES.items() if name != "BY_ARGUMENT"}
    assert on_page == in_table
    assert set(IN_PART) == set(seccomp_table.BY_ARGUMENT)


def test_every_group_has_its_reason() -> None:
    """For a reader who asks why."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and "`" in line]
    assert all(len(line.strip("|").split("|")[2].strip()) > 5 for line in lines)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(arch: str) -> None:
    """Where the headers are installed (linux-libc-dev), every number of the table is theirs.

    They may be older than the table: what they do not know has one number everywhere.
    """
    known = header_calls(arch)
    column = ["x86_64", "aarch64"].index(arch)
    numbers = [
        (name, pair[column])
        for table in TABLES.values()
        for name, pair in table.items()
        if pair[column] != seccomp_table.ABSENT
    ]
    assert len(numbers) > 140
    common = {name for table in TABLES.values() for name, (x86, arm) in table.items() if x86 == arm}
    if known:
        newest = max(known.values())
        wrong = [(n, v) for n, v in numbers if known.get(n, v if n in common else -1) != v]
        assert wrong == []
        assert [n for n, v in numbers if v <= newest and n not in known] == []
    assert len({v for _, v in numbers}) == len(numbers)


def header_calls(arch: str) -> dict[str, int]:
    """Return the calls that the installed headers know; none where there are no headers."""
    header = HEADERS[arch]
    if not header.exists():
        return {}
    pattern = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", re.MULTILINE)
    found = {OTHER_NAMES.get(n, n): int(v) for n, v in pattern.findall(header.read_text())}
    return {
        n: v for n, v in found.items() if n not in NOT_CALLS | ONLY_FOR_32_BITS and not is_old(n)
    }


def is_old(name: str) -> bool:
    """Tell whether a name is a call for 32-bit processes, which no box has."""
    return bool(FOR_32_BITS.search(name))


def kernel_calls() -> set[str]:
    """Return the calls of the running kernel, whose names everybody may read."""
    prefix = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}[machine()]
    try:
        text = Path("/proc/kallsyms").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    names = {OTHER_NAMES.get(n, n) for n in re.findall(rf"\b{prefix}(\w+)", text)}
    return {name for name in names if name not in ONLY_FOR_32_BITS and not is_old(name)}


def test_every_call_of_this_kernel_is_decided() -> None:
    """A new one has to be looked at: until then it answers as if it did not exist."""
    known = kernel_calls() | set(header_calls(machine()))
    if not known:
        pytest.skip("neither /proc/kallsyms nor the headers of linux-libc-dev name system calls")
    assert sorted(known - set(all_calls())) == []


def test_calls_above_the_table_are_those_that_are_called_new() -> None:
    """The page must not call new what has a number in the table's range."""
    for arch in HEADERS:
        numbers = header_calls(arch)
        for name in DENIED["newer than the table (ENOSYS)"]:
            first, last = seccomp_table.GAP[arch]
            number = numbers.get(name, seccomp_table.NEWEST + 1)
            assert number > seccomp_table.NEWEST or first <= number <= last, name
