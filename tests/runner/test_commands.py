"""Plugins that are programs: what they are given and answer, and what is said of their errors."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import a_command, a_script, needs_node
from tests.conftest import MakeRunner
from toolrunner import Call
from toolrunner.sandbox.inside import printed
from toolrunner.sandbox.inside.jsonable import NotJsonError
from toolrunner.sandbox.layers import Layers

ECHO_C = r"""
#include <stdio.h>
int main(void) {
    static char text[65536];
    size_t length = fread(text, 1, sizeof text, stdin);
    printf("{\"given\": %.*s}", (int)length, text);
    return 0;
}
"""
ECHO_NODE = """\
let text = "";
for await (const part of process.stdin) text += part;
console.log(JSON.stringify({ given: JSON.parse(text) }));
"""
TELLS_ALL = """\
printf '{"cwd": "%s", "home": "%s", "tmp": "%s", "id": "%s", "config": %s, "plugin": "%s"}' \\
    "$PWD" "$HOME" "$TMPDIR" "$TOOLRUNNER_CALL_ID" "$TOOLRUNNER_CONFIG" "$TOOLRUNNER_PLUGIN"
"""
# As Node ends that gets no more memory, with more of its own stack than is quoted.
V8 = (
    "exec >&2; echo; echo 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out "
    "of memory'; echo '----- Native stack trace -----'; echo; "
    "for i in $(seq 30); do printf '%2d: 0xb78db3 node::Abort() [/usr/bin/node]\\n' $i; done"
)
GROWS = """\
(while :; do echo more; done >output/a.txt) &
until [ -s output/a.txt ] && [ $(wc -c <output/a.txt) -gt 500000 ]; do :; done
echo '{}'
"""


def error_of(make_runner: MakeRunner, plugin: Path, layers: Layers | None = None) -> Any:
    """Return the error of a call that fails."""
    result, error = make_runner(plugin, layers=layers).run("sample", {})
    assert (result, error is None) == (None, False)
    assert error is not None
    return error["error"]


@pytest.mark.parametrize(
    ("command", "files"),
    [
        (["./main.sh"], {"main.sh": '#!/bin/sh\nprintf \'{"given": %s}\' "$(cat)"\n'}),
        (["sh", "main.sh"], {"main.sh": 'printf \'{"given": %s}\' "$(cat)"\n'}),
        (["main.sh"], {"main.sh": '#!/bin/sh\nprintf \'{"given": %s}\' "$(cat)"\n'}),
        (["awk", '{ print "{\\"given\\": " $0 "}" }'], {}),
        (["perl", "main.pl"], {"main.pl": "print '{\"given\": ', <STDIN>, '}';"}),
        (["/bin/sh", "-c", 'printf \'{"given": %s}\' "$(cat)"'], {}),
    ],
    ids=["script", "interpreter", "in the folder", "awk", "perl", "absolute"],
)
def test_a_program_is_given_the_payload_and_answers(
    command: list[str],
    files: dict[str, str],
    layers: Layers,
    open_folder: Path,
    make_runner: MakeRunner,
) -> None:
    """JSON on its standard input, JSON on its standard output, whatever it is written in."""
    tool_runner = make_runner(a_command(open_folder, command, files), layers=layers)
    payload = {"text": "ä\n\u2028", "numbers": [1, 2.5, -3e10], "nothing": None}
    for _ in range(2):
        assert tool_runner.run("sample", payload) == ({"given": payload}, None)


def test_a_compiled_program_answers(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """A program in C lies in the plugin's folder."""
    plugin = a_command(open_folder, ["./echo"], {"echo.c": ECHO_C, "echo": "#!"})
    subprocess.run(["cc", "-o", plugin / "echo", plugin / "echo.c"], check=True)
    result, error = make_runner(plugin, layers=layers).run("sample", {"a": [1]})
    assert (result, error) == ({"given": {"a": [1]}}, None)


