"""What an error says where a plugin takes the files that it was given for what they are not."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.layers import Layers

LISTED = "payload['files'][0]"
NO_KEY = "only 'name', 'path', 'mime_type', 'bytes'; its content is in the file: open("
BY_ITS_PATH = (
    "; a file of the call is opened by its path, not by its name: open(file['path']) for one of "
    "payload['files']"
)
IS_A_DICT = "; a file of payload['files'] is a dict: open its path, file['path']"
IS_A_LIST = "; payload['files'] is a list of files: open payload['files'][0]['path']"
COPY = (
    "; the call's files can only be read: write to a copy of one, which shutil.copyfile makes in "
    "the working directory"
)
COPIED = (
    "; it can only be read, as shutil.copy takes that along from the call's files: copy with "
    "shutil.copyfile"
)
MODELESS = "; this box does not let modes be set: copy with shutil.copyfile, which sets none"
NO_ARTIFACT = (
    "is a file that the call was given, and none of its own: copy it to the scratch with "
    "shutil.copyfile, and give the copy, or give its bytes"
)


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ("open(files[0]['name'])", BY_ITS_PATH),
        ("Path('sub', files[0]['name']).read_bytes()", BY_ITS_PATH),
        ("open(files[0])", IS_A_DICT),
        ("Path(files[0])", IS_A_DICT),
        ("shutil.copyfile(files[0], 'copy')", IS_A_DICT),
        ("open(files)", IS_A_LIST),
        ("files['a.csv']", "; payload['files'] is a list: take one of it, payload['files'][0]"),
        (f"{LISTED}['data']", f"; {LISTED} has no 'data', {NO_KEY}{LISTED}['path'], 'rb').read()"),
        (
            "[file['data'] for file in files]",
            f"; file has no 'data', {NO_KEY}file['path'], 'rb').read()",
        ),
        ("file.read()", "; it is a dict: open its path, file['path']"),
        ("open(file['path'], 'a')", COPY),
        ("open(shutil.copy(file['path'], 'copy.csv'), 'w')", COPIED),
        ("sqlite3.connect(file['path']).execute('CREATE TABLE t (x)')", COPY),
        ("context.artifact('a.csv', file['path'])", NO_ARTIFACT),
        ("context.artifact('a.csv', 'input/a.csv')", NO_ARTIFACT),
    ],
)
def test_it_says_what_to_write(
    body: str, advice: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whatever it is opened by."""
    path = write_plugin(
        "import os, shutil, sqlite3\nfrom pathlib import Path\ndef run(payload, context):\n"
        f"    files = payload['files']\n    file = files[0]\n    {body}\n    return {{}}\n",
        input="files",
    )
    files = [{"name": "a.csv", "data": b""}]
    _, error = make_runner(path, layers=layers).run("sample", {"files": files})
    assert error is not None
    message = error["error"]["message"]
    assert message.endswith(MODELESS if advice == COPIED and not layers.namespaces else advice)


def test_other_files_and_values_are_told_as_ever(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What is no file of the call's has nothing to do with them."""
    path = write_plugin(
        "import os\ndef run(payload):\n    eval(payload['options']['code'])\n    return {}\n",
        input="files",
    )
    tool_runner = make_runner(path, layers=layers)
    for code, advice in (
        ("open('b.csv')", '(input = "files")'),
        ("os.close(os.open('own', os.O_CREAT, 0o200)) or open('own')", "'own'"),
    ):
        payload = {"files": [{"name": "a.csv", "data": b""}], "options": {"code": code}}
        _, error = tool_runner.run("sample", payload)
        assert error is not None
        assert error["error"]["message"].endswith(advice), error["error"]["message"]
