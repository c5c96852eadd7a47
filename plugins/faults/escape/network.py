"""Opens sockets of every kind, and connects to what listens nearby."""

import socket

from hostile import tried


def connected(family, kind, address):
    with socket.socket(family, kind) as opened:
        opened.settimeout(1)
        opened.connect(address)
        opened.send(b"out")


def run(payload):
    def listen():
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            opened.listen()

    loopback = "127.0.0.1"
    abstract = "\0" + payload["abstract"]
    return tried(
        tcp=lambda: connected(socket.AF_INET, socket.SOCK_STREAM, (loopback, payload["tcp"])),
        udp=lambda: connected(socket.AF_INET, socket.SOCK_DGRAM, (loopback, payload["udp"])),
        unix=lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, payload["unix"]),
        abstract=lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, abstract),
        tcp6=lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
        netlink=lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        packets=lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        virtual_machines=lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        kernel_ciphers=lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
        listen=listen,
        names=lambda: socket.getaddrinfo("example.org", 80),
    )
