"""Fills the kernel's memory with what no figure of a process shows."""

import ctypes
import fcntl
import mmap
import os
import socket
import struct

from hostile import libc, syscall, tried

PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, PR_SET_SECCOMP = 78, 1, 22
ACL = struct.pack("<I", 2) + struct.pack("<HHI", 1, 6, 0xFFFFFFFF)


def run(payload):
    with open("own", "w") as own:
        own.write("x" * 4096)
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    at = ctypes.addressof(ctypes.c_char.from_buffer(page))
    vector = ctypes.create_string_buffer(struct.pack("=QQ", at, 4096))
    source, sink = os.pipe()
    allow = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("=H6xQ", 1, ctypes.addressof(allow)))
    ruleset = ctypes.create_string_buffer(struct.pack("=Q", 1))

    def prctl(*arguments):
        if libc.prctl(*[ctypes.c_long(a) for a in arguments]) < 0:
            raise PermissionError

    def large_buffer():
        one, other = socket.socketpair()
        before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 20)
        other.close()
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before:
            raise PermissionError

    return tried(
        access_list=lambda: os.setxattr("own", "system.posix_acl_access", ACL),
        attribute=lambda: os.setxattr("own", "user.x", b"y" * 1000),
        futex_table=lambda: prctl(PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, 1 << 16, 0, 0),
        filter=lambda: prctl(PR_SET_SECCOMP, 2, ctypes.addressof(program), 0, 0),
        filter_by_call=lambda: syscall(317, 277, 1, 0, ctypes.addressof(program)),
        ruleset=lambda: syscall(444, 444, ctypes.addressof(ruleset), 8, 0),
        pinned_pages=lambda: syscall(278, 75, sink, ctypes.addressof(vector), 1, 0),
        spliced=lambda: syscall(275, 76, os.open("own", os.O_RDONLY), 0, sink, 0, 4096, 0),
        teed=lambda: syscall(276, 77, source, sink, 4096, 0),
        zero=lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 4096),
        large_pipe=lambda: fcntl.fcntl(sink, 1031, 1 << 20),
        large_buffer=large_buffer,
    )
