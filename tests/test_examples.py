"""The worked examples do what their page says: typed as it has them, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.libraries.conftest import ENVIRONMENT, missing_environment

PAGE = Path(__file__).parent.parent / "docs/examples.md"
SECTION = re.compile(r"^## (.*)\n((?s:.*?))(?=^## |\Z)", re.MULTILINE)
SECTIONS = dict(SECTION.findall(PAGE.read_text(encoding="utf-8")))
TABLE = {"columns": ["city", "people"], "rows": [["Ur", 65000], ["Uruk, the old", 40000]]}
REPORT = """
from reportlab.pdfgen.canvas import Canvas
canvas = Canvas("report.pdf")
for number in (1, 2):
    canvas.drawString(100, 700, f"page {number} of the report")
    canvas.showPage()
canvas.save()
from pypdf import PdfWriter
for name, password in (("locked", "secret"), ("restricted", "")):
    writer = PdfWriter(clone_from="report.pdf")
    writer.encrypt(password, "owner's", algorithm="AES-256")
    writer.write(f"{name}.pdf")
"""


class Reader:
    """Somebody who does what a section says, in a folder of his own."""

    def __init__(self, title: str, folder: Path) -> None:
        text = SECTIONS[title]
        [(self.file, self.source)] = re.findall(
            r"^`(\w+\.py)`(?s:.*?)^```python\n((?s:.*?))^```", text, re.MULTILINE
        )
        self.commands, self.requests = re.findall(r"^```sh\n((?s:.*?))^```", text, re.MULTILINE)
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TOOLRUNNER_STATE": str(folder / "state"),
            "UV_NO_CONFIG": "1",
        }
        (folder / self.file).write_text(self.source, encoding="utf-8")

    def types(self, script: str) -> str:
        """Run some lines as a shell does; return what they print."""
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def asks_a_server(self) -> list[object]:
        """Do the requests of the section; return the documents that are answered."""
        command = ["toolrunner", "--plugins", ".", "serve", "--port", "0", "--workers", "1"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr is not None
            log = iter(server.stderr.readline, "")
            address = next(
                found[1] for line in log if (found := re.search(r"listening on http://(\S+)", line))
            )
            try:
                said = self.types(self.requests.replace("127.0.0.1:8000", address))
            finally:
                server.terminate()
                rest = "".join(log)
        assert server.returncode == 0, rest
        events, documents = [], []
        decoder = json.JSONDecoder()
        for line in re.sub(r"(?<=[\]}])(?=[\[{i])", "\n", said).splitlines():
            if line.startswith(("{", "[")):
                documents.append(decoder.decode(line))
            elif line.startswith("data: "):
                events.append(line)
        assert events[-1] == 'data: {"status": "SUCCESS"}'
        return documents


def test_a_table_out_of_a_csv_file(open_folder: Path) -> None:
    """With numbers as numbers; what is no table is the caller's fault."""
    reader = Reader("A table out of a CSV file", open_folder)
    assert re.search(r"^ +Uruk, the old +40000 *$", reader.types(reader.commands), re.MULTILINE)
    direct, of_the_job = reader.asks_a_server()
    for document in (direct, of_the_job):
        assert isinstance(document, dict)
        assert document["result"] == {"tables": {"cities.csv": TABLE}}
    (open_folder / "odd.csv").write_bytes(b"a;b\n007;-1.5\nNaN;1_0\n")
    (open_folder / "latin.csv").write_bytes(b"caf\xe9\n")
    run = "toolrunner --plugins csv_table.py --json run csv-table"
    [table] = json.loads(reader.types(f"{run} odd.csv"))["result"]["tables"].values()
    assert table == {"columns": ["a", "b"], "rows": [["007", -1.5], ["NaN", "1_0"]]}
    error = json.loads(reader.types(f"{run} latin.csv || test $? = 2"))["error"]
    assert (error["type"], "no CSV file" in error["message"]) == ("ValidationError", True)


