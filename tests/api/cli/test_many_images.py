"""``analyze`` on folders, patterns and many files: what it takes, writes, leaves out, sums up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.api.conftest import Cli, Screen, Start
from tests.conftest import WritePlugin

PATIENT = "{ wall_seconds = 1000 }"
BYTES = 'def run(payload):\n    return {"bytes": len(payload["image"])}\n'
# Waits for ever on the second picture that it is given, in the order of their names.
STUCK = """
import logging, time
def run(payload):
    if payload["image"].endswith(b"stuck"):
        logging.getLogger("own").warning("under way")
        time.sleep(1000)
    return {"bytes": len(payload["image"])}
"""


@pytest.fixture
def photos(tmp_path: Path, png: Path) -> Path:
    """A folder as people have them: pictures, other files, hidden ones, and folders in it."""
    folder = tmp_path / "photos"
    for place in ("b.png", "a.png", "trip/c.png", "trip/.hidden.png", ".thumbs/d.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(png, folder / place)
    (folder / "notes.txt").write_text("no picture at all")
    return folder


def found(folder: Path) -> list[str]:
    """Return the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_stands_for_the_pictures_in_it(cli: Cli, photos: Path) -> None:
    """By name; what is no picture is passed over and counted, what is hidden is not looked at."""
    ended = cli("analyze", "image-info", photos, "--json")
    assert ended.status == 0
    assert [one["file"] for one in ended.documents] == [f"{photos}/a.png", f"{photos}/b.png"]
    assert ended.err == "2 images: 2 done; 1 passed over, of no type that image-info takes\n"


def test_a_damaged_picture_in_a_folder_is_an_error_of_its_own(cli: Cli, photos: Path) -> None:
    """Its name says that it is one, though its bytes say nothing; nothing is kept quiet."""
    for name, content in {"c.png": b"cut off", "d.JPG": b"", "e.tif": b"\0" * 99}.items():
        (photos / name).write_bytes(content)
    ended = cli("analyze", "image-info", "photos", "--out", "results")
    assert ended.status == 2
    for name, why in {
        "c.png": "begins like no type",
        "d.JPG": "is empty",
        "e.tif": "begins like no type",
    }.items():
        assert f"✗ photos/{name}: ValidationError" in ended.err
        error = json.loads((photos.parent / "results" / f"{name}.json").read_text())["error"]
        assert why in error["message"]
    assert ended.err.endswith(
        "5 images: 2 done, 3 ValidationError; 1 passed over, of no type that image-info takes\n"
    )


def test_an_error_of_any_words_is_one_image_of_many(
    cli: Cli, photos: Path, write_plugin: WritePlugin
) -> None:
    """Such as a line of a traceback that names a line which no file has: the others are done."""
    words = r"""'x\n  File "%s", line %s, in run\n' % (__file__, "9" * 5000)"""
    path = write_plugin(f"def run(payload):\n    raise ValueError({words})\n", input="image")
    ended = cli("--plugins", path, "analyze", "sample", photos)
    assert ended.status == 1
    assert ended.err.count("ExecutionError (the plugin") == 2
    assert "a bug of" not in ended.err


def test_recursive_takes_the_folders_of_a_folder(cli: Cli, photos: Path) -> None:
    """But none that a link leads to, so that no circle of links is endless."""
    (photos / "trip" / "circle").symlink_to(photos)
    ended = cli("analyze", "image-info", "photos", "--recursive", "--json")
    names = [one["file"] for one in ended.documents]
    assert names == ["photos/a.png", "photos/b.png", "photos/trip/c.png"]


def test_a_pattern_is_expanded_where_no_shell_did_it(cli: Cli, photos: Path) -> None:
    """Across folders with ``**``; a file that has such a name is itself."""
    ended = cli("analyze", "image-info", "photos/**/*.png", "--json")
    assert [one["file"] for one in ended.documents] == [
        "photos/a.png",
        "photos/b.png",
        "photos/trip/c.png",
    ]
    (photos / "a.png").rename(photos / "[a].png")
    assert cli("analyze", "image-info", "photos/[a].png", "--json").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["photos/*.gif"], "photos/*.gif: no file has a name like that"),
        (["empty"], "empty: there is no image that image-info takes; --recursive looks into"),
        (["empty", "--recursive"], "empty: there is no image that image-info takes\n"),
        (["photos", "--skip-existing"], "--skip-existing looks for results in --out DIR"),
        (["photos", "--out", "picture.png"], "--out picture.png: "),
    ],
)
def test_what_stands_for_no_image_says_so(
    cli: Cli, photos: Path, arguments: list[str], words: str
) -> None:
    """It is the caller's to put right."""
    (photos.parent / "empty").mkdir()
    (photos.parent / "picture.png").touch()
    ended = cli("analyze", "image-info", *arguments)
    assert ended.status == 2
    assert words in ended.err


