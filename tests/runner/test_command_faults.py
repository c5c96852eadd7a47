"""Programs that do not behave: each is one call's error, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import a_command, a_script, needs_node
from tests.conftest import MakeRunner
from toolrunner import Call
from toolrunner.runner.errors import ErrorType as E
from toolrunner.sandbox.layers import Layers

FORK_BOMB = """\
bomb() { bomb & bomb & wait; }
bomb
"""
# Holds at most 400 MB, whatever happens.
EATS_MEMORY = """\
perl -e '$x = ""; for (1 .. 400) { $x .= "x" x 1048576; } print "{}";'
"""
FILLS_ITS_SCRATCH = """\
head -c 64000000 /dev/zero >full || exit 9
echo '{}'
"""
# The cell, itself and two more; it works on for long enough to be looked at.
HAS_MANY_PROCESSES = """\
sleep 1000 & sleep 1000 &
exec perl -e '1 while (times)[0] < 0.3; die "Cannot fork: it said"'
"""
LEAVES_A_WRITER = """\
(while :; do echo 'late'; done) &
echo '{"done": true}'
"""
LEAVES_A_SLEEPER = """\
sleep 1000 &
echo '{"done": true}'
"""
CLOSES_EVERYTHING = """\
exec 0<&- 1>&- 2>&- 3>&-
sleep 1000
"""
NEVER_READS = """\
exec 0<&-
echo '{"done": true}'
"""
HOLDS_PROGRESS = """\
(exec 0<&- 1>&- 2>&-; sleep 1000) &
exec 3>&-
echo '{"done": true}'
"""
DONE: dict[str, Any] = {"done": True}
SMALL = {
    "limits": "{ wall_seconds = 20, cpu_seconds = 2, memory_mb = 64, processes = 16, "
    "scratch_mb = 16, output_mb = 1 }"
}


@pytest.mark.parametrize(
    ("body", "allowed", "details"),
    [
        ("while :; do :; done", (E.CPU_LIMIT_EXCEEDED,), "cpu_seconds"),
        (FORK_BOMB, (E.PROCESS_LIMIT_EXCEEDED,), "processes"),
        (EATS_MEMORY, (E.MEMORY_LIMIT_EXCEEDED,), "memory_mb"),
        (FILLS_ITS_SCRATCH, (E.DISK_LIMIT_EXCEEDED,), ""),
        ("yes", (E.OUTPUT_LIMIT_EXCEEDED,), "output_mb"),
        ("head -c 1048577 /dev/zero", (E.OUTPUT_LIMIT_EXCEEDED,), "output_mb"),
        ("yes >&3", (E.CPU_LIMIT_EXCEEDED, E.TIME_LIMIT_EXCEEDED), ""),
        ("kill -KILL $$", (E.EXECUTION_ERROR,), ""),
        ("kill -KILL $PPID; sleep 1000", (E.PLUGIN_CRASHED,), ""),
        ("kill -STOP $PPID; exit 0", (E.TIME_LIMIT_EXCEEDED,), "wall_seconds"),
        ("kill -KILL 0; sleep 1000", (E.PLUGIN_CRASHED,), ""),
        ("trap '' TERM INT HUP; kill -TERM $PPID; sleep 1000", (E.PLUGIN_CRASHED,), ""),
    ],
)
def test_a_program_that_does_not_behave_is_its_own_error(
    body: str,
    allowed: tuple[E, ...],
    details: str,
    layers: Layers,
    open_folder: Path,
    make_runner: MakeRunner,
) -> None:
    """The limit that it meets, or how it has ended; and the next call succeeds."""
    limits = dict(SMALL)
    if "STOP" in body:
        limits["limits"] = SMALL["limits"].replace("wall_seconds = 20", "wall_seconds = 1")
    body = f'grep -q good && {{ echo "{{}}"; exit; }}\n{body}'
    tool_runner = make_runner(a_script(open_folder, body, **limits), layers=layers)
    _, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] in allowed, error
    if details:
        limit: Any = error["error"]["details"]
        assert (limit["limit"]["name"], limit["limit"]["observed"] > 0) == (details, True)
    assert tool_runner.run("sample", {"good": True}) == ({}, None)


@pytest.mark.parametrize(
    ("body", "limits", "error_type", "words"),
    [
        (
            "head -c 16000000 /dev/zero >full; echo 'cp: No space left on device' >&2; exit 1",
            "{ scratch_mb = 16 }",
            E.DISK_LIMIT_EXCEEDED,
            "exit status 1; its standard error ends with:\ncp: No space left on device",
        ),
        (
            "head -c 8000000 /dev/zero >half; echo 'cp: No space left on device' >&2; exit 1",
            "{ scratch_mb = 16 }",
            E.EXECUTION_ERROR,
            "exit status 1; its standard error ends with:\ncp: No space left on device",
        ),
        (
            "head -c 16000000 /dev/zero >full; echo 'sh: Cannot fork' >&2; exit 2",
            "{ scratch_mb = 16 }",
            E.EXECUTION_ERROR,
            "exit status 2; its standard error ends with:\nsh: Cannot fork",
        ),
        (
            HAS_MANY_PROCESSES,
            "{ processes = 4 }",
            E.PROCESS_LIMIT_EXCEEDED,
            "its standard error ends with:\nCannot fork: it said",
        ),
        (
            "exec perl -e 'open(F, q(>f)); sysseek(F, 1 << 30, 0); syswrite(F, q(x))'",
            "{ scratch_mb = 16 }",
            E.DISK_LIMIT_EXCEEDED,
            "was ended by SIGXFSZ",
        ),
    ],
    ids=["full", "half full", "full of something else", "many processes", "a large file"],
)
def test_words_of_a_limit_count_where_the_call_has_come_up_to_it(
    body: str,
    limits: str,
    error_type: E,
    words: str,
    layers: Layers,
    open_folder: Path,
    make_runner: MakeRunner,
) -> None:
    """Anybody can write them: without the fact, they are the program's own failure."""
    plugin = a_script(open_folder, body, limits=limits)
    _, error = make_runner(plugin, layers=layers).run("sample", {})
    assert error is not None
    assert (error["error"]["type"], words in error["error"]["message"]) == (error_type, True), error


