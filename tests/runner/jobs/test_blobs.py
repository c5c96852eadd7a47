"""What every place of blobs does, a folder as well as a bucket."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.api.conftest import common_environment
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.jobs.blob_choice import open_blobs
from toolrunner.runner.jobs.blobs import Blobs
from toolrunner.runner.payloads.files import validate_files_payload
from toolrunner.sandbox.input_files import InputFile

MIB = 1 << 20
# Of which no two pieces are alike.
LARGE = b"".join(number.to_bytes(4, "big") for number in range(5 * MIB))
PLACES = ("folder", "bucket")


def place_of(request: pytest.FixtureRequest, kind: str) -> str:
    """Return what ``blobs`` says of a place of a kind."""
    if kind == "folder":
        folder: Path = request.getfixturevalue("tmp_path") / "blobs"
        return f"file://{folder}"
    text: str = request.getfixturevalue("bucket")
    return text


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """What ``blobs`` says of a place that nothing is in."""
    return place_of(request, request.param)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def blobs(place: str, state: Path) -> Blobs:
    """A place that nothing is in."""
    opened = open_blobs(place, state)
    assert opened is not None
    opened.make()
    opened.check()
    return opened


def given(*files: Any) -> tuple[InputFile, ...]:
    """Return files as a payload's are when they have been looked at."""
    found = validate_files_payload({"files": list(files)}).files
    assert found
    return found


def content(file: Path | BinaryIO) -> bytes:
    """Return what is in a file that was opened for a run, and close it."""
    if isinstance(file, Path):
        return file.read_bytes()
    with file:
        return os.pread(file.fileno(), 1 << 30, 0)


@pytest.mark.parametrize(
    "parts",
    [(b"one",), (b"one", b"", b"two"), (b"",), (LARGE,), (b"head", LARGE[: 9 * MIB], b"tail")],
    ids=["one part", "parts", "nothing", "large", "large parts"],
)
def test_a_blob_comes_back_as_it_was(blobs: Blobs, parts: tuple[bytes, ...]) -> None:
    """Also in place of another one."""
    blobs.put("results/a.1", b"what was there before")
    blobs.put("results/a.1", *parts)
    assert blobs.get("results/a.1") == b"".join(parts)
    with closing(blobs.open("results/a.1")) as blob:
        assert blob.size_bytes == sum(map(len, parts))


def test_what_is_not_there_is_said_to_be_so(blobs: Blobs) -> None:
    """It may be deleted again, and a name that begins as another one's is not that one."""
    blobs.put("payloads/a", b"x")
    for name in ("payloads/b", "payloads/a.files"):
        with pytest.raises(FileNotFoundError):
            blobs.get(name)
        with pytest.raises(FileNotFoundError):
            blobs.open(name)
        blobs.delete(name)
        blobs.delete_group(name)
        assert blobs.open_group(name, 1) == []
        assert blobs.group_bytes(name) == 0
    assert blobs.get("payloads/a") == b"x"
    blobs.delete("payloads/a")
    with pytest.raises(FileNotFoundError):
        blobs.get("payloads/a")


def test_a_blob_is_read_in_pieces(blobs: Blobs) -> None:
    """From anywhere, forwards and back, and no more than there is."""
    blobs.put("artifacts/a.1", LARGE)
    size = len(LARGE)
    with closing(blobs.open("artifacts/a.1")) as blob:
        for offset, wanted in (
            (0, 10),
            (10, 100_000),
            (size - 5, 100),
            (MIB, 12 * MIB),
            (3, 0),
            (100_010, 7),
            (size, 1),
            (size + 9, 1),
        ):
            assert blob.read(offset, wanted) == LARGE[offset : offset + wanted]
        step = 256 << 10
        whole = [blob.read(offset, step) for offset in range(0, size, step)]
        assert b"".join(whole) == LARGE


