"""Readers of the API's document are run in the folder of their test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients_environment import Tool, tool_in


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Run them there: see ``tool_in``."""
    return tool_in(tmp_path)
