"""The address that a program listens on: what its name means, and a socket there, or what to do."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

_BACKLOG = 2048


class RefusedError(Exception):
    """What the options ask for cannot be served; the message says what to do instead."""


@dataclass(frozen=True)
class Address:
    """Where to listen. ``options``: those that have named the host and the port."""

    family: socket.AddressFamily
    host: str
    port: int
    options: tuple[str, str]

    @property
    def is_loopback(self) -> bool:
        """Whether nobody else than this host can reach it."""
        # An address may name its interface: fe80::1%eth0.
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def url(self, listener: socket.socket) -> str:
        """Return what to ask, by the port that the listener has got."""
        shown = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"http://{shown}:{listener.getsockname()[1]}"


def resolved(host: str, port: int, options: tuple[str, str]) -> Address:
    """Return where a host's name leads; raises RefusedError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        message = f"{options[0]} {host}: {error}; give an address of this host, such as 127.0.0.1"
        raise RefusedError(message) from None
    family, _, _, _, address = found[0]
    return Address(family, str(address[0]), port, options)


def listening(address: Address) -> socket.socket:
    """Listen there; raises OSError, with what to do."""
    # asyncio turns Nagle's algorithm off, which costs each answer 40 ms, where TCP is named alone.
    listener = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        words = _what_to_do(error.errno, *address.options)
        message = f"cannot listen on {address.host}, port {address.port}: {error.strerror}{words}"
        raise OSError(error.errno, message) from None
    return listener


def _what_to_do(number: int | None, host: str, port: str) -> str:
    return {
        errno.EADDRINUSE: f"; choose another one with {port}, where 0 is any that is free",
        errno.EACCES: f"; ports below 1024 are for root: choose another one with {port}",
        errno.EADDRNOTAVAIL: f"; give an address of this host with {host}",
    }.get(number or 0, "")