@needs_node
def test_a_node_program_answers(layers: Layers, open_folder: Path, make_runner: MakeRunner) -> None:
    """Node runs in every box, with its threads and its memory."""
    plugin = a_command(open_folder, ["node", "main.mjs"], {"main.mjs": ECHO_NODE})
    result, error = make_runner(plugin, layers=layers).run("sample", {"a": [1]})
    assert (result, error) == ({"given": {"a": [1]}}, None)


def test_calls_start_warm_and_cold(open_folder: Path, make_runner: MakeRunner) -> None:
    """Looking a program up leaves nothing that would keep calls from being forked."""
    plugin = a_script(open_folder, "echo '{}'")
    assert make_runner(plugin).start("sample").mode == "warm"
    plugin = a_script(open_folder, "echo '{}'", start='"cold"')
    call = Call()
    assert make_runner(plugin).run("sample", {}, call=call) == ({}, None)
    assert call.isolation.mode == "cold"


def test_a_program_knows_where_it_is(open_folder: Path, make_runner: MakeRunner) -> None:
    """Its working directory is the scratch; the rest is in its environment."""
    plugin = a_script(open_folder, TELLS_ALL)
    call = Call()
    tool_runner = make_runner(plugin, plugin={"sample": {"config": {"key": "k"}}})
    result, error = tool_runner.run("sample", {}, call=call)
    assert error is None
    assert result is not None
    assert result["cwd"] == result["home"] == result["tmp"]
    assert (result["id"], result["config"], result["plugin"]) == (
        call.call_id,
        {"key": "k"},
        str(plugin),
    )


