"""Jobs that servers of several machines share: what is needed for them, looked at only then.

Who has not set ``jobs`` imports nothing of it, and needs nothing installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from toolrunner.runner.jobs.blob_choice import blobs_of
from toolrunner.runner.jobs.rules import bounds_of
from toolrunner.runner.settings.settings import Settings, SettingsError

if TYPE_CHECKING:
    from toolrunner.runner.jobs.postgres.store import PostgresJobStore
    from toolrunner.runner.jobs.postgres.together import Together

_NEEDED = ("psycopg", "procrastinate")
_MISSING = (
    "jobs: PostgreSQL needs packages that are not installed:"
    ' pip install "toolrunner-sandbox[cluster]", or in a clone: pip install ".[cluster]"'
)


def open_cluster_store(settings: Settings) -> PostgresJobStore:
    """Return the store of the jobs of a cluster; whoever asks closes it.

    Raises SettingsError without the extra ``cluster`` or a place for blobs, and SchemaError, which
    is a StoreError.
    """
    _insist()
    from toolrunner.runner.jobs.postgres.store import PostgresJobStore  # noqa: PLC0415 - see above

    blobs = blobs_of(settings)
    if blobs is None:
        message = "jobs: needs `blobs`, a place that all servers reach"
        raise SettingsError(message)
    return PostgresJobStore(
        settings.jobs,
        blobs,
        **bounds_of(settings),
    )


@contextmanager
def open_together(settings: Settings) -> Iterator[Together | None]:
    """Hold what the servers of a cluster have together; ``None`` where there is no cluster.

    Raises SettingsError without the extra ``cluster``.
    """
    if not settings.jobs:
        yield None
        return
    _insist()
    from toolrunner.runner.jobs.postgres.together import Together  # noqa: PLC0415 - see above

    with closing(Together(settings.jobs)) as together:
        yield together


def migrate(settings: Settings) -> list[str]:
    """Give the database of ``jobs`` the tables that it lacks; return the steps that it has gone.

    Raises SettingsError where there is none, and StoreError.
    """
    if not settings.jobs:
        message = (
            "jobs: is not set, so there is no database to migrate: jobs.sqlite3 in the state folder"
            " is brought up to date by the server that opens it"
        )
        raise SettingsError(message)
    _insist()
    from toolrunner.runner.jobs.postgres import schema  # noqa: PLC0415 - see above

    return schema.migrate(settings.jobs)


def _insist() -> None:
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise SettingsError(_MISSING)
