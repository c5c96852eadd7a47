"""``plugins check --debug``: a plugin without a box, for a debugger, and never as root."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import COMMAND, Cli, common_environment
from toolrunner.sandbox.spawn import LAUNCH

SOMEBODY = 12345
PLUGIN = """
# /// script
# [tool.toolrunner]
# name = "sample"
# input = "json"
# input_schema = { examples = [{ text = "hello" }] }
# ///
import os

def run(payload, context):
    text = payload["text"]
    BODY
    open("left", "w").close()
    return {"text": text, "files": os.listdir(context.scratch)}
"""


def debugged(
    folder: Path, *arguments: str, body: str = "pass", typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command as an ordinary user, with a plugin and what he types."""
    (folder / "sample.py").write_text(PLUGIN.lstrip().replace("BODY", body))
    home = folder / "home"
    home.mkdir(exist_ok=True)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(home, SOMEBODY, SOMEBODY)
        identity = {"user": SOMEBODY, "group": SOMEBODY, "extra_groups": []}
    environment = common_environment() | {"HOME": str(home), "TMPDIR": str(home)}
    words = arguments or ("plugins", "check", "--debug", str(folder / "sample.py"))
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    assert not list(home.glob("toolrunner-debug-*"))
    return done


def test_it_runs_once_with_a_warning(open_folder: Path) -> None:
    """On the sample, in a scratch folder that goes; the result is what is printed."""
    done = debugged(open_folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "hello", "files": ["left"]}
    assert done.stderr.startswith("warning: sample runs without a box now: it can read and change")
    assert "It is called with the first of its schema's examples." in done.stderr


@pytest.mark.parametrize(
    ("kind", "body", "result"),
    [
        (
            "image",
            "text = [len(payload['image']) > 1000, payload['mime_type']]",
            [True, "image/jpeg"],
        ),
        ("files", "text = open(payload['files'][0]['path']).read()", "One line of text.\n"),
    ],
)
def test_it_gets_the_sample_of_its_kind(
    kind: str, body: str, result: object, open_folder: Path
) -> None:
    """A picture, or a file by its path."""
    lines = [line for line in PLUGIN.splitlines() if "input_schema" not in line]
    source = "\n".join(lines).lstrip().replace('"json"', f'"{kind}"')
    source = source.replace('text = payload["text"]', "pass").replace("BODY", body)
    (open_folder / "other.py").write_text(source)
    done = debugged(open_folder, "plugins", "check", "--debug", "other.py")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == result


def test_it_gets_input_of_its_authors_own(open_folder: Path) -> None:
    """Files at their paths, or JSON."""
    (open_folder / "own.json").write_text('{"text": "mine"}')
    words = ("plugins", "check", "--debug")
    done = debugged(open_folder, *words, "sample.py", "--sample", "own.json")
    assert json.loads(done.stdout)["text"] == "mine", done.stderr
    assert "It is called with the sample own.json." in done.stderr
    source = PLUGIN.lstrip().replace('"json"', '"files"\n# accepts = ["video/mp4"]')
    lines = [line for line in source.splitlines() if "input_schema" not in line]
    source = "\n".join(lines).replace('payload["text"]', 'open(payload["files"][0]["path"]).read()')
    (open_folder / "other.py").write_text(source.replace("BODY", "pass"))
    (open_folder / "own.mp4").write_text("film")
    assert "give it --sample FILE" in debugged(open_folder, *words, "other.py").stderr
    done = debugged(open_folder, *words, "other.py", "--sample", "own.mp4")
    assert json.loads(done.stdout)["text"] == "film", done.stderr


def test_a_breakpoint_stops_in_the_terminal(open_folder: Path) -> None:
    """And what is typed there counts."""
    typed = "p text\ntext = 'another'\ncontinue\n"
    done = debugged(open_folder, body="breakpoint()", typed=typed)
    assert done.returncode == 0, done.stderr
    assert "(Pdb) 'hello'" in done.stdout
    assert '{"text": "another", "files": ["left"]}' in done.stdout