def test_text_out_of_a_pdf(open_folder: Path) -> None:
    """With pypdf as it is on the index, in an environment of the plugin's own."""
    problem = missing_environment()
    if problem:
        pytest.fail(problem.splitlines()[0])
    reader = Reader("Text out of a PDF", open_folder)
    subprocess.run(
        [ENVIRONMENT.resolve() / "bin/python", "-c", REPORT], cwd=open_folder, check=True
    )
    for name in ("pypdf", "cryptography", "cffi", "pycparser"):
        write_wheel_again(open_folder / "wheels", name)
    reader.environment |= {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(open_folder / "wheels")}
    said = reader.types(reader.commands)
    assert "pdf-text: installed 4 packages, " in said
    assert "page 2 of the report" in said
    direct, of_the_job = reader.asks_a_server()
    for document in (direct, of_the_job):
        assert isinstance(document, dict)
        [pages] = document["result"]["pages"].values()
        assert [page.strip() for page in pages] == ["page 1 of the report", "page 2 of the report"]
    (open_folder / "broken.pdf").write_bytes((open_folder / "report.pdf").read_bytes()[:300])
    run = "toolrunner --plugins pdf_text.py --json run pdf-text"
    for name in ("broken", "locked"):
        error = json.loads(reader.types(f"{run} {name}.pdf || test $? = 2"))["error"]
        assert error["type"] == "ValidationError"
    [pages] = json.loads(reader.types(f"{run} restricted.pdf"))["result"]["pages"].values()
    assert pages[1].strip() == "page 2 of the report"


def write_wheel_again(folder: Path, name: str) -> None:
    """Write the wheel that a library of the libraries' environment was installed from."""
    [site] = ENVIRONMENT.resolve().glob("lib/python3*/site-packages")
    [found] = distributions(name=name, path=[str(site)])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{found.version}-py3-none-any.whl", "w") as wheel:
        for file in found.files or ():
            if file.suffix != ".pyc" and ".." not in file.parts:
                wheel.write(str(file.locate()), str(file))


@pytest.fixture
def ffmpeg() -> str:
    """The host's ffmpeg, where boxes find it."""
    found = shutil.which("ffmpeg", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        pytest.fail("ffmpeg is missing (on Debian: apt-get install ffmpeg)")
    return found


def test_frames_out_of_a_video(open_folder: Path, ffmpeg: str) -> None:
    """As files; of a job each by itself. What is no video is the caller's fault."""
    assert ffmpeg
    reader = Reader("Frames out of a video", open_folder)
    reader.types(reader.commands)
    names = [f"frame-0{number}.jpg" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in (open_folder / "frames").iterdir()) == names
    assert (open_folder / "frames/frame-01.jpg").read_bytes().startswith(b"\xff\xd8")
    direct, of_the_job = reader.asks_a_server()
    assert isinstance(direct, dict)
    assert isinstance(of_the_job, list)
    assert [one["name"] for one in direct["artifacts"]] == names
    assert [one["name"] for one in of_the_job] == names
    assert (open_folder / "frame-01.jpg").read_bytes().startswith(b"\xff\xd8")
    (open_folder / "no.mp4").write_bytes(b"no video")
    run = "toolrunner --plugins video_frames.py --json run video-frames no.mp4 || test $? = 2"
    assert json.loads(reader.types(run))["error"]["type"] == "ValidationError"


def test_an_ffmpeg_that_lies_elsewhere(open_folder: Path, ffmpeg: str) -> None:
    """Is found with ``read``, by its path; without, what is said has both."""
    elsewhere = open_folder / "opt/bin/ffmpeg"
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(ffmpeg, elsewhere)
    reader = Reader("Frames out of a video", open_folder)
    reader.types(reader.commands.splitlines()[0])
    source = reader.source.replace('FFMPEG = "ffmpeg"', f'FFMPEG = "{elsewhere}"')
    granted = source.replace("# limits", f'# read = ["{elsewhere.parent}"]\n# limits')
    run = "toolrunner --plugins video_frames.py --json run video-frames clip.mp4"
    (open_folder / reader.file).write_text(granted)
    assert len(json.loads(reader.types(run))["result"]["frames"]) == 4
    (open_folder / reader.file).write_text(source)
    refused = json.loads(reader.types(f"{run} || test $? = 1"))["error"]["message"]
    assert "make it a folder with a toolrunner.toml, or name the folder in read" in refused
    unknown = reader.source.replace('FFMPEG = "ffmpeg"', 'FFMPEG = "ffprobe-7"')
    (open_folder / reader.file).write_text(unknown)
    message = json.loads(reader.types(f"{run} || test $? = 1"))["error"]["message"]
    assert "the box's PATH is /usr/local/bin:/usr/bin:/bin: install it on the host" in message