def test_a_program_has_no_descriptors_of_its_cell(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """It cannot reach the reply channel, nor the log's."""
    body = """\
    for number in 3 4 5 6 7 8 9; do
        (eval "true <&$number") 2>/dev/null && open="$open $number"
    done
    echo "{\\"open\\": \\"$open\\"}"
    """
    result, error = make_runner(a_script(open_folder, body), layers=layers).run("sample", {})
    assert (result, error) == ({"open": " 3"}, None)


def test_progress_is_told_line_by_line(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """JSON lines on descriptor 3; what is none is named once in the log, and harms nothing."""
    body = """\
    echo '{"fraction": 0.25, "message": "a quarter"}' >&3
    printf '{"fraction": 0.5}\\n\\nhalf\\n{"fraction": NaN}\\n{"message": ""}\\n[1]\\n' >&3
    printf '{"fraction": 7, "message": "done"}' >&3
    echo '{}'
    """
    told: list[tuple[float, str]] = []
    call = Call(on_progress=lambda fraction, message: told.append((fraction, message)))
    tool_runner = make_runner(a_script(open_folder, body), layers=layers)
    assert tool_runner.run("sample", {}, call=call) == ({}, None)
    assert told == [(0.25, "a quarter"), (0.5, ""), (1.0, "done")]
    assert call.log_tail.count("descriptor 3 is for progress") == 1
    assert "this is none: half" in call.log_tail


def test_what_it_says_beside_its_answer_is_its_log(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """Standard error is the call's output."""
    call = Call()
    tool_runner = make_runner(a_script(open_folder, "echo hello >&2; echo '{}'"))
    assert tool_runner.run("sample", {}, call=call) == ({}, None)
    assert call.log_tail == "hello\n"


@pytest.mark.parametrize(
    ("body", "error_type", "words"),
    [
        ("echo 'no such thing' >&2; exit 3", "ExecutionError", "exit status 3; its standard error"),
        ("echo 'no such thing' >&2; exit 3", "ExecutionError", "ends with:\nno such thing"),
        ("exit 4", "ExecutionError", "./main.sh ended with exit status 4, and said nothing"),
        ("echo '{}'; exit 1", "ExecutionError", "exit status 1"),
        ("kill -SEGV $$", "ExecutionError", "./main.sh was ended by SIGSEGV, and said nothing"),
        ("sh -c 'kill -SEGV $$'; exit $?", "ExecutionError", "(as a shell says that SIGSEGV has"),
        ("nosuch", "ExecutionError", "nosuch: not found"),
        (
            "echo 'sh: Cannot fork' >&2; exit 2",
            "ExecutionError",
            "exit status 2; its standard error ends with:\nsh: Cannot fork",
        ),
        ("(echo 'sh: Cannot fork' >&2; exit 2) & wait", "ExecutionError", "exit status 0; its sta"),
        (
            "echo 'sh: fork: Resource temporarily unavailable' >&2; exit 254",
            "ExecutionError",
            "exit status 254; its standard error ends with:\nsh: fork: Resource temp",
        ),
        (
            "echo 'cp: No space left on device' >&2; exit 1",
            "ExecutionError",
            "exit status 1; its standard error ends with:\ncp: No space left on device",
        ),
        (
            "echo 'File size limit exceeded' >&2; exit 1",
            "ExecutionError",
            "exit status 1; its stan",
        ),
        (
            "perl -e 'print q({\"a\": [), q(1,) x 300000, q(]})'",
            "OutputValidationError",
            "print one JSON object there and nothing else",
        ),
        (
            'perl -e \'print q({"a": "), q(1) x 5000000, q("}{"b": 1})\'',
            "OutputValidationError",
            "print one JSON object there and nothing else",
        ),
        ("echo 'Out of Memory, he said' >&2; exit 2", "ExecutionError", "he said"),
        ("echo 'Out of memory, he said' >&2; exit 2", "ExecutionError", "he said"),
        ("echo 'we ran out of memory: sad' >&2; exit 2", "ExecutionError", "sad"),
        ("echo 'Out of memory!' >&2; exit 1", "MemoryLimitExceeded", "Out of memory!"),
        ("echo 'ls: Cannot allocate memory' >&2; exit 1", "MemoryLimitExceeded", "ls: Cannot"),
        (f"{V8}; kill -ABRT $$", "MemoryLimitExceeded", "ends with:\n\nFATAL ERROR: Reached heap"),
        (
            "echo 'RangeError: Array buffer allocation failed' >&2; exit 1",
            "MemoryLimitExceeded",
            "RangeError: Array",
        ),
        (
            GROWS,
            "OutputValidationError",
            "a file in output cannot be given back: the file a.txt has changed its size",
        ),
        ("echo 'too small' >&2; exit 65", "ValidationError", "too small"),
        ("exit 65", "ValidationError", "the plugin says that the input is invalid"),
        ("true", "OutputValidationError", "standard output is empty; print one JSON object"),
        ("echo", "OutputValidationError", "standard output is empty; print one JSON object"),
        ("echo hello", "OutputValidationError", "(line 1, column 1):\n  hello\n  ^\nprint one"),
        (
            'echo hello; echo "{}"',
            "OutputValidationError",
            "is no JSON: Expecting value (line 1, column 1):\n  hello\n  ^\n",
        ),
        (
            'printf \'{"a": 1,\\n  "b": }\\n\'',
            "OutputValidationError",
            'Expecting value (line 2, column 8):\n    "b": }\n         ^\n',
        ),
        (
            "echo '{}'; echo '{}'",
            "OutputValidationError",
            "has a second JSON document behind its first one (line 2, column 1):\n  {}\n  ^\n",
        ),
        (
            "echo '{}'; echo done",
            "OutputValidationError",
            "has more behind its first one (line 2, column 1):\n  done\n  ^\n",
        ),
        (
            "echo '{ words: 3 }'",
            "OutputValidationError",
            "  { words: 3 }\n    ^\nnames and texts stand in double quotes, as by `printf ",
        ),
        ("echo '[object Object]'", "OutputValidationError", "stand in double quotes, as by"),
        (
            "printf '{\"a\": [1,\n  2]\n\n'",
            "OutputValidationError",
            "it ends before the object is closed (line 2, column 5):\n    2]\n      ^\n",
        ),
        ("echo 'Error: no'", "OutputValidationError", "  Error: no\n  ^\nprint one JSON object"),
        ("echo '{} e: 1'", "OutputValidationError", "  {} e: 1\n     ^\nprint one JSON object"),
        ("echo '[1, '", "OutputValidationError", "it ends before the list is closed (line 1, col"),
        ("echo '[1]'", "OutputValidationError", "holds a list; print a JSON object"),
        ("echo 1", "OutputValidationError", "holds a number; print a JSON object"),
        ("echo null", "OutputValidationError", "holds null; print a JSON object"),
        ("echo '{\"a\": NaN}'", "OutputValidationError", "NaN is not JSON"),
        ('printf \'{"a": "\\377"}\'', "OutputValidationError", "not UTF-8: byte 0xff in line 1"),
    ],
)
def test_an_error_says_what_went_wrong(
    body: str, error_type: str, words: str, open_folder: Path, make_runner: MakeRunner
) -> None:
    """How it ended and what it said last, or where its answer is no JSON."""
    error = error_of(make_runner, a_script(open_folder, body))
    assert error["type"] == error_type
    assert words in error["message"]


@pytest.mark.parametrize("answer", ["{ words: 3 }", "{'a': 1}", "{ 'a-b': 1 }", "undefined"])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("node main.mjs", "print JSON.stringify(value), not the value itself; "),
        ("./main /usr/bin/env -S deno run", "print JSON.stringify(value), not the value itself; "),
        ("python3.12 main.py", "print json.dumps(value), not the value itself; "),
        ("./count /usr/bin/python3", "print json.dumps(value), not the value itself; "),
        ("sh main.sh", "as by `printf "),
        ("./count /bin/bash", "as by `printf "),
        ("./count", "print the value as JSON: names and texts stand in double quotes"),
        ("ruby main.rb", "print the value as JSON: names and texts stand in double quotes"),
    ],
)
def test_what_is_advised_is_of_the_programs_language(answer: str, command: str, words: str) -> None:
    """By its command and its first line, or else of none."""
    with pytest.raises(NotJsonError) as caught:
        printed.check(bytearray(answer.encode()), command)
    told = str(caught.value)
    assert words in told
    of_others = {"JSON.stringify", "json.dumps", "printf"} - {
        one for one in ("JSON.stringify", "json.dumps", "printf") if one in words
    }
    assert not [one for one in of_others if one in told]


@pytest.mark.parametrize(
    ("command", "files", "words"),
    [
        (["nosuch"], {}, "there is no program nosuch in {}, /usr/local/bin, /usr/bin, /bin; inst"),
        (["ruby3"], {}, "or put it into the plugin's folder. One that lies elsewhere is not seen"),
        (["/usr/bin/nosuch"], {}, "there is no /usr/bin/nosuch"),
        (["main.sh"], {"main.sh": "echo"}, "chmod a+rx it, or name what runs it first, as in comm"),
        (["/usr"], {}, "/usr is no file"),
        (
            ["./main.sh"],
            {"main.sh": "#!/bin/nosuch\n"},
            "its first line names /bin/nosuch, which is not there",
        ),
        (
            ["./main.sh"],
            {"main.sh": "#!/usr/bin/env nosuch\n"},
            "its first line asks for nosuch, which is not in /usr/local/bin, /usr/bin, /bin",
        ),
        (["./main.sh"], {"main.sh": "#!/bin/sh\r\n"}, "ends as lines do on Windows"),
    ],
)
def test_a_program_that_is_not_there_is_told_when_it_is_loaded(
    command: list[str],
    files: dict[str, str],
    words: str,
    layers: Layers,
    open_folder: Path,
    make_runner: MakeRunner,
) -> None:
    """What was looked for, where, and what to do."""
    plugin = a_command(open_folder, command, files)
    error = error_of(make_runner, plugin, layers)
    assert error["type"] == "PluginLoadError"
    assert words.format(plugin) in error["message"]


def test_a_missing_program_that_many_use_is_named_with_its_package(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """Who has no Node is told how to get it: here a node that no PATH has."""
    plugin = a_command(open_folder, ["./main"], {"main": "#!/usr/bin/env Rscript\n"})
    if shutil.which("Rscript"):
        pytest.fail("take another program for this test: Rscript is installed here")
    assert "apt-get install r-base-core" in error_of(make_runner, plugin)["message"]


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        ("cat data.txt", "data.txt is in the plugin's folder, and the working directory is the"),
        ("sort ./data.txt", "data.txt is in the plugin's folder, and the working directory is the"),
        ("no-such-program", "the box's PATH is /usr/local/bin:/usr/bin:/bin: install it"),
        (
            "/opt/no/such",
            "/opt/no/such: if it is there, a plugin may not see it: name its folder in",
        ),
        ("[[ a == a ]]; (exit 1)", "begin the script with #!/bin/bash"),
        ("echo 'cat: a: Read-only file system' >&2; exit 1", "what it leaves in output/ there is"),
        ("echo 'curl: (6) Could not resolve host: a' >&2; exit 6", "set network = true in its"),
        (
            "echo \"Error: Cannot find package '@a/b' im\" >&2; exit 1",
            "run `npm install @a/b` once",
        ),
        ("echo 'cat: other.txt: No such file or directory' >&2; exit 1", ""),
        ("echo 'no such file: data.txt' >&2; exit 65", ""),
    ],
)
def test_what_a_program_says_that_a_box_has_caused_is_explained(
    script: str, advice: str, open_folder: Path, make_runner: MakeRunner
) -> None:
    """Behind its own words; to a caller who is at fault, nothing is said beside these."""
    main = f"#!/bin/sh\n{script}\n"
    plugin = a_command(open_folder, ["./main.sh"], {"main.sh": main, "data.txt": "here"})
    lines = error_of(make_runner, plugin)["message"].splitlines()
    assert advice in lines[-1]
    told = ("a program may", "a plugin", "sh knows", "the box's", "no call", "data.txt is")
    assert bool(advice) == (lines[-1].startswith(told) or "if it is there" in lines[-1])