def test_what_is_raised_has_pythons_own_traceback(open_folder: Path) -> None:
    """With the lines of the plugin's real file."""
    done = debugged(open_folder, body="raise ValueError('odd')")
    assert done.returncode == 1
    assert f'File "{open_folder.resolve()}/sample.py", line 11, in run' in done.stderr
    assert "ValueError: odd" in done.stderr


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (".", ('"sample"', '"other"'), "other, sample: --debug runs one plugin"),
        ("nowhere.py", ("", ""), "nowhere.py"),
        ("other.py", ('"json"', '"text"'), "other.py:4: tool.toolrunner.input"),
        (
            "other.py",
            ("# [tool", '# dependencies = ["no-such-library"]\n# [tool'),
            "toolrunner plugins install",
        ),
    ],
)
def test_what_is_no_single_plugin_is_refused_with_words(
    path: str, change: tuple[str, str], words: str, open_folder: Path
) -> None:
    """And nothing is run."""
    source = PLUGIN.lstrip().replace("BODY", "pass").replace(*change)
    (open_folder / "other.py").write_text(source)
    done = debugged(open_folder, "plugins", "check", "--debug", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "without a box" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        ("json", ()),
        ("files", ()),
        ("files", ("--sample", "o'wn.mp4")),
        ("image", ("one.png",)),
        ("image", ()),
        ("bmp", ()),
    ],
)
def test_a_program_is_run_by_hand(kind: str, sample: tuple[str, ...], open_folder: Path) -> None:
    """The line that is printed works in a shell, has what a box has, and leaves nothing there."""
    folder = open_folder / "program"
    folder.mkdir()
    (folder / "main.sh").write_text(
        '#!/bin/sh\ntest -f "$TOOLRUNNER_PLUGIN/toolrunner.toml" || exit 1\n'
        "cat >output/payload || exit 1\necho '{}' >&3 || exit 1\n"
        'for one in input/*; do cat "$one" >output/given 2>/dev/null; done\ncat output/payload\n'
    )
    (folder / "main.sh").chmod(0o755)
    accepts = {
        "files": 'accepts = ["text/plain", "video/mp4"]\n',
        "bmp": 'accepts = ["image/bmp"]\n',
    }.get(kind, "")
    kind = kind.replace("bmp", "image")
    (folder / "toolrunner.toml").write_text(
        f'[tool.toolrunner]\nname = "program"\ninput = "{kind}"\n{accepts}command = ["main.sh"]\n'
    )
    (open_folder / "o'wn.mp4").write_text("film")
    if "one.png" in sample:
        (folder / "sample.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        sample = ()
    before = sorted(folder.iterdir())
    command = ("plugins", "check", "--debug", "program", *sample)
    # It is not run, so root is told the line as well.
    done = subprocess.run(
        [*COMMAND, *command], cwd=open_folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert "program is a program: this line runs it in your shell" in done.stderr
    ended = subprocess.run(
        ["sh", "-c", done.stdout],
        env={**os.environ, "TMPDIR": str(open_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 1), ended.stderr
    assert sorted(folder.iterdir()) == before
    scratch = Path(ended.stderr.strip())
    payload = json.loads(ended.stdout)
    if kind == "json":
        assert payload == {}
        return
    [file] = payload["files"] if kind == "files" else [payload["image"]]
    assert set(file) == {"name", "path", "mime_type", "bytes"}
    assert (scratch / file["path"]).stat().st_size == file["bytes"] > 0
    assert (scratch / "output" / "given").read_bytes() == (scratch / file["path"]).read_bytes()


def test_root_is_refused(open_folder: Path) -> None:
    """By the command, and by what would run the plugin; root of a namespace as well."""
    as_root = () if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user")
    if as_root and subprocess.run([*as_root, "true"], check=False).returncode:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    path = open_folder / "sample.py"
    path.write_text(PLUGIN.lstrip().replace("BODY", "raise SystemExit('it ran')"))
    (open_folder / "order.json").write_text("{}")
    ended = [
        subprocess.run([*as_root, *words], capture_output=True, text=True, check=False)
        for words in (
            (*COMMAND, "plugins", "check", "--debug", str(path)),
            (COMMAND[0], "-P", LAUNCH, "plain", str(open_folder)),
        )
    ]
    assert (ended[0].returncode, ended[1].returncode) == (2, 1)
    assert "an ordinary user, as by: runuser -u NAME -- toolrunner plugins" in ended[0].stderr
    assert ended[1].stderr.endswith("PermissionError: no plugin is run without a box as root\n")


def test_debug_before_the_commands_name_shows_tracebacks_alone(cli: Cli, open_folder: Path) -> None:
    """Of a plugin that stays in its box."""
    body = "raise ValueError('odd')"
    (open_folder / "sample.py").write_text(PLUGIN.lstrip().replace("BODY", body))
    ended = cli("--debug", "plugins", "check", open_folder / "sample.py")
    assert ended.status == 1
    assert "    | Traceback (most recent call last):" in ended.out
    assert "without a box" not in ended.err
