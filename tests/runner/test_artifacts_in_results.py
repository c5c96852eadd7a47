"""What stands in a result and is a file or a picture: it becomes an artifact by itself."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits


def called(tool_runner: ToolRunner, payload: dict[str, Any]) -> tuple[dict[str, Any], Call]:
    """Return the result of a call, and its handle."""
    call = Call()
    return value(tool_runner.run("sample", payload, call=call)), call


def checked(reference: dict[str, Any], call: Call) -> bytes:
    """Return the bytes that a reference in a result stands for."""
    (found,) = [one for one in call.artifacts if one.name == reference["artifact"]]
    assert reference == {
        "artifact": found.name,
        "mime_type": found.mime_type,
        "bytes": len(found.data),
        "sha256": found.sha256,
    }
    return found.data


PATHS = """
    import dataclasses, os
    from pathlib import Path, PurePath

    @dataclasses.dataclass
    class Found:
        path: Path

    def write(name, text):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(payload, context):
        os.mkfifo("fifo")
        os.symlink("plain.txt", "link")
        os.symlink("/etc", "etc")
        return {
            "plain": write("plain.txt", "plain"),
            "absolute": context.scratch / "plain.txt",
            "below": write("a/b/plain.txt", "below"),
            "list": [Found(write(f"{n}.json", "{}")) for n in range(2)],
            "odd": write("\\u00fcber (1).PNG", "odd"),
            "hidden": write(".hidden", "hidden"),
            "long": write("x" * 200 + ".csv", "long"),
            "folder": Path("a"),
            "missing": Path("missing"),
            "elsewhere": Path("/etc/hostname"),
            "by a link": Path("etc/hostname"),
            "fifo": Path("fifo"),
            "link": Path("link"),
            "text": "plain.txt",
            "label": PurePath("somewhere/else.txt"),
        }
"""


def test_a_path_of_a_file_below_the_scratch_becomes_an_artifact(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """By its own name, as far as an artifact may have it; any other path is text."""
    result, call = called(make_runner(write_plugin(PATHS), layers=layers), {})
    given = {
        "plain": "plain.txt",
        "absolute": "plain.txt",  # the same file
        "below": "plain-2.txt",
        "odd": "ber--1-.PNG",
        "hidden": "hidden",
        "long": "x" * 124 + ".csv",
    }
    for key, name in given.items():
        assert result[key]["artifact"] == name
        assert checked(result[key], call).decode() == {"absolute": "plain"}.get(key, key)
    assert [one["path"]["artifact"] for one in result["list"]] == ["0.json", "1.json"]
    assert result["odd"]["mime_type"] == "image/png"
    assert {key: result[key] for key in result if key not in {*given, "list"}} == {
        "folder": "a",
        "missing": "missing",
        "elsewhere": "/etc/hostname",
        "by a link": "etc/hostname",
        "fifo": "fifo",
        "link": "link",
        "text": "plain.txt",
        "label": "somewhere/else.txt",
    }
    assert len(call.artifacts) == len(set(given.values())) + 2


PICTURES = """
    import io
    from PIL import Image

    def jpeg(mode):
        file = io.BytesIO()
        Image.new(mode, (8, 6)).save(file, "JPEG")
        return Image.open(file)

    def run(payload, context):
        if "mode" in payload:
            return {"a": [Image.new(payload["mode"], (2, 2))]}
        context.artifact("taken.png", b"x")
        picture = Image.new("RGB", (4, 3), (250, 10, 20))
        return {
            "picture": picture,
            "taken": picture,
            "frames": [picture, jpeg("RGB"), jpeg("RGB").convert("L")],
            "deep": {"a key": {"und \\u00fc": picture}},
            "none of ours": {"../../x": jpeg("CMYK")},
        }
"""


def test_a_pillow_image_becomes_a_file_that_is_named_after_its_key(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """As PNG, or as JPEG where it was one."""
    result, call = called(make_runner(write_plugin(PICTURES)), {})
    assert [one.name for one in call.artifacts] == [
        "taken.png",
        "picture.png",
        "taken-2.png",
        "frames-0.png",
        "frames-1.jpg",
        "frames-2.png",
        "deep-a-key-und.png",
        "none-of-ours-..-..-x.jpg",
    ]
    with Image.open(io.BytesIO(checked(result["picture"], call))) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (4, 3), (250, 10, 20))
    with Image.open(io.BytesIO(checked(result["frames"][1], call))) as image:
        assert (image.format, image.size) == ("JPEG", (8, 6))
    assert result["frames"][1]["mime_type"] == "image/jpeg"


@pytest.mark.parametrize("mode", ["F", "LAB", "CMYK", "HSV", "YCbCr"])
def test_a_picture_that_has_to_be_converted_first_is_named(
    mode: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """With its place, and what to write."""
    call = Call()
    _, envelope = make_runner(write_plugin(PICTURES)).run("sample", {"mode": mode}, call=call)
    assert envelope is not None
    assert envelope["error"]["type"] == "OutputValidationError"
    assert f"result['a'][0] is a picture of mode {mode}" in envelope["error"]["message"]
    assert ".convert('RGB')" in envelope["error"]["message"]
    assert call.artifacts == ()


BATCH = """
    import os, time
    from pathlib import Path
    from PIL import Image

    def run(payload, context):
        while os.path.exists(payload["gate"]):
            time.sleep(0.01)
        return {}

    def run_batch(payloads, context):
        try:
            context.artifact("a", b"x")
            said = "given"
        except RuntimeError as error:
            said = str(error)
        return [result(payload, said) for payload in payloads]

    def result(payload, said):
        number = payload["number"]
        path = Path(f"{number}.txt")
        path.write_text(str(number))
        found = {"picture": Image.new("L", (number + 1, 1)), "path": path, "said": said}
        if payload.get("what") == "no JSON":
            found["odd"] = object()
        return found
