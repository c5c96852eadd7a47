"""Names and addresses of hosts, as they stand in an address or in a request.

For whom may be posted to, and under which names a server without keys answers. Nothing is resolved.
"""

from __future__ import annotations

import ipaddress
import re

# Nothing of a URL that is not its host: what stands before an "@", or behind "/", "?" or "#", would
# be one name to us and another to who reads it next.
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]*)?")


def name_in(host: str) -> str:
    """Return the name or address in ``host[:port]``, in lower case; "" where it is not that."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found else ""


def is_loopback(host: str) -> bool:
    """Whether only this host can be meant."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
