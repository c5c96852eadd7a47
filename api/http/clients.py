"""What one client, told by its address, may have of a worker; and what was refused, in sums.

For an event loop: nothing here is locked. The protocol counts connections, the middleware and the
audit what was refused. A client of many addresses is many clients, so tables have bounds as well.
"""

from __future__ import annotations

import asyncio
import collections
import ipaddress
import logging
import time
from collections.abc import Callable, Collection
from functools import lru_cache

_LOG = logging.getLogger("toolrunner.http")
PERIOD_SECONDS = 60.0
# Of refusals of one kind and client so many are told one by one in a period.
TOLD = 10
_MOST_CLIENTS = 4096
_OTHERS = "other addresses"
_IPV6_BITS = 64  # what one customer has

Summed = Callable[[str, str, int], None]


class Clients:
    """Connections, requests without a key, and refusals, by client."""

    def __init__(self, connections: int, keyless_per_minute: int, trusted: Collection[str]) -> None:
        """What one client may have at once, and in a minute. ``trusted`` are proxies."""
        self._most_connections = connections
        self._per_minute = keyless_per_minute
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in trusted]
        self._connections: collections.Counter[str] = collections.Counter()
        # How many requests each may still make, as of when.
        self._left: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()
        self._refused: collections.Counter[tuple[str, str]] = collections.Counter()
        self._told: Summed | None = None
        self._timer: asyncio.TimerHandle | None = None

    def on_sum(self, told: Summed) -> None:
        """Call ``told(client, what, number)`` with each sum, beside the log."""
        self._told = told

    def connected(self, address: str) -> bool:
        """Count a connection in; tell whether its client may have it. A proxy's always are."""
        client = client_of(address)
        self._connections[client] += 1
        return self._connections[client] <= self._most_connections or self.is_proxy(address)

    def disconnected(self, address: str) -> None:
        """Count a connection out."""
        client = client_of(address)
        self._connections[client] -= 1
        if self._connections[client] <= 0:
            del self._connections[client]

    def is_proxy(self, address: str) -> bool:
        """Whether an address is one of the operator's own proxies."""
        if not self._trusted:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    def take(self, address: str) -> float:
        """Count a request without a key; return 0, or the seconds to wait for one that is over."""
        client, now = client_of(address), time.monotonic()
        rate = self._per_minute / PERIOD_SECONDS
        left, since = self._left.pop(client, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * rate)
        wait = 0.0 if left >= 1 else (1 - left) / rate
        self._left[client] = (left if wait else left - 1, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)  # the one that has been quiet for longest
        return wait

    def is_told(self, address: str, what: str) -> bool:
        """Count a refusal; tell whether it is told by itself, and not in the period's sum."""
        kind = (client_of(address), what)
        if kind not in self._refused and len(self._refused) >= _MOST_CLIENTS:
            kind = (_OTHERS, what)
        self._refused[kind] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_SECONDS, self.sum_up)
        return self._refused[kind] <= TOLD

    def sum_up(self) -> None:
        """Tell what was refused and not told by itself; begin to count anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        refused, self._refused = self._refused, collections.Counter()
        for (client, what), number in refused.items():
            if number > TOLD:
                _LOG.warning(
                    "%d more requests of %s in %d s: %s",
                    number - TOLD,
                    client,
                    PERIOD_SECONDS,
                    what,
                )
                if self._told is not None:
                    self._told(client, what, number - TOLD)


@lru_cache(maxsize=_MOST_CLIENTS)
def client_of(address: str) -> str:
    """Return whom an address stands for: itself, or the network of one that has many."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_BITS), strict=False))