@pytest.mark.parametrize(
    "body",
    [LEAVES_A_WRITER, LEAVES_A_SLEEPER, NEVER_READS, HOLDS_PROGRESS],
    ids=["a writer", "a sleeper", "never reads", "holds progress"],
)
def test_what_a_program_leaves_holds_nothing_up(
    body: str, layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """Its end is the call's, whoever still has its pipes open, and however much it was given."""
    tool_runner = make_runner(a_script(open_folder, body), layers=layers)
    for _ in range(2):
        result, error = tool_runner.run("sample", {"text": "x" * 1_000_000})
        if error is None:
            assert result == DONE
        else:
            # What was written beside the answer by then belongs to it.
            assert body is LEAVES_A_WRITER
            assert "standard output " in error["error"]["message"]


def test_a_program_that_closes_its_pipes_is_waited_for(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """It may still work; the wall limit ends it."""
    limits = "{ wall_seconds = 1 }"
    tool_runner = make_runner(a_script(open_folder, CLOSES_EVERYTHING, limits=limits))
    _, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "TimeLimitExceeded"


def test_no_output_is_lost_at_the_end(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """What a program writes with its last breath is read, of the answer and of its errors."""
    body = """\
    perl -e 'print STDERR "e" x 60000, "last"; print "{\\"text\\": \\"", "x" x 60000, "\\"}"'
    """
    call = Call()
    tool_runner = make_runner(a_script(open_folder, body), layers=layers)
    result, error = tool_runner.run("sample", {}, call=call)
    assert (result, error) == ({"text": "x" * 60_000}, None)
    assert call.log_tail.endswith("elast")


def test_an_answer_of_many_megabytes_arrives(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """And so does a payload of as many, both ways at once."""
    tool_runner = make_runner(a_script(open_folder, "cat"), layers=layers)
    payload = {"text": "ä" * 3_000_000, "numbers": list(range(100_000))}
    assert tool_runner.run("sample", payload) == (payload, None)


def test_a_large_answer_that_is_no_json_is_told_by_its_ends(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """Beyond some megabytes it is read by the runner alone."""
    script = "perl -e 'print q([0,1],) x 900_000'"
    _, error = make_runner(a_script(open_folder, script)).run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "OutputValidationError"
    assert 'it begins with "[0,1],[0,1],' in error["error"]["message"]


@pytest.mark.parametrize(
    ("body", "error_type", "words"),
    [
        ("ln -s /etc/passwd output/a.txt", E.OUTPUT_VALIDATION_ERROR, "'output/a.txt' is a link"),
        ("mkfifo output/a", E.OUTPUT_VALIDATION_ERROR, "'output/a' is neither a file nor a folder"),
        ("mkdir output/a", E.OUTPUT_VALIDATION_ERROR, "'output/a' is a folder"),
        ("rmdir output; ln -s / output", E.OUTPUT_VALIDATION_ERROR, "output is no folder any more"),
        ("echo >'output/a b'", E.OUTPUT_VALIDATION_ERROR, "'a b' cannot be the name of an artifa"),
        ("echo >output/.a", E.OUTPUT_VALIDATION_ERROR, "'.a' cannot be the name of an artifact"),
        (
            "i=0; while [ $i -lt 10000 ]; do : >output/f$i; i=$((i+1)); done",
            E.OUTPUT_LIMIT_EXCEEDED,
            "artifacts",
        ),
        ("truncate -s 3M output/a", E.OUTPUT_LIMIT_EXCEEDED, "MiB"),
    ],
)
def test_what_cannot_be_given_back_is_named(
    body: str, error_type: E, words: str, open_folder: Path, make_runner: MakeRunner
) -> None:
    """Nothing but files, by names that they can have, and within the limits; else none at all."""
    plugin = a_script(open_folder, f"{body}\necho '{{}}'", limits="{ artifacts_mb = 2 }")
    call = Call()
    result, error = make_runner(plugin).run("sample", {}, call=call)
    assert (result, call.artifacts) == (None, ())
    assert error is not None
    assert error["error"]["type"] == error_type
    assert words in error["error"]["message"]


@needs_node
@pytest.mark.parametrize(
    "source",  # each holds at most 400 MB, whatever happens
    [
        "const kept = []; for (let i = 0; i < 400; i++) kept.push(Buffer.alloc(1 << 20, 1));",
        "const kept = []; for (let i = 0; i < 400; i++) kept.push(new Array(1 << 17).fill(1.5));",
        "Buffer.alloc(400 << 20, 1)",
    ],
)
def test_a_node_program_that_takes_too_much_memory_is_told_its_limit(
    source: str, layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """Whoever is first: the watchdog, or the kernel, which gives V8 no more."""
    limits = "{ memory_mb = 128 }"
    plugin = a_command(open_folder, ["node", "main.mjs"], {"main.mjs": source}, limits=limits)
    _, error = make_runner(plugin, layers=layers).run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"