def test_a_missing_argument_file_is_named(open_folder: Path, make_runner: MakeRunner) -> None:
    """A typo in the second word is what many a beginner's first call comes to."""
    plugin = a_command(open_folder, ["sh", "mian.sh"], {"main.sh": "echo '{}'"})
    error = error_of(make_runner, plugin)
    assert error["message"].endswith("there is no file mian.sh in the plugin's folder")


def test_a_file_that_is_no_program_is_told(open_folder: Path, make_runner: MakeRunner) -> None:
    """It can be executed by its mode, and not by the kernel."""
    plugin = a_command(open_folder, ["./main"], {"main": "#!/bin/sh\n"})
    (plugin / "main").write_text("echo '{}'\n")
    error = error_of(make_runner, plugin)
    assert (error["type"], error["details"]["exception"]) == ("ExecutionError", "CommandError")
    assert "./main cannot be started: it is no program for this machine" in error["message"]


def test_the_program_of_the_guide_answers(open_folder: Path, make_runner: MakeRunner) -> None:
    """Its manifest and its source are those of docs/any-language.md, as they stand there."""
    guide = (Path(__file__).parents[2] / "docs/any-language.md").read_text(encoding="utf-8")
    plugin = open_folder / "word-count"
    plugin.mkdir()
    for language, name in (("toml", "toolrunner.toml"), ("perl", "main.pl")):
        block = guide.partition(f"```{language}\n")[2].partition("```")[0]
        (plugin / name).write_text(block, encoding="utf-8")
    result, error = make_runner(plugin).run("word-count", {"text": "one two\nthree"})
    assert (result, error) == ({"lines": 2, "words": 3}, None)