def test_out_has_one_document_an_image(cli: Cli, photos: Path, tmp_path: Path) -> None:
    """In folders as they were, errors among them; stdout has them only with --json."""
    (photos / "trip" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    given = ["analyze", "image-info", "photos", "-r", "--out", "results/today"]
    ended = cli(*given)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.endswith(
        "4 images: 3 done, 1 ValidationError; 1 passed over, of no type that image-info takes\n"
    )
    out = tmp_path / "results" / "today"
    assert found(out) == [
        "a.png.json",
        "b.png.json",
        "trip/c.png.json",
        "trip/damaged.png.json",
    ]
    written = json.loads((out / "trip" / "c.png.json").read_text())
    assert (written["plugin"], written["file"]) == ("image-info", "photos/trip/c.png")
    assert written["result"]["width"] == 32
    damaged = json.loads((out / "trip" / "damaged.png.json").read_text())
    assert damaged["error"]["type"] == "ValidationError"
    assert {one["file"] for one in cli(*given, "--json").documents} == {
        "photos/a.png",
        "photos/b.png",
        "photos/trip/c.png",
        "photos/trip/damaged.png",
    }


def test_what_a_plugin_gives_back_lies_beside_its_result(
    cli: Cli, write_plugin: WritePlugin, photos: Path, tmp_path: Path
) -> None:
    """Of each image in a folder of its own; the JSON is written last, and says where."""
    body = """
    def run(payload, context):
        return {"drawn": context.artifact("drawn.png", payload["image"])}
    """
    plugin = write_plugin(body, input="image")
    ended = cli("--plugins", plugin, "analyze", "sample", "photos", "-r", "--out", "out")
    assert (ended.status, ended.out) == (0, "")
    written = json.loads((tmp_path / "out" / "trip" / "c.png.json").read_text())
    [artifact] = written["artifacts"]
    assert artifact["file"] == "out/trip/c.png.artifacts/drawn.png"
    given = (photos / "trip" / "c.png").read_bytes()
    assert (tmp_path / artifact["file"]).read_bytes() == given


def test_the_folder_for_results_is_not_looked_into(cli: Cli, photos: Path, png: Path) -> None:
    """It may lie in the folder that is analyzed, and hold pictures."""
    (photos / "out").mkdir()
    shutil.copy(png, photos / "out" / "made.png")
    ended = cli("analyze", "image-info", "photos", "-r", "--out", "photos/out")
    assert ended.err.startswith("3 images: 3 done")


def test_two_files_of_one_place_are_refused(cli: Cli, photos: Path, tmp_path: Path) -> None:
    """The second would replace what was written of the first; without --out nothing is."""
    names = ["photos/trip/c.png", "photos/c.png"]
    shutil.copy(photos / "trip" / "c.png", photos / "c.png")
    ended = cli("analyze", "image-info", *names, "--out", "out")
    assert ended.status == 2
    assert "photos/c.png and photos/trip/c.png would both be c.png" in ended.err.replace("\n", " ")
    assert json.loads((tmp_path / "out" / "c.png.json").read_text())["file"] == names[0]
    assert cli("analyze", "image-info", *names).status == 0


def test_a_pattern_through_links_gives_no_two_files_one_place(
    cli: Cli, photos: Path, tmp_path: Path, png: Path
) -> None:
    """What is before ``..`` may lie anywhere."""
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        shutil.copy(png, tmp_path / name / "a.png")
        (photos / "linked" / name).parent.mkdir(exist_ok=True)
        (photos / "linked" / name).symlink_to(tmp_path / name / "deep")
    ended = cli("analyze", "image-info", "photos/linked/*/../a.png", "--out", "out")
    assert ended.status == 2
    words = "photos/linked/two/../a.png and photos/linked/one/../a.png would both be a.png"
    assert words in ended.err.replace("\n", " ")
    assert os.listdir(tmp_path / "out") == ["a.png.json"]


def test_a_name_that_leaves_no_room_is_refused(cli: Cli, tmp_path: Path, png: Path) -> None:
    """The others are done."""
    png.rename(tmp_path / ("x" * 250))
    ended = cli("analyze", "image-info", "x" * 250, "--out", "out")
    assert ended.status == 2
    assert "its name is longer than 200 bytes; rename it" in ended.err.replace("\n", " ")


def test_a_name_of_any_bytes_is_written(cli: Cli, tmp_path: Path, png: Path) -> None:
    """A file's name need be no text; in a document it is one."""
    folder = tmp_path / "odd"
    folder.mkdir()
    os.rename(png, os.fsencode(folder) + b"/\xff\n.png")
    ended = cli("analyze", "image-info", "odd", "--out", "out")
    assert ended.status == 0
    [name] = os.listdir(os.fsencode(tmp_path / "out"))
    assert name == b"\xff\n.png.json"
    assert json.loads((tmp_path / "out" / os.fsdecode(name)).read_text())["file"] == (
        "odd/\\\\xff\\n.png"
    )


@pytest.mark.usefixtures("photos")
def test_what_has_a_result_is_skipped(cli: Cli, tmp_path: Path) -> None:
    """Not what has an error, nothing at all in its file, or another plugin's result."""
    given = ["analyze", "image-info", "photos", "-r", "--out", "out", "--skip-existing"]
    first = cli(*given)
    assert "skipped" not in first.err
    out = tmp_path / "out"
    times = {name: (out / name).stat().st_mtime_ns for name in found(out)}
    (out / "a.png.json").write_text('{"error": {"type": "SandboxError"}}\n')
    (out / "b.png.json").write_text("")
    ended = cli(*given)
    assert ended.err.startswith("2 images: 2 done; 1 skipped, with a result already; 1 passed over")
    assert (out / "trip" / "c.png.json").stat().st_mtime_ns == times["trip/c.png.json"]
    assert json.loads((out / "a.png.json").read_text())["result"]
    other = [word.replace("image-info", "palette") for word in given]
    assert cli(*other).err.startswith("3 images: 3 done;")
    assert cli(*other).err.startswith("0 images: 0 done; 3 skipped")


def test_a_kill_leaves_whole_documents_and_goes_on(
    start: Start, cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Whoever was killed has written what was done; the next run does the rest."""
    plugin = write_plugin(STUCK, input="image", accepts='["image/png"]', limits=PATIENT)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        end = b"stuck" if number == 4 else b"x"
        (folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + end)
    given = ["--plugins", str(plugin), "analyze", "sample", "pictures", "--out", "out", "-j", "1"]
    process = start(*given, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"under way" in process.stderr.readline()
    box = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(box, timeout=120)[1] == []
    assert found(tmp_path / "out") == [f"{number}.png.json" for number in range(4)]
    (folder / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = cli(*given, "--skip-existing")
    assert ended.err == "2 images: 2 done; 4 skipped, with a result already\n"


def test_ctrl_c_says_what_was_done_and_how_to_go_on(
    start: Start, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """In the order: what was done, and that the rest was killed."""
    plugin = write_plugin(STUCK, input="image", accepts='["image/png"]', limits=PATIENT)
    for name, end in (("a.png", b"x"), ("b.png", b"stuck"), ("c.png", b"x")):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + end)
    process = start(
        "--plugins", plugin, "analyze", "sample", "a.png", "b.png", "c.png", "--out", "out",
        "--jobs", "1", stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert b"under way" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read().decode()
    assert process.wait() == 130
    assert rest.splitlines() == [
        "the same command with --skip-existing goes on from here",
        "1 image: 1 done",
        "interrupted; whatever ran was killed",
    ]
    assert found(tmp_path / "out") == ["a.png.json"]


def test_the_bar_counts_what_is_to_be_done(
    start: Start, screen: Screen, cli: Cli, photos: Path, tmp_path: Path
) -> None:
    """What was skipped or passed over is none of it."""
    given = ["analyze", "image-info", "photos", "-r", "--out", "out", "--skip-existing"]
    assert cli(*given).status == 0
    (tmp_path / "out" / "b.png.json").unlink()
    assert (photos / "notes.txt").exists()
    process = start(*given, stdout=subprocess.DEVNULL, stderr=screen.slave)
    screen.close_slave()
    text = screen.read_to_end()
    assert process.wait() == 0
    assert "0/4" in text  # a, b, c and the notes, which it knows of only once it has looked
    assert "1/1" in text
    assert "1 image: 1 done; 2 skipped, with a result already; 1 passed over" in text


def test_a_plugin_that_takes_nothing_is_asked_once(cli: Cli, photos: Path) -> None:
    """Every other file would end alike."""
    for plugin, words in (("palete", "did you mean 'palette'?"), ("text-stats", "takes JSON")):
        ended = cli("analyze", plugin, photos, "-r", "--json")
        assert (ended.status, words in ended.error["message"]) == (2, True)