def test_a_group_comes_back_as_it_was(blobs: Blobs, tmp_path: Path) -> None:
    """Bytes, paths and open files, empty ones and large ones; then it is gone."""
    path = tmp_path / "on disk"
    path.write_bytes(LARGE)
    files = given(
        {"name": "bytes", "data": b"one"},
        {"path": path},
        {"name": "none", "data": b""},
        {"name": "open", "data": io.BytesIO(b"three")},
    )
    wanted = [b"one", LARGE, b"", b"three"]
    digests = blobs.put_group("payloads/a.files", files)
    assert digests == [hashlib.sha256(one).hexdigest() for one in wanted]
    assert blobs.group_bytes("payloads/a.files") == len(LARGE) + 8
    assert [content(one) for one in blobs.open_group("payloads/a.files", 4)] == wanted
    blobs.delete_group("payloads/a.files")
    assert blobs.open_group("payloads/a.files", 4) == []
    assert list(blobs.listed()) == []


def test_a_file_that_was_changed_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    """Whoever gave it is told, and by its name."""
    path = tmp_path / "changing"
    path.write_bytes(b"before")
    files = given({"path": path})
    path.write_bytes(b"afterwards")
    with pytest.raises(GovernedError, match="changing") as caught:
        blobs.put_group("payloads/a.files", files)
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR


def test_a_list_has_everything_once(blobs: Blobs) -> None:
    """With its size and its time; a group is one; what has no kind is not in it."""
    before = time.time()
    blobs.put("owner", b"somebody")
    blobs.put("payloads/a", b"12345")
    blobs.put_group(
        "payloads/a.files", given({"name": "1", "data": b"1"}, {"name": "2", "data": b"2"})
    )
    for number in range(3):
        blobs.put(f"results/{number}.1.json", b"{}")
    blobs.put("artifacts/a.1", b"")
    found = {blob.name: blob for blob in blobs.listed()}
    assert {name: (one.size_bytes, one.is_group) for name, one in found.items()} == {
        "payloads/a": (5, False),
        "payloads/a.files": (0, True),
        "results/0.1.json": (2, False),
        "results/1.1.json": (2, False),
        "results/2.1.json": (2, False),
        "artifacts/a.1": (0, False),
    }
    # A bucket tells whole seconds.
    assert all(before - 2 < one.changed <= time.time() + 1 for one in found.values())


MEASURED = """
    import re, sys
    from pathlib import Path
    from toolrunner.runner.jobs.blob_choice import open_blobs
    from toolrunner.runner.payloads.files import validate_files_payload

    def most():  # of this program alone: what getrusage has begins with who has started it
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

    place, state, large = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    blobs = open_blobs(place, state)
    blobs.make()
    blobs.put_group("payloads/small.files", validate_files_payload(
        {"files": [{"name": "small", "data": b"1"}]}).files)
    before = most()
    blobs.put_group("payloads/a.files", validate_files_payload({"files": [large]}).files)
    [file] = blobs.open_group("payloads/a.files", 1)
    print(most() - before)
    if not isinstance(file, Path):
        file.seek(0, 2)
        assert file.tell() == large.stat().st_size
        file.close()
"""


def test_a_large_file_is_never_in_memory(place: str, state: Path, tmp_path: Path) -> None:
    """On its way there and back, a few pieces of it are."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(128 * MIB)
    ended = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(MEASURED), place, str(state), str(large)],
        env=common_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(ended.stdout) * 1024 < 64 * MIB


Limit = Callable[[], None]


@pytest.fixture
def small_files() -> Iterator[Limit]:
    """Return a function after which this process can write no file of more than 1 MiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_leaves_no_part_of_a_group(
    blobs: Blobs, small_files: Limit, state: Path
) -> None:
    """Neither where files are kept nor where they are on their way."""
    files = given({"name": "small", "data": b"1"}, {"name": "large", "data": LARGE})
    small_files()
    with pytest.raises(OSError, match="File too large"):
        blobs.put_group("payloads/a.files", files)
    blobs.delete_group("payloads/a.files")
    assert list(blobs.listed()) == []
    assert list(state.iterdir()) == []
