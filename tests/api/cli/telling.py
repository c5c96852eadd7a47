"""What the command line tells of a call that fails."""

from __future__ import annotations

import re
from pathlib import Path

from tests.api.conftest import Cli

PLUGIN_AT_FAULT = "(the plugin or its limits are at fault)"


def told(cli: Cli, path: Path, payload: str = '{"text": "hello"}') -> str:
    """Return what a person sees of a call that fails, without its identity."""
    ended = cli("--plugins", path, "run", "sample", "--payload", payload, COLUMNS="1000")
    assert (ended.status, ended.out) == (1, "")
    return re.sub(r"  call [0-9a-f]{32}\n", "", ended.err)
