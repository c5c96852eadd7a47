"""Which audit log a server has: its own file, or with ``jobs`` set what all servers wrote too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from toolrunner.api.audit import Audit, AuditLog
from toolrunner.runner.jobs.cluster import open_together
from toolrunner.runner.settings.settings import Settings

if TYPE_CHECKING:
    from toolrunner.runner.jobs.postgres.together import Together

FILE = "audit.jsonl"


def audit_of(path: Path, together: Together | None) -> Audit:
    """Return the audit log of a server, which may be one of a cluster; whoever asks closes it."""
    file = AuditLog(path)
    if together is None:
        return file
    from toolrunner.api.cluster_audit import ClusterAudit  # noqa: PLC0415 - needs the extra `cluster`

    return ClusterAudit(file, together)


@contextmanager
def kept_audit(settings: Settings) -> Iterator[Audit | None]:
    """Hold the audit log for a command that reads it; ``None`` where none is kept yet."""
    path = settings.kept_state() / FILE
    if not settings.jobs and not path.exists():
        yield None
        return
    with open_together(settings) as together, closing(audit_of(path, together)) as log:
        yield log
