"""Processes seen from outside, through /proc and psutil: who they are and what they hold."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

import psutil


def proportional_bytes(pid: int) -> int:
    """Return Pss + SwapPss of a process, in bytes (proc_pid_smaps(5)).

    psutil's own figure leaves out swap shares; elsewhere than Linux it is all there is.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self/smaps_rollup").exists():
            raise
        return int(psutil.Process(pid).memory_info().rss)
    total = 0
    for line in text.splitlines():
        if line.startswith((b"Pss:", b"SwapPss:")):
            total += int(line.split()[1]) * 1024
    return total


@functools.cache
def kernel_lists_children() -> bool:
    """Tell whether the kernel was built to list a process's children (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children_of(pid: int) -> list[int]:
    """Return a process's children, from the kernel's own list where there is one.

    None for a process that has ended or cannot be seen. psutil looks through the whole host.
    """
    if not kernel_lists_children():
        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def tree_below(pid: int) -> list[int]:
    """Return all descendants of ``pid``."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def group_of(pid: int) -> int:
    """Return a process's group, 0 if it has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def inner_number(pid: int) -> int:
    """Return a process's number in its own pid namespace (proc_pid_status(5)), 0 if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith(b"NSpid:")), b"0")
    return int(line.split()[-1])
