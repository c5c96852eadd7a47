"""The payload of a plugin that takes files: what it may be, and what is said of what it is not."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.files import MOST_FILES, validate_files_payload
from toolrunner.runner.payloads.validation import Payload, check_size

PNG = b"\x89PNG\r\n\x1a\n not really"


def taken(*files: object, **rest: object) -> Payload:
    """Return what a payload with these files is taken for."""
    return validate_files_payload({"files": list(files), **rest})


def refused(payload: Any, **accepts: Any) -> str:
    """Return why a payload is refused."""
    with pytest.raises(GovernedError) as caught:
        validate_files_payload(payload, **accepts)
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
    return caught.value.message


@pytest.mark.parametrize(
    "name", ["a", "report one.pdf", "größe (2).csv", "a..b", "-rf", "C:\\x", "~", "a" * 200, "日本"]
)
def test_names_that_a_file_may_have(name: str) -> None:
    """One step of a path, that people can read."""
    payload = taken({"name": name, "data": b"x"}, options={"n": 1})
    assert payload.files is not None
    assert [file.name for file in payload.files] == [name]
    assert payload.head == {"options": {"n": 1}}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/a",
        "a\0b",
        "a\nb",
        "a\x7f",
        "a\u202eb",
        "\ud800",
        "é" * 101,
        None,
        7,
        b"a",
        ["a"],
    ],
)
def test_names_that_no_file_may_have(name: object) -> None:
    """What would lead elsewhere, and what nobody can see."""
    assert "files[0].name" in refused({"files": [{"name": name, "data": b"x"}]})


WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "give a dict"),
    "missing": ({}, '"files" is missing'),
    "null": ({"files": None}, '"files" is missing'),
    "no list": ({"files": {"name": "a"}}, "give a list of files"),
    "text": ({"files": "a"}, "give a list of files"),
    "empty": ({"files": []}, "at least one file"),
    "many": ({"files": [{"name": "a", "data": b"x"}] * (MOST_FILES + 1)}, f"takes {MOST_FILES}"),
    "no entry": ({"files": [7]}, '"files[0]" is of type int'),
    "a path as text": ({"files": ["/etc/hostname"]}, '"files[0]" is of type str'),
    "a path in JSON": ({"files": [{"path": "/etc/hostname"}]}, "JSON cannot name a file"),
    "no name": ({"files": [{"data": b"x"}]}, '"files[0].name" is empty'),
    "neither": ({"files": [{"name": "a"}]}, 'either "data" or "path"'),
    "both": ({"files": [{"data": b"x", "path": Path("/")}]}, 'either "data" or "path"'),
    "an unknown key": ({"files": [{"nmae": "a", "data": b"x"}]}, "did you mean"),
    "a type that is none": (
        {"files": [{"name": "a", "data": b"x", "mime_type": "text"}]},
        '"files[0].mime_type" is "text"',
    ),
    "a long type": (
        {"files": [{"name": "a", "data": b"x", "mime_type": "text/html; a=" + "b" * 243}]},
        '"files[0].mime_type" has 256 characters, more than 255',
    ),
    **{
        f"a type with {unseen!r} in it": (
            {"files": [{"name": "a", "data": b"x", "mime_type": f"text/html; a={unseen}"}]},
            "with characters that nobody can see",
        )
        for unseen in ("\r\nX: 1", "\0", "\x1b[31m", "\u202e", "\ud800")
    },
    "no base64": ({"files": [{"name": "a", "data": "x"}]}, '"files[0].data" is not strict base64'),
    "no data": ({"files": [{"name": "a", "data": 7}]}, '"files[0].data" is of type int'),
    "open as text": (
        {"files": [{"name": "a", "data": io.StringIO("x")}]},
        'open it with "rb"',
    ),
    "not there": ({"files": [Path("/nowhere/at/all")]}, "No such file"),
    "a folder": ({"files": [Path("/usr")]}, "it is a folder"),
    "a device": ({"files": [Path("/dev/zero")]}, "it is no regular file"),
    "a NUL": ({"files": [{"name": "a", "path": Path("/a\0b")}]}, "cannot be read"),
    "one name twice": (
        {"files": [{"name": "a", "data": b"x"}, {"name": "a", "data": b"y"}]},
        'two files with the name "a"',
    ),
    "options that are no JSON": (
        {"files": [{"name": "a", "data": b"x"}], "options": {"n": float("nan")}},
        "options",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused_says_what_to_give(case: str) -> None:
    """With its place."""
    payload, words = WRONG[case]
    assert words in refused(payload)


def test_a_file_that_is_closed_or_no_file_is_refused(tmp_path: Path) -> None:
    """There is nothing to copy from."""
    with (tmp_path / "a").open("wb+") as opened:
        pass
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        for one in (opened, pipe):
            message = refused({"files": [{"name": "a", "data": one}]})
            assert '"files[0].data" is no open file on a disk' in message


def test_what_was_just_written_to_an_open_file_is_in_it() -> None:
    """Nobody has to flush it, nor to go back to its start."""
    with tempfile.SpooledTemporaryFile(max_size=100) as small, tempfile.TemporaryFile() as large:
        for file in (small, large):
            file.write(b"text")
            payload = taken({"name": "a", "data": file})
            assert payload.files is not None
            assert payload.files[0].size == 4


def test_all_files_count_for_the_limit() -> None:
    """By their sizes alone: nothing has been read."""
    with tempfile.TemporaryFile() as sparse:
        sparse.truncate(1 << 40)
        payload = taken({"name": "a", "data": sparse}, {"name": "b", "data": bytes(1 << 20)})
        told = len("ab") + 2 * len("application/octet-stream")
        assert payload.size_bytes == (1 << 40) + (1 << 20) + told + len(payload.head_json)
        with pytest.raises(GovernedError) as caught:
            check_size(payload, 600)
    limit: Any = caught.value.details["limit"]
    assert (limit["name"], limit["configured"]) == ("payload_mb", 600)


@pytest.mark.parametrize(
    ("file", "mime_type"),
    [
        ({"name": "a.csv", "data": b"x"}, "text/csv"),
        ({"name": "a.csv", "data": b"x", "mime_type": "application/octet-stream"}, "text/csv"),
        ({"name": "a.csv", "data": b"x", "mime_type": "text/x-own"}, "text/x-own"),
        ({"name": "a", "data": PNG}, "image/png"),
        ({"name": "a", "data": b"x"}, "application/octet-stream"),
    ],
)
def test_the_type_is_what_the_caller_or_the_name_or_the_content_says(
    file: dict[str, Any], mime_type: str
) -> None:
    """In this order."""
    payload = taken(file)
    assert payload.files is not None
    assert payload.files[0].mime_type == mime_type


def test_accepts_holds_for_each_file() -> None:
    """By any name that a type has."""
    accepts = {"accepts": ("image/jpeg", "image/png"), "plugin": "sample"}
    fine = {"files": [{"name": "a.jpg", "data": b"x", "mime_type": "image/jpg"}]}
    checked = validate_files_payload(fine, **accepts)  # type: ignore[arg-type]  # as they are given
    assert checked.files is not None
    assert checked.files[0].mime_type == "image/jpeg"
    fine["files"].append({"name": "b.txt", "data": b"x", "mime_type": "text/plain"})
    assert "sample does not take" in refused(fine, **accepts)


@given(st.text(max_size=260))
def test_whatever_name_is_taken_is_one_step_below_its_folder(name: str) -> None:
    """And a name on every disk."""
    try:
        taken({"name": name, "data": b"x"})
    except GovernedError:
        return
    assert os.path.normpath(f"/inputs/0/{name}") == f"/inputs/0/{name}"
    assert Path(f"/inputs/0/{name}").parent == Path("/inputs/0")
    assert "\0" not in name
    assert len(os.fsencode(name)) <= 255
