"""What ``doctor --attack`` has found on this host last: kept in the state folder, for the page.

One file, replaced whole. An attack that was run alone takes the place of its last outcome, as long
as the rest is of the same kernel and version. Who reads it believes nothing: it is checked.
"""

from __future__ import annotations

import errno
import os
import platform
import stat
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolrunner.api.version import version
from toolrunner.runner.errors import cut_end

FILE = "attacks.json"
MOST_CASES = 2000
_MOST_BYTES = 4 << 20
_MOST_DETAIL_BYTES = 1000
_MOST_NAME_BYTES = 100
_Name = Annotated[str, Field(max_length=_MOST_NAME_BYTES)]


class Outcome(Protocol):
    """One attack, as a campaign has it."""

    @property
    def name(self) -> str:
        """Which it was."""

    @property
    def outcome(self) -> str:
        """What came of it."""

    @property
    def layer(self) -> str:
        """What has stopped it."""

    @property
    def detail(self) -> str:
        """More, in words."""


class KeptCase(BaseModel):
    """One attack, and when it was made."""

    model_config = ConfigDict(frozen=True)

    name: _Name
    outcome: Literal["contained", "degraded", "escaped"]
    layer: _Name
    detail: Annotated[str, Field(max_length=_MOST_DETAIL_BYTES)]
    at: datetime


class Report(BaseModel):
    """The last outcome of each attack on this host, by one version and on one kernel."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: _Name
    kernel: _Name
    host: _Name
    cases: Annotated[tuple[KeptCase, ...], Field(max_length=MOST_CASES)]

    @property
    def at(self) -> datetime | None:
        """When the last attack of it was made."""
        return max((case.at for case in self.cases), default=None)

    @property
    def is_of_now(self) -> bool:
        """Whether it was made by this version, on this kernel."""
        return (self.version, self.kernel) == (_version(), _kernel())


def keep(folder: Path, cases: Iterable[Outcome]) -> None:
    """Keep what attacks have come to; raises OSError where that cannot be."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    found = {case.name: _kept(case, now) for case in cases}
    try:
        before = read(folder)
    except OSError:
        before = None  # of no use: replaced
    if before is not None and before.is_of_now:
        found = {**{case.name: case for case in before.cases}, **found}
    report = Report(
        version=_version(),
        kernel=_kernel(),
        host=cut_end(platform.node(), _MOST_NAME_BYTES),
        cases=tuple(found.values())[-MOST_CASES:],
    )
    _write(folder, report.model_dump_json().encode())


def read(folder: Path) -> Report | None:
    """Return what is kept; ``None`` where nothing is. Raises OSError for a file of no use."""
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, f"{path} is no ordinary file")
        data = file.read(_MOST_BYTES + 1)
    try:
        if len(data) <= _MOST_BYTES:
            return Report.model_validate_json(data)
    except ValidationError:
        pass
    message = f"{path} is not what doctor --attack writes: make a new one"
    raise OSError(errno.EINVAL, message)


def _kept(case: Outcome, now: datetime) -> KeptCase:
    return KeptCase.model_validate(
        {
            "name": cut_end(case.name, _MOST_NAME_BYTES),
            "outcome": case.outcome,
            "layer": cut_end(case.layer, _MOST_NAME_BYTES),
            "detail": cut_end(case.detail, _MOST_DETAIL_BYTES),
            "at": now,
        }
    )


def _write(folder: Path, data: bytes) -> None:
    """Put a file in its place, whole; it belongs to whom the folder belongs to."""
    descriptor, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            owner = folder.stat()
            if os.geteuid() == 0:  # the server that shows it may be another user's
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(name).rename(folder / FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def worst_first(cases: Sequence[KeptCase]) -> list[KeptCase]:
    """Return what needs to be looked at before what does not."""
    order = ("escaped", "degraded", "contained")
    return sorted(cases, key=lambda case: (order.index(case.outcome), case.name))


def _version() -> str:
    return cut_end(version() or "unknown", _MOST_NAME_BYTES)


def _kernel() -> str:
    return cut_end(f"{platform.release()} {platform.machine()}", _MOST_NAME_BYTES)
