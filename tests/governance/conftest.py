"""What all tests of the scanner read is read before they are forked off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.governance.scanning import real


def pytest_collection_finish(session: pytest.Session) -> None:
    """Parse the project once: each process of the suite would take seconds to do it again."""
    here = Path(__file__).parent
    if any(item.path.parent == here for item in session.items):
        real()
