"""Which files the arguments of ``analyze`` and ``run`` stand for: files, folders, and patterns.

Yields them one by one, so that a folder may hold any number. Reads names, never contents; what
cannot be used is yielded as well, with the words that say why.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolrunner.plugins.errors import shown

STDIN = "-"
LONGEST_NAME = 200  # bytes: what is written of a file has its name and some more

Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Input:
    """One file to analyze.

    ``below``: where what is written of it lies in the folder for that, "" for nowhere.
    ``is_named``: the caller named it, instead of a folder that holds it. ``problem``: why it
    cannot be used.
    """

    name: str
    below: str = ""
    is_named: bool = True
    problem: str = ""


def inputs(
    arguments: Sequence[str], *, recursive: bool, out: Identity | None = None
) -> Iterator[Input]:
    """Yield the files in the order of the arguments, those of a folder by name.

    ``recursive``: also those in a folder's folders; links to folders are not followed there, and
    what begins with a dot is left out. ``out``: the folder for results, which is not looked into;
    where there is one, no two files may have one place in it.
    """
    taken: dict[str, Input] = {}
    # Of one folder no two files have the same place, however many there are.
    are_apart = len(arguments) == 1 and os.path.isdir(arguments[0])
    for argument in arguments:
        for found in _of(argument, recursive=recursive, without=out):
            yield found if out is None or are_apart else _placed(found, taken)


def _placed(found: Input, taken: dict[str, Input]) -> Input:
    """Return a file with its place, or what is wrong if another file has that."""
    if not found.below:
        return found
    other = taken.setdefault(found.below, found)
    if other is found or _entry(other.name) == _entry(found.name):
        return found
    problem = (
        f"{shown(found.name)} and {shown(other.name)} would both be {shown(found.below)} in the "
        "folder for results; name a folder that holds both, with --recursive"
    )
    return Input(found.name, problem=problem)


def _entry(name: str) -> str:
    """Return a file's path without links to folders: what is before ``..`` may be one."""
    folder, last = os.path.split(name)
    return os.path.join(os.path.realpath(folder), last)


def _of(argument: str, *, recursive: bool, without: Identity | None) -> Iterator[Input]:
    if argument == STDIN:
        yield Input(STDIN, "stdin")
    elif os.path.isdir(argument):
        yield from _in_folder(argument, "", recursive=recursive, without=without)
    elif glob.has_magic(argument) and not os.path.lexists(argument):
        yield from _matching(argument)
    else:
        yield _checked(argument, os.path.basename(os.path.normpath(argument)), is_named=True)


def _checked(name: str, below: str, *, is_named: bool) -> Input:
    last = os.path.basename(below)
    if last in {"", ".", ".."}:
        return Input(name, is_named=is_named)
    if len(os.fsencode(last)) > LONGEST_NAME:
        problem = f"{shown(name)}: its name is longer than {LONGEST_NAME} bytes; rename it"
        return Input(name, is_named=is_named, problem=problem)
    return Input(name, below, is_named)


def _matching(pattern: str) -> Iterator[Input]:
    """Yield the files that a pattern fits which no shell has expanded."""
    folder = _before_magic(pattern)
    names = sorted(name for name in glob.iglob(pattern, recursive=True) if os.path.isfile(name))
    if not names:
        yield Input(pattern, problem=f"{shown(pattern)}: no file has a name like that")
    for name in names:
        yield _checked(name, os.path.relpath(name, folder or "."), is_named=True)


def _before_magic(pattern: str) -> str:
    """Return the folder that all matches of a pattern lie below."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder


def _in_folder(
    folder: str, below: str, *, recursive: bool, without: Identity | None
) -> Iterator[Input]:
    try:
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) == without:
            return
        with os.scandir(folder) as entries:
            here = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problem = f"{shown(folder)} cannot be searched: {error.strerror}; let this user read it"
        yield Input(folder, problem=problem)
        return
    for name in here:
        path, inner = os.path.join(folder, name), f"{below}{name}"
        if os.path.isfile(path):
            yield _checked(path, inner, is_named=False)
        elif recursive and os.path.isdir(path) and not os.path.islink(path):
            yield from _in_folder(path, f"{inner}/", recursive=recursive, without=without)
