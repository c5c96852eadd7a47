"""The command at a terminal and in a pipe: progress, interrupts, colours, hostile text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.api.conftest import COMMAND, Cli, Screen, Start
from tests.conftest import WritePlugin

ENDLESS = """
import logging, time
def run(payload, context):
    context.progress(0.5, "under way")
    logging.getLogger("own").warning("under way")
    time.sleep(1000)
"""
HOSTILE = "\\x1b]0;owned\\x07\\x9b31m[bold red]words[/bold red]\\u202e"
PATIENT = "{ wall_seconds = 1000 }"
COLOUR = re.compile(r"\x1b\[[0-9;]*[349][0-7]m")


def test_ctrl_c_kills_the_call_and_says_so(
    start: Start, screen: Screen, write_plugin: WritePlugin
) -> None:
    """An interrupt ends the plugin's processes, says one line, and has its own exit status."""
    path = write_plugin(ENDLESS, limits=PATIENT)
    process = start("--plugins", path, "run", "sample", stdout=subprocess.PIPE, stderr=screen.slave)
    screen.close_slave()
    screen.wait_for("under way")
    box = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    text = screen.read_to_end()
    assert process.wait() == 130
    assert process.stdout is not None
    assert process.stdout.read() == b""
    assert "interrupted; whatever ran was killed" in text
    assert "Traceback" not in text
    assert box
    assert psutil.wait_procs(box, timeout=120)[1] == []


def test_ctrl_c_kills_every_call_of_many(
    start: Start, write_plugin: WritePlugin, png: Path
) -> None:
    """With several calls in flight all of them end, and those that wait never begin."""
    path = write_plugin(ENDLESS, input="image", limits=PATIENT)
    process = start(
        "--plugins", path, "analyze", "sample", png, png, png, png, "--jobs", "2",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    began = [process.stderr.readline(), process.stderr.readline()]
    assert all(b"under way" in line for line in began)
    box = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read().decode()
    assert process.wait() == 130
    assert rest == "interrupted; whatever ran was killed\n"
    assert psutil.wait_procs(box, timeout=120)[1] == []


def test_progress_is_on_stderr_alone(
    start: Start, screen: Screen, write_plugin: WritePlugin
) -> None:
    """At a terminal the plugin's progress shows on stderr; stdout has the result and no more."""
    body = """
    def run(payload, context):
        context.progress(0.25, "a quarter of it")
        return {"fine": True}
    """
    process = start(
        "--plugins", write_plugin(body), "run", "sample", "--json",
        stdout=subprocess.PIPE, stderr=screen.slave,
    )  # fmt: skip
    screen.close_slave()
    text = screen.read_to_end()
    assert process.wait() == 0
    assert process.stdout is not None
    out = process.stdout.read().decode()
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "sample" in text


def test_a_pipe_gets_neither_progress_nor_colours(cli: Cli, png: Path) -> None:
    """Where nobody looks there is no bar and no escape sequence."""
    ended = cli("analyze", "palette", png, png, "nowhere.png")
    assert "\x1b" not in ended.out + ended.err
    assert "0/3" not in ended.err


def test_no_color_is_respected(start: Start, screen: Screen) -> None:
    """NO_COLOR leaves a terminal without colours; without it there are some."""
    coloured = start("plugins", stdout=screen.slave, stderr=subprocess.DEVNULL)
    assert coloured.wait() == 0
    plain = start(
        "doctor", stdout=screen.slave, stderr=subprocess.DEVNULL, variables={"NO_COLOR": "1"}
    )
    plain.wait()
    screen.close_slave()
    before, after = screen.read_to_end().split("python", 1)
    assert COLOUR.search(before)
    assert not COLOUR.search(after)


def test_a_reader_that_leaves_is_no_error(start: Start) -> None:
    """When whoever reads stdout has gone, the command ends as SIGPIPE would end it, quietly."""
    read, write = os.pipe()
    os.close(read)
    process = start("plugins", "--json", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(
    closed: str, environment: dict[str, str], tmp_path: Path, png: Path
) -> None:
    """What goes there is lost, as its caller wants it; nothing else is written to its number."""
    words = ["analyze", "image-info", str(png), "no-such.png", "--json"]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    is_lost = " >&-" in f" {closed}"
    assert [("result" in one, "error" in one) for one in documents] == (
        [] if is_lost else [(True, False), (False, True)]
    )
    assert ended.stderr == (
        "" if "2>&-" in closed else "1 image: 1 done; 1 path with nothing there\n"
    )


def test_a_closed_stdin_is_an_empty_one(environment: dict[str, str], tmp_path: Path) -> None:
    """Whoever reads it is told so."""
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "analyze", "image-info", "-"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "stdin is empty" in ended.stderr


def test_hostile_text_never_reaches_the_terminal(cli: Cli, write_plugin: WritePlugin) -> None:
    """Control characters and markup in results, errors, logs and prints are spelled out."""
    body = f"""
    import logging
    TEXT = "{HOSTILE}"
    def run(payload):
        logging.getLogger("own").warning(TEXT)
        print(TEXT, flush=True)
        if payload:
            return {{TEXT: TEXT, "rows": [{{TEXT: TEXT}}, {{TEXT: TEXT}}]}}
        raise RuntimeError(TEXT)
    """
    path = write_plugin(body)
    answered = cli("-v", "--plugins", path, "run", "sample", "--payload", '{"a": 1}')
    failed = cli("-v", "--plugins", path, "run", "sample")
    assert (answered.status, failed.status) == (0, 1)
    for text in (answered.out, answered.err, failed.err):
        assert "[bold red]words[/bold red]" in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_hostile_progress_never_reaches_the_terminal(
    start: Start, screen: Screen, write_plugin: WritePlugin
) -> None:
    """A progress message cannot set the terminal's title."""
    body = ENDLESS.replace('0.5, "under way"', f'0.5, "{HOSTILE}"')
    process = start(
        "--plugins", write_plugin(body, limits=PATIENT), "run", "sample",
        stdout=subprocess.DEVNULL, stderr=screen.slave,
    )  # fmt: skip
    screen.close_slave()
    screen.wait_for("[bold red]words")
    process.send_signal(signal.SIGINT)
    text = screen.read_to_end()
    assert process.wait() == 130
    assert "\x1b]0;" not in text
    assert "\x9b" not in text


def test_deep_and_long_results_are_cut_for_people(cli: Cli, write_plugin: WritePlugin) -> None:
    """A result without end is shown in part, with a word about the rest."""
    body = """
    def run(payload):
        deep = []
        for _ in range(90):
            deep = [deep, 1]
        return {"deep": deep, "long": "x" * 100_000, "many": [[n] for n in range(5000)]}
    """
    ended = cli("--plugins", write_plugin(body), "run", "sample")
    assert ended.status == 0
    assert "96000 characters more" in ended.out.replace("\n", "")
    assert "4800 more" in ended.out


def test_a_poor_encoding_is_no_error(cli: Cli) -> None:
    """Words that the locale cannot show are spelled out, and end nothing."""
    payload = '{"text": "caf\u00e9"}'
    ended = cli("run", "text-stats", "--payload", payload, PYTHONIOENCODING="ascii")
    assert ended.status == 0
    assert "caf\\xe9" in ended.out
