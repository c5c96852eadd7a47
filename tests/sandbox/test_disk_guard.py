"""What writes too much while an environment is made is ended, by whatever it hides that."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from toolrunner.sandbox.disk_guard import DiskGuard
from toolrunner.sandbox.ending import LimitHit
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB


@pytest.mark.parametrize("has_name", [True, False])
def test_what_is_written_is_seen_with_a_name_and_without(has_name: bool) -> None:
    """A file that has been removed takes its room for as long as it is open."""
    hit = threading.Event()

    class Told(Interrupt):
        def hit(self, limit: LimitHit) -> None:
            assert limit.name == "scratch_mb"
            hit.set()

    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file, DiskGuard((folder,), 32, Told(), others_mb=64) as guard:
            if not has_name:
                path.unlink()
            for _ in range(400):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
            assert hit.wait(60)
        assert guard.hit
