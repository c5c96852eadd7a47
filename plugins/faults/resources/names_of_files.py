"""Fills a file system of memory with names, folders and links, which hold no bytes."""

import itertools
import os

from hostile import hold

LIMITS = {"wall_seconds": 60, "cpu_seconds": 60, "memory_mb": 64, "scratch_mb": 16}
INODE = 700  # bytes, at least
NAME = 200
LONG_NAME = "x" * 240


def folders(kept):
    for number in itertools.count():
        os.mkdir(f"{number}{LONG_NAME}")
        yield INODE + NAME


def links(kept):
    os.close(os.open("first", os.O_CREAT | os.O_WRONLY))
    for number in itertools.count():
        os.link("first", f"{number}{LONG_NAME}")
        yield NAME


def symbolic_links(kept):
    for number in itertools.count():
        os.symlink("y" * 100, f"{number}{LONG_NAME}")
        yield INODE + NAME


def files_without_a_name(kept):
    """Names that are gone while their files are open."""
    for number in itertools.count():
        kept.append(os.open(f"{number}{LONG_NAME}", os.O_CREAT | os.O_WRONLY))
        os.unlink(f"{number}{LONG_NAME}")
        yield INODE


VARIANTS = {
    "folders": folders,
    "links": links,
    "symbolic links": symbolic_links,
    "no names": files_without_a_name,
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
