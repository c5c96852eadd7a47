"""What a fault takes of the host's memory is seen, by figures that are none of the runner's."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest

from toolrunner.api.attack.host_memory import allowed_bytes, measuring
from toolrunner.sandbox.limits import MIB, Limits

TAKEN = 300 * MIB
NEIGHBOUR = f"""
for _ in range(20):
    input()
    area = bytearray({TAKEN})
    area[::4096] = b"x" * len(area[::4096])
    del area
    print("taken and given back", flush=True)
"""


def take() -> None:
    """Touch memory, a page at a time, and give it back."""
    with mmap.mmap(-1, TAKEN) as area:
        for at in range(0, TAKEN, mmap.PAGESIZE):
            area[at] = 1


def test_memory_that_was_taken_is_missed() -> None:
    """Most of it, in one of some tries: others give and take meanwhile."""
    with measuring() as measure:
        for _ in range(20):
            with measure() as loss:
                take()
            if loss.most > TAKEN * 2 // 3:
                return
    raise AssertionError(loss.most)


def test_nothing_taken_is_nothing_missed() -> None:
    """In one of some tries: others take as well."""
    with measuring() as measure:
        for _ in range(20):
            with measure() as loss:
                pass
            if loss.most < TAKEN // 3:
                return
    raise AssertionError(loss.most)


def test_what_others_take_is_not_the_faults() -> None:
    """In one of some tries, as processes elsewhere on the host take as well."""
    if not os.access("/sys/fs/cgroup/memory/cgroup.procs", os.W_OK):
        pytest.skip("this user may make no memory cgroup of version 1")
    with (
        subprocess.Popen(
            [sys.executable, "-c", NEIGHBOUR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as neighbour,
        measuring() as measure,
    ):
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        for _ in range(20):
            with measure() as loss:
                print(file=neighbour.stdin, flush=True)
                assert neighbour.stdout.readline()
            if loss.most < TAKEN // 3:
                break
        neighbour.kill()
    assert loss.most < TAKEN // 3


def test_a_call_may_take_a_quarter_more_than_its_limit_and_a_little() -> None:
    """What lies between two looks, and what a box needs itself."""
    assert allowed_bytes(Limits(memory_mb=64)) == 144 * MIB
