"""What becomes of the files that a call gave back: written below ``--out``, or told of alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolrunner.api.cli.out_folder import ARTIFACTS, OutFolder, place_of
from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.sandbox.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class Kept:
    """An artifact of a call, and the file that it was written to, if it was."""

    info: ArtifactInfo
    file: str | None = None
    has_replaced: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {**self.info.document(), "file": self.file}


def told(artifacts: Sequence[Artifact]) -> tuple[Kept, ...]:
    """Return what is told of artifacts that are written nowhere."""
    return tuple(Kept(info_of(one)) for one in artifacts)


class ArtifactFolder(OutFolder):
    """The folder that ``--out`` names."""

    def keep(self, artifacts: Sequence[Artifact], below: str = "") -> tuple[Kept, ...]:
        """Write artifacts, none where something is in the way of one; raises Refused, and OSError.

        ``below`` is the file that they were made of: a path below the folder that it was found in.
        """
        if not artifacts:
            return ()
        folders: list[str] = []
        if below:
            folders, name = place_of(below)
            folders.append(f"{name}{ARTIFACTS}")
        written = self.put({one.name: one.data for one in artifacts}, folders)
        return tuple(
            Kept(info_of(one), written[one.name].file, written[one.name].has_replaced)
            for one in artifacts
        )
