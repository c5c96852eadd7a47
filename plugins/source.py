"""A manifest's TOML as it stands in a file: read under a cap, parsed, and with line numbers.

Called by ``manifest``. Knows PEP 723 blocks and TOML, and nothing of what the keys mean. Never
blocks on a pipe or a device, and turns everything that can be wrong with a file into ManifestError.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolrunner.plugins import toml_words
from toolrunner.plugins.errors import KeyPath, ManifestError, NoManifest, dotted, shown
from toolrunner.plugins.toml_lines import key_lines
from toolrunner.sandbox.paths import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_CAP = 4 * 1024 * 1024
METADATA_CAP = 64 * 1024
# tomllib takes time in the square of a dotted key's length, and a key lies on one line.
LINE_CAP = 4 * 1024

FOLDER_MANIFEST = "toolrunner.toml"
MINIMAL_BLOCK = """\
# /// script
# [tool.toolrunner]
# name = "my-plugin"
# ///"""
MINIMAL_TOML = """\
[tool.toolrunner]
name = "my-plugin"
entry = "module:run\""""

_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_CLOSING = "# ///"
_SCRIPT = "# /// script"
_NEARLY_OPENING = re.compile(r"\s*#+\s*[/\\]*\s*[\w-]*script[\w-]*\s*$", re.IGNORECASE)
_OUR_TABLE = re.compile(r"\s*#+\s*\[\s*tool\.toolrunner\b")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Block:
    """An embedded comment block: ``line`` is the file's line of its opening."""

    kind: str
    line: int
    content: str


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed TOML document, and where its keys stand in the file."""

    path: Path
    document: dict[str, Any]
    lines: Mapping[KeyPath, int]
    lines_before: int

    def line_of(self, key: KeyPath) -> int:
        """Return the file's line of a key, or of the nearest table around it."""
        for depth in range(len(key), 0, -1):
            line = self.lines.get(key[:depth])
            if line is not None:
                return line + self.lines_before
        return self.lines_before or 1

    def says(self, key: KeyPath, text: str) -> str:
        """Return a sentence about a key, with the place where it stands."""
        return f"{shown(self.path)}:{self.line_of(key)}: {dotted(key)}: {text}"

    def error(self, key: KeyPath, text: str) -> ManifestError:
        """Return an error about one key."""
        return ManifestError(
            self.says(key, text), path=self.path, line=self.line_of(key), key=dotted(key)
        )


def inline_source(path: Path) -> Source:
    """Read the PEP 723 block of a Python file."""
    text = _python_text(path, _read(path))
    block = _script_block(path, text)
    return _parsed(path, block.content, block.line)


def toml_source(path: Path) -> Source:
    """Read a TOML file."""
    data = _read(path)
    if len(data) > METADATA_CAP:
        raise _too_long(path, 1)
    text = _decoded(path, data)
    if not text.strip():
        message = f"{shown(path)}:1: the file is empty; write at least:\n{MINIMAL_TOML}"
        raise NoManifest(message, path=path, line=1)
    return _parsed(path, text.replace("\r\n", "\n"), 0)


def blocks(text: str) -> Iterator[Block]:
    """Yield the embedded blocks of a Python source, as PEP 723's reference expression finds them.

    Written out because that expression takes time in the square of the file's length when a
    hostile file repeats an opening line. Lines of ``text`` end in a line feed only.
    """
    for start, run in _comment_runs(text.split("\n")):
        closing = max((i for i, line in enumerate(run) if line == _CLOSING), default=0)
        for i, line in enumerate(run[: max(0, closing - 1)]):
            opening = _OPENING.fullmatch(line)
            if opening:
                content = "".join(f"{inner[2:]}\n" for inner in run[i + 1 : closing])
                yield Block(opening.group(1), start + i + 1, content)
                break


