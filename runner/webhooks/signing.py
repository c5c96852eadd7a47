"""What messages are signed with: a secret for each address, and the one before it for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from toolrunner.runner.webhooks.message import check_secret, new_secret

# The one before it goes on signing beside a new one, until receivers know that.
_MOST_SECRETS = 2

Known = tuple[str, ...]
Step = Callable[[Known], Known]


class Secrets(Protocol):
    """The secrets of all addresses, the newest of each first; read before each attempt.

    So one that was replaced counts at once, in all processes. Each method but ``problem`` raises
    an OSError, with what to do, when they cannot be used.
    """

    def of(self, url: str) -> Known:
        """Return an address's secrets; one is made where there is none."""
        ...

    def known(self) -> list[str]:
        """Return the addresses that have one."""
        ...

    def problem(self) -> str:
        """Return why they cannot be read, and what to do; "" if they can, or there are none."""
        ...

    def replace(self, url: str, secret: str | None = None) -> Known:
        """Sign with another secret from now on, a new one or this one, and with the last one."""
        ...

    def forget_old(self, url: str) -> Known:
        """Sign with the newest secret alone."""
        ...


def replacing(secret: str | None) -> Step:
    """Return what makes a new secret the newest one; raises ValueError for one that is none."""
    new = new_secret() if secret is None else check_secret(secret)
    return lambda old: (new, *(one for one in old if one != new))[:_MOST_SECRETS]


def made(old: Known) -> Known:
    """Return the secrets of an address, with one where there was none."""
    return old or (new_secret(),)


def newest(old: Known) -> Known:
    """Return the newest alone."""
    return made(old)[:1]
