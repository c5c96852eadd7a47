"""Which keys count: those of the state folder, or with ``jobs`` set those of all its servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from toolrunner.api.key import Keys
from toolrunner.api.keys import FILE, KeyStore
from toolrunner.api.session import Sessions
from toolrunner.api.sessions import SessionStore
from toolrunner.runner.jobs.cluster import open_together
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.reserve import make_room, with_room

if TYPE_CHECKING:
    from toolrunner.api.cluster_keys import ClusterKeys
    from toolrunner.runner.jobs.postgres.together import Together

T = TypeVar("T")


def served_keys(settings: Settings, together: Together | None) -> Keys:
    """Return the keys of a server, which may be of no use now; whoever asks closes them.

    ``together``: what it has in common with the other servers of its cluster.
    """
    if together is None:
        return KeyStore(settings.kept_state(), is_served=True)
    return _of_cluster(settings, together)


def served_sessions(settings: Settings, together: Together | None) -> Sessions:
    """Return who has signed in to a server with one of its keys; whoever asks closes them."""
    if together is None:
        return SessionStore(settings.kept_state())
    from toolrunner.api.cluster_sessions import ClusterSessions  # noqa: PLC0415 - same as below

    return ClusterSessions(together)


@contextmanager
def kept_keys(settings: Settings, *, is_served: bool = False) -> Iterator[Keys]:
    """Open the keys for a command; raises OSError where they are of no use.

    ``is_served``: then each method does.
    """
    with open_together(settings) as together:
        if together is None:
            folder = settings.kept_state()
            if not is_served:
                make_room(folder)  # SQLite needs some to read as well
            with closing(KeyStore(folder, is_served=is_served)) as keys:
                yield keys
        else:
            yield _of_cluster(settings, together)


def with_keys(settings: Settings, step: Callable[[Keys], T]) -> T:
    """Do an operator's step with the keys; on a full disk with the room that is kept for it."""
    opened = partial(_with_opened, settings, step)
    return opened() if settings.jobs else with_room(settings.kept_state(), opened)


def _with_opened(settings: Settings, step: Callable[[Keys], T]) -> T:
    with kept_keys(settings) as keys:
        return step(keys)


def take_along(settings: Settings) -> int:
    """Give the keys of the state folder to the cluster; return how many it had not yet."""
    folder = settings.kept_state()
    if not (folder / FILE).exists():
        return 0
    with open_together(settings) as together, closing(KeyStore(folder)) as keys:
        assert together is not None, "whoever asks has migrated its database"
        return _of_cluster(settings, together).take_along(keys.kept())


def _of_cluster(settings: Settings, together: Together) -> ClusterKeys:
    from toolrunner.api.cluster_keys import ClusterKeys  # noqa: PLC0415 - needs the extra `cluster`

    return ClusterKeys(together, settings.kept_state())
