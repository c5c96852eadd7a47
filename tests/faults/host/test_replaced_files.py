"""A plugin's file that is replaced, emptied, taken away or swapped for something else meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import WritePlugin
from tests.faults.host.conftest import Books, error_of

VERSION = "A = {n}\ndef run(payload):\n    return {{'first': A, 'second': B}}\nB = {n}\n"


def write_over(path: Path, text: str) -> None:
    """Replace a file in one step, as installers do."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def text_of(path: Path, number: int) -> str:
    """Return the plugin's text in another version."""
    head = path.read_text().split("# ///\n", 2)
    return f"{head[0]}# ///\n" + VERSION.format(n=number)


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_each_call_has_one_version(
    start: str, keep_books: Callable[..., Books], tmp_path: Path
) -> None:
    """While it is replaced again and again under four callers: never half of each."""
    books = keep_books(VERSION.format(n=0), start=f'"{start}"')
    path = tmp_path / "sample.py"
    texts = {n: text_of(path, n) for n in range(1, 16)}
    over = threading.Event()
    answers = []
    lock = threading.Lock()

    def call() -> None:
        while not over.is_set():
            answer = books.tool_runner.run("sample", {})
            with lock:
                answers.append(answer)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number, text in texts.items():
        made = len(answers)
        write_over(path, text)
        while len(answers) < made + 2 and any(thread.is_alive() for thread in threads):
            over.wait(0.001)
        assert path.read_text().endswith(f"B = {number}\n")
    over.set()
    for thread in threads:
        thread.join(120)
    books.calls += len(answers)
    for result, error in answers:
        assert error is None, error
        assert result is not None
        assert result["first"] == result["second"]
    assert books.call() == ({"first": 15, "second": 15}, None)


def fifo(path: Path) -> None:
    """A FIFO, which blocks whoever opens it."""
    os.mkfifo(path)


def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path)


def folder(path: Path) -> None:
    """A folder without a manifest."""
    path.mkdir()


def nothing(path: Path) -> None:
    """Nothing at all."""


def device(path: Path) -> None:
    """A link to what never ends."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize(
    "becomes", [fifo, loop, folder, nothing, device], ids=lambda make: make.__name__
)
def test_what_is_no_file_any_more_is_unavailable(
    becomes: Callable[[Path], None],
    start: str,
    keep_books: Callable[..., Books],
    write_plugin: WritePlugin,
    tmp_path: Path,
) -> None:
    """Said at once; when the file is back, so is the plugin."""
    books = keep_books("def run(payload): return {'fine': True}", start=f'"{start}"')
    assert books.call() == ({"fine": True}, None)
    path = tmp_path / "sample.py"
    path.unlink()
    becomes(path)
    error = error_of(books.call())
    assert error["type"] == "PluginUnavailable"
    assert str(path) in error["message"]
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    write_plugin("def run(payload): return {'fine': 'again'}", start=f'"{start}"')
    assert books.call() == ({"fine": "again"}, None)


def test_what_is_emptied_has_nothing_to_run(
    keep_books: Callable[..., Books], tmp_path: Path
) -> None:
    """As while an editor writes it: the plugin's fault, for that call alone."""
    books = keep_books("def run(payload): return {'fine': True}")
    path = tmp_path / "sample.py"
    text = path.read_text()
    path.write_text("")
    assert error_of(books.call())["type"] == "PluginLoadError"
    path.write_text(text)
    assert books.call() == ({"fine": True}, None)
