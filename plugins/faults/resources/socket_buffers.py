"""Takes memory as bytes that wait in sockets and that nobody reads."""

import array
import socket

from hostile import MIB, hold, split

LIMITS = {"wall_seconds": 60, "memory_mb": 64}


def fill(end):
    end.setblocking(False)
    sent = 0
    try:
        while True:
            sent += end.send(bytes(MIB))
    except BlockingIOError:
        return sent


def pairs(kept, size=0):
    while True:
        ends = socket.socketpair()
        kept.append(ends)
        for end in ends:
            if size:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            yield fill(end)


def large(kept):
    return pairs(kept, 4 * MIB)


def sent_along(kept):
    """A socket that is on its way in another takes no descriptor."""
    carrier = socket.socketpair()
    kept.append(carrier)
    for more in pairs(kept):
        yield more
        while len(kept) > 1:
            numbers = array.array("i", [end.fileno() for end in kept.pop()])
            carrier[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])


def datagrams(kept):
    while True:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept.append(ends)
        yield fill(ends[0])


VARIANTS = {
    "large ones": large,
    "of the usual size": split(pairs),
    "sent along": sent_along,
    "packets": split(datagrams),
}


def run(payload):
    return hold(VARIANTS[payload["variant"]])
