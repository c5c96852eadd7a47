"""The running server held against its OpenAPI document, by requests that are made up from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.http.test_openapi import OPERATIONS
from tests.api.serve.conftest import Serve
from tests.api.serve.test_load import WORKERS

EXAMPLES = 40
PROGRAM = Path(__file__).parent / "made_up.py"


@pytest.mark.timeout(600)
def test_every_answer_is_as_documented(serve: Serve) -> None:
    """To valid and invalid requests: status, headers, type and shape."""
    server = serve("--workers", str(2 * WORKERS))
    address = server.ready()
    server.drain_log()
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), address, str(EXAMPLES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == {}
    assert set(found["sent"]) == set(OPERATIONS)
    assert all(found["sent"].values())
