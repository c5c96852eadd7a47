"""Which audit log a server has: its own file, or with ``jobs`` set what all servers wrote too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolrunner.api.audit import Audit, AuditLog

if TYPE_CHECKING:
    from toolrunner.runner.jobs.postgres.together import Together


def audit_of(path: Path, together: Together | None) -> Audit:
    """Return the audit log of a server, which may be one of a cluster; whoever asks closes it."""
    file = AuditLog(path)
    if together is None:
        return file
    from toolrunner.api.cluster_audit import ClusterAudit  # noqa: PLC0415 - needs the extra `cluster`

    return ClusterAudit(file, together)