def _comment_runs(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the index of each unbroken stretch of lines "#" or "# ...", and its lines."""
    run: list[str] = []
    for i, line in enumerate([*lines, ""]):
        if _is_comment(line):
            run.append(line)
        elif run:
            yield i - len(run), run
            run = []


def _is_comment(line: str) -> bool:
    """Tell whether a line belongs to a block."""
    return line == "#" or line.startswith("# ")


def _script_block(path: Path, text: str) -> Block:
    found = [block for block in blocks(text) if block.kind == "script"]
    if not found:
        raise _no_block(path, text)
    if len(found) > 1:
        message = (
            f"{shown(path)}:{found[1].line}: a second `script` block (the first opens at line "
            f"{found[0].line}); keep one"
        )
        raise ManifestError(message, path=path, line=found[1].line)
    if len(found[0].content) > METADATA_CAP:
        raise _too_long(path, found[0].line)
    return found[0]


def _no_block(path: Path, text: str) -> ManifestError:
    lines = text.split("\n")
    if _SCRIPT in lines:
        line = lines.index(_SCRIPT) + 1
        inner = next((i for i, one in enumerate(lines[line:], line) if not _is_comment(one)), 0)
        if inner and _CLOSING in lines[inner:]:
            what = 'has no "# " before it' if lines[inner].strip() else "is empty"
            text = f'this line {what}, which ends the `script` block above; begin it with "# "'
            message = f"{shown(path)}:{inner + 1}: {text}"
            return ManifestError(message, path=path, line=inner + 1)
        message = (
            f"{shown(path)}:{line}: the `script` block that opens here is empty or not closed; "
            f'begin each of its lines with "# " and end it with a line "{_CLOSING}"'
        )
        return ManifestError(message, path=path, line=line)
    nearly = _nearly_opened(lines)
    if nearly:
        message = (
            f"{shown(path)}:{nearly}: {toml_words.shown(lines[nearly - 1])} opens no `script` "
            f"block, so the manifest below it is not seen; write {_SCRIPT}"
        )
        return ManifestError(message, path=path, line=nearly)
    return no_inline_manifest(path, 1, "no manifest in this file")


def _nearly_opened(lines: list[str]) -> int:
    """Return the line that was meant to open the block of a manifest; 0 for none.

    It is in one stretch of comments with our table: a helper that only tells of it has none.
    """
    opening = 0
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("#"):
            opening = 0
        elif _NEARLY_OPENING.match(line):
            other = _OPENING.fullmatch(line)  # which is right, and of another kind
            opening = number if other is None or "script" in other[1].lower() else 0
        elif opening and _OUR_TABLE.match(line):
            return opening
    return 0


def no_inline_manifest(path: Path, line: int, text: str) -> NoManifest:
    """Return the error for a Python file without a manifest, which shows the least to add."""
    message = f"{shown(path)}:{line}: {text}; a plugin has at least:\n{MINIMAL_BLOCK}"
    if os.path.lexists(path.parent / FOLDER_MANIFEST):
        message = (
            f"{shown(path)}:{line}: {text}; the plugin is its folder, which has a "
            f"{FOLDER_MANIFEST}: name {shown(path.parent)}"
        )
    elif path.suffix != ".py":
        message = (
            f"{shown(path)}:{line}: {text}, and it is not called .py; a plugin is a file of "
            f"Python, or a folder with a {FOLDER_MANIFEST}"
        )
    return NoManifest(message, path=path, line=line)


def _too_long(path: Path, line: int) -> ManifestError:
    message = (
        f"{shown(path)}:{line}: the manifest is larger than {METADATA_CAP // 1024} KiB; "
        "shorten it, and keep data in files beside the plugin"
    )
    return ManifestError(message, path=path, line=line)


def _parsed(path: Path, text: str, lines_before: int) -> Source:
    for number, one in enumerate(text.split("\n"), lines_before + 1):
        if len(one) > LINE_CAP:
            message = f"{shown(path)}:{number}: longer than {LINE_CAP} characters; break it up"
            raise ManifestError(message, path=path, line=number)
    try:
        document = tomllib.loads(text)
        lines = key_lines(text)
    except RecursionError:
        line = lines_before or 1
        message = f"{shown(path)}:{line}: the manifest is nested too deeply; flatten it"
        raise ManifestError(message, path=path, line=line) from None
    except ValueError as error:  # TOMLDecodeError, and an integer of too many digits
        raise _toml_error(path, text, lines_before, error) from None
    return Source(path, document, lines, lines_before)


def _toml_error(path: Path, text: str, lines_before: int, error: ValueError) -> ManifestError:
    place = _TOML_PLACE.search(str(error))
    last = max(1, len(text.rstrip("\n").split("\n")))
    line = lines_before + (min(int(place[1]), last) if place and place[1] else last)
    what = _TOML_PLACE.sub("", str(error))
    wrong = text.split("\n")[line - lines_before - 1] if line > lines_before else ""
    message = (
        f"{shown(path)}:{line}: not valid TOML: {what}; {toml_words.advice(wrong, what)}\n"
        f"    {toml_words.shown(wrong)}"
    ).rstrip()
    return ManifestError(message, path=path, line=line)


def _python_text(path: Path, data: bytes) -> str:
    if len(data) > FILE_CAP:
        message = f"larger than {FILE_CAP // 1024**2} MiB; keep data in files beside the code"
        raise _unusable(path, data, message)
    # As Python reads source: a byte order mark is skipped, and each kind of newline is one.
    return _decoded(path, data).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unusable(path, data, "not UTF-8 text; save it as UTF-8", line) from None


def _unusable(path: Path, data: bytes, text: str, line: int = 1) -> ManifestError:
    """Return the error for a file that cannot be read as text: an old helper, or a plugin."""
    message = f"{shown(path)}:{line}: {text}"
    if path.suffix == ".toml" or _SCRIPT.encode() in data:
        return ManifestError(message, path=path, line=line)
    return no_inline_manifest(path, line, f"{text}; and no manifest in this file")


def _read(path: Path) -> bytes:
    """Read a regular file, one byte past the cap at most."""
    try:
        with os.fdopen(open_file(str(path)), "rb") as file:
            return file.read(FILE_CAP + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> ManifestError:
    reason = getattr(error, "strerror", None) or str(error)
    remedies = {
        errno.ENOENT: "check the path, or remove the dangling link",
        errno.EACCES: "let this user read it",
        errno.EISDIR: "name a file, or a folder that holds toolrunner.toml",
    }
    remedy = remedies.get(getattr(error, "errno", 0) or 0, "name a readable file")
    message = f"{shown(path)}:1: cannot be read: {reason}; {remedy}"
    return ManifestError(message, path=path, line=1)
