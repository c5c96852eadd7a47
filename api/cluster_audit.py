"""The audit log of a server of several machines: its own file, and what all have, to be read."""

from __future__ import annotations

import json

from toolrunner.api.audit import AuditEntry, AuditLog, Value, entry_of
from toolrunner.runner.jobs.postgres.audit_rows import AuditRows
from toolrunner.runner.jobs.postgres.together import Together


class ClusterAudit:
    """The lines of all servers; see ``Audit``. Thread-safe."""

    def __init__(self, file: AuditLog, together: Together) -> None:
        """``file``: where this server's lines are kept."""
        self._file = file
        self._rows = AuditRows(together)

    def record(self, **fields: Value) -> None:
        line = entry_of(fields)
        self._file.append(line)
        self._rows.add(str(fields.get("caller") or ""), line)

    def problem(self) -> str:
        return self._file.problem()

    def read(self, *, limit: int, before: int | None, caller: str | None) -> list[AuditEntry]:
        found = self._rows.read(limit=limit, before=before, caller=caller)
        return [{"seq": seq, "host": host, **json.loads(line)} for seq, host, line in found]

    def close(self) -> None:
        self._rows.close()
        self._file.close()
