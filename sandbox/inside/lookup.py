"""Finds the program of a plugin that is one, inside the box, or says what was looked for where.

Called by ``command`` when the plugin is loaded. Starts nothing.
"""

from __future__ import annotations

import os
import re
import stat

# Compiled when they are needed: every box imports this module, and few have a program.
_FILE = r"[\w./+-]+\.[A-Za-z0-9]{1,5}"  # looks like the name of one
_PROGRAM = r"\w[\w.+-]*"
# What Debian has these in.
_PACKAGES = {
    "node": "nodejs",
    "npx": "npm",
    "ruby": "ruby",
    "php": "php-cli",
    "perl": "perl",
    "java": "default-jre-headless",
    "Rscript": "r-base-core",
    "lua": "lua5.4",
    "jq": "jq",
    "gawk": "gawk",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "convert": "imagemagick",
    "magick": "imagemagick",
    "pdftotext": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "tesseract": "tesseract-ocr",
}


NOT_FOUND = 127  # a shell's status for a program that is not there
_ELSEWHERE = (
    "One that lies elsewhere is not seen: give its path, and name its folder in read of the "
    "manifest"
)


class ProgramNotFoundError(Exception):
    """There is no such program in the box, or none that can be executed."""


def find(name: str, folder: str) -> str:
    """Return the path of a program; raise ``ProgramNotFoundError`` that says what was looked for.

    A name with "/" is one in the plugin's folder, or absolute. Any other is looked up there first,
    and then in PATH.
    """
    folders = [folder] if "/" in name else [folder, *os.environ["PATH"].split(":")]
    unusable = ""
    for place in folders:
        path = os.path.normpath(os.path.join(place, name))
        problem = problem_of(path)
        if not problem:
            check_interpreter(path)
            return path
        unusable = unusable or (problem if os.path.lexists(path) else "")
    if unusable:
        raise ProgramNotFoundError(unusable)
    if "/" in name:
        raise ProgramNotFoundError(f"there is no {os.path.join(folder, name)}")
    raise ProgramNotFoundError(
        f"there is no program {name} in {', '.join(folders)}{remedy_for(name)}"
    )


def remedy_for(name: str) -> str:
    """Return what to do about a program that is not there."""
    return f"; {installing(name)}, or put it into the plugin's folder. {_ELSEWHERE}"


def remedy_in(path: str, name: str) -> str:
    """Return what to do about one that a plugin in Python has started; ``path``: its PATH."""
    return f"the box's PATH is {path}: {installing(name)} on the host. {_ELSEWHERE}"


def by_a_shell(path: str) -> str:
    """Return the same of one that a shell was to start, and has not found."""
    return (
        f"So a shell says that it has found no such program; the box's PATH is {path}: "
        f"install it on the host. {_ELSEWHERE}"
    )


def installing(name: str) -> str:
    """Return how to get a program."""
    package = _PACKAGES.get(name)
    return f"install it (on Debian: apt-get install {package})" if package else "install it"


def problem_of(path: str) -> str:
    """Tell why a file cannot be executed, or return nothing."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(mode):
        return f"{path} is no file"
    if not os.access(path, os.X_OK):
        return (
            f"{path} is not executable; chmod a+rx it, or name what runs it first, as in "
            f'command = ["sh", "{os.path.basename(path)}"]'
        )
    return ""


def first_line(path: str) -> str:
    """Return what a script's first line names as its interpreter; "" for what is no script."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return ""  # a program may be executed and not read; a script says so itself
    if not line.startswith(b"#!"):
        return ""
    return line[2:].decode("utf-8", "replace").rstrip("\n").lstrip(" \t")


def check_interpreter(path: str) -> None:
    """Refuse a script whose first line names a program that is not there."""
    line = first_line(path)
    if not line:
        return
    words = line.split(" ")
    if words[-1].endswith("\r"):
        raise ProgramNotFoundError(
            f"{path}: its first line ends as lines do on Windows; save it with Unix line endings"
        )
    first = words[0]
    if not os.path.exists(first):
        raise ProgramNotFoundError(
            f"{path}: its first line names {first}, which is not there; name what is"
        )
    asked = words[1] if len(words) > 1 else ""
    if os.path.basename(first) == "env" and re.fullmatch(_PROGRAM, asked):
        folders = os.environ["PATH"].split(":")
        if not any(os.path.exists(f"{place}/{asked}") for place in folders):
            raise ProgramNotFoundError(
                f"{path}: its first line asks for {asked}, which is not in "
                f"{', '.join(folders)}{remedy_for(asked)}"
            )


def placed(word: str, folder: str) -> str:
    """Return an argument; one that names a file of the plugin's folder becomes that file's path."""
    path = os.path.join(folder, word)
    return path if word and not word.startswith("-") and os.path.isfile(path) else word


def looks_missing(word: str, folder: str) -> bool:
    """Tell whether an argument looks like the name of a file, and there is none."""
    return bool(re.fullmatch(_FILE, word)) and not os.path.exists(os.path.join(folder, word))
