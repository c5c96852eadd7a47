"""Reads and writes the files of cgroups."""

from __future__ import annotations

import contextlib
import os


def read(path: str) -> str:
    """Return a file's text, as it is now."""
    with open(path, "rb", buffering=0) as file:
        return file.read().decode("ascii")


def write(path: str, text: str) -> None:
    """Write a file in one piece; what the kernel refuses is an ``OSError``."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode("ascii"))


def remove_tree(folder: str) -> None:
    """Remove a cgroup with all below it; one that holds a process is ``EBUSY``."""
    try:
        inner = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in inner:
        remove_tree(path)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)