def test_files_in_output_are_given_back(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """By name, with the type that the name tells; the folder is there, and need not be used."""
    body = """\
    printf 'a,b\\n' >output/table.csv
    head -c 300000 /dev/zero >output/b.png
    echo '{"table": "table.csv"}'
    """
    tool_runner = make_runner(a_script(open_folder, body), layers=layers)
    for _ in range(2):
        call = Call()
        assert tool_runner.run("sample", {}, call=call) == ({"table": "table.csv"}, None)
        assert [(one.name, one.mime_type) for one in call.artifacts] == [
            ("b.png", "image/png"),
            ("table.csv", "text/csv"),
        ]
        assert [one.data for one in call.artifacts] == [bytes(300_000), b"a,b\n"]


def test_files_of_a_program_that_fails_are_not_given_back(
    open_folder: Path, make_runner: MakeRunner
) -> None:
    """A part of what was meant to come would be taken for all of it."""
    call = Call()
    plugin = a_script(open_folder, "echo 1 >output/a.txt; echo '{}'; exit 1")
    _, error = make_runner(plugin).run("sample", {}, call=call)
    assert (error is None, call.artifacts) == (False, ())


GIVES_BACK_ITS_INPUT = """\
printf '{"given": '
cat
printf '}'
cat input/* >output/all
echo >input/new 2>/dev/null && echo 'it can write there' >&2
true
"""


def test_an_image_is_given_by_its_path(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """As a file below input/, beside what else the caller gave."""
    plugin = a_script(open_folder, GIVES_BACK_ITS_INPUT, input='"image"')
    tool_runner = make_runner(plugin, layers=layers)
    for picture in (b"\x89PNG\r\n\x1a\n" + bytes(200_000), b"\x89PNG\r\n\x1a\n"):
        call = Call()
        payload = {"image": picture, "mime_type": "image/png", "options": {"a": 1}}
        result, error = tool_runner.run("sample", payload, call=call)
        assert error is None
        assert result is not None
        given = result["given"]
        assert given["image"].pop("path").endswith("/input/image.png")
        assert given == {
            "image": {"name": "image.png", "mime_type": "image/png", "bytes": len(picture)},
            "mime_type": "image/png",
            "options": {"a": 1},
        }
        assert [one.data for one in call.artifacts] == [picture]
        assert "it can write there" not in call.log_tail


def test_files_are_given_by_their_paths(
    layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """In the order in which the caller has given them."""
    plugin = a_script(open_folder, GIVES_BACK_ITS_INPUT, input='"files"')
    call = Call()
    files = [{"name": name, "data": name.encode()} for name in ("b.txt", "a b.csv")]
    result, error = make_runner(plugin, layers=layers).run("sample", {"files": files}, call=call)
    assert error is None
    assert result is not None
    assert [(one["name"], one["mime_type"]) for one in result["given"]["files"]] == [
        ("b.txt", "text/plain"),
        ("a b.csv", "text/csv"),
    ]
    assert [one.data for one in call.artifacts] == [b"a b.csvb.txt"]


@pytest.mark.parametrize("kind", ["image", "files", "json"])
def test_a_program_is_rehearsed_on_a_sample(
    kind: str, layers: Layers, open_folder: Path, make_runner: MakeRunner
) -> None:
    """With warm_up = true, as it would be called; one that fails there cannot be loaded."""
    keys = {"input": f'"{kind}"', "warm_up": "true"}
    if kind == "json":
        keys["input_schema"] = '{ examples = [{ text = "sample" }] }'
    body = "grep -q sample && echo 'rehearsed' >&2\nls input >&2\necho '{}'"
    plugin = a_script(open_folder, body, **keys)
    call = Call()
    payloads: dict[str, dict[str, Any]] = {
        "image": {"image": b"\x89PNG\r\n\x1a\n", "mime_type": "image/png"},
        "files": {"files": [{"name": "a", "data": b"a"}]},
        "json": {"text": "a"},
    }
    payload = payloads[kind]
    assert make_runner(plugin, layers=layers).run("sample", payload, call=call) == ({}, None)
    plugin = a_script(open_folder, "exit 7", **keys)
    _, error = make_runner(plugin, layers=layers).run("sample", payload)
    assert error is not None
    assert error["error"]["type"] == "PluginLoadError"
    assert "exit status 7" in error["error"]["message"]


def test_a_program_that_only_names_its_file_is_told(
    open_folder: Path, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """What it leaves in the folder output is given back."""
    answer = '{"a": "out.txt", "b": "kept.txt"}'
    body = f"echo x >out.txt; echo x >output/kept.txt; echo '{answer}'"
    tool_runner = make_runner(a_script(open_folder, body))
    result, error = tool_runner.run("sample", {})
    assert error is None
    assert result == {"a": "out.txt", "b": "kept.txt"}
    [record] = [one for one in caplog.records if one.name == "toolrunner.plugin.sample"]
    assert "names 'out.txt' of the working folder" in record.getMessage()
    assert "put it in the folder output" in record.getMessage()