"""


def is_busy(tool_runner: ToolRunner) -> bool:
    """Tell whether the one resident serves a call."""
    figures = tool_runner.residents().get("sample")
    return figures is not None and (figures.processes, figures.idle) == (1, 0)


@pytest.fixture
def batch(
    open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> list[tuple[Any, Any, Call]]:
    """What came of the calls of one batch of four; the second one's result is no JSON."""
    gate = open_folder / "gate"
    tool_runner = make_runner(
        write_plugin(BATCH, start='"resident"', batch="4"),
        allow_resident=["sample"],
        plugin={"sample": {"read": [str(open_folder)]}},
        residents=ResidentLimits(each=1),
    )
    gate.touch()
    first = threading.Thread(target=tool_runner.run, args=("sample", {"gate": str(gate)}))
    first.start()
    wait_until(lambda: is_busy(tool_runner), "the one resident is busy")
    calls = [Call() for _ in range(4)]
    answers: dict[int, tuple[Any, Any]] = {}

    def call(number: int) -> None:
        payload = {"number": number, "what": "no JSON" if number == 1 else ""}
        answers[number] = tool_runner.run("sample", payload, call=calls[number])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: tool_runner.residents()["sample"].waiting == 4, "all of them wait")
    gate.unlink()
    for thread in (first, *threads):
        thread.join()
    return [(*answers[number], calls[number]) for number in range(4)]


def test_each_call_of_a_batch_gets_what_stands_in_its_own_result(
    batch: list[tuple[Any, Any, Call]],
) -> None:
    """The names are each call's own; one that fails has none; ``context.artifact`` says why not."""
    for number, (result, envelope, call) in enumerate(batch):
        if number == 1:
            assert envelope["error"]["type"] == "OutputValidationError"
            assert call.artifacts == ()
            continue
        assert envelope is None, envelope
        assert [one.name for one in call.artifacts] == ["picture.png", f"{number}.txt"]
        assert checked(result["path"], call) == str(number).encode()
        with Image.open(io.BytesIO(checked(result["picture"], call))) as image:
            assert image.size == (number + 1, 1)
        assert "put the picture, or the path of the file, into the result" in result["said"]
        assert call.usage.output_bytes > sum(len(one.data) for one in call.artifacts)


FORGETFUL = """
    import os

    def run(payload, context):
        os.makedirs("deep/er", exist_ok=True)
        for name in ("out.png", "key.txt", "given.txt", "deep/er/a.csv", "plain", "kept.txt"):
            with open(name, "w") as file:
                file.write("x")
        open("empty.txt", "w").close()
        context.artifact("given.txt", "given.txt")
        context.artifact("other.txt", "kept.txt")
        names = {
            "relative": "out.png",
            "absolute": str(context.scratch / "deep" / "er" / "a.csv"),
            "dotted": "./out.png",
            "a folder": str(context.scratch / "deep"),
            "a word": "deep",
            "not": ["x.png", "an out.png", "plain", "kept.txt", "empty.txt", {"key.txt": 1}],
        }
        return {"found": names[payload["as"]]}
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("relative", "'out.png' of the working folder"),
        ("dotted", "Path('out.png') or context.artifact('out.png', 'out.png') there"),
        ("absolute", "context.artifact('a.csv', 'deep/er/a.csv') there"),
        ("a folder", "an archive of it there: Path(shutil.make_archive('deep', 'zip', 'deep/'))"),
        ("a word", ""),
        ("not", ""),
    ],
)
def test_a_file_that_a_result_only_names_is_told(
    how: str,
    told: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the call's log, with what gives it back; the result stays as it is."""
    result, call = called(make_runner(write_plugin(FORGETFUL)), {"as": how})
    assert set(result) == {"found"}
    assert [one.name for one in call.artifacts] == ["given.txt", "other.txt"]
    records = [one for one in caplog.records if one.name == "toolrunner.plugin.sample"]
    assert len(records) == bool(told)
    assert told in caplog.text
