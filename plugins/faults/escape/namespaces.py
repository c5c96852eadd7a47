"""Makes namespaces and mounts, by which an ordinary user gains rights."""

import ctypes
import os
import struct

from hostile import syscall, tried

NEWNS, NEWUSER, NEWPID, PARENT, SIGCHLD = 0x20000, 0x10000000, 0x20000000, 0x8000, 17


def clone(flags):
    if syscall(56, 220, flags | SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def clone3():
    arguments = struct.pack("=Q", NEWUSER) + bytes(24) + struct.pack("=Q", SIGCHLD) + bytes(48)
    room = ctypes.create_string_buffer(arguments)
    if syscall(435, 435, ctypes.addressof(room), 88) == 0:
        os._exit(0)


def run(payload):
    return tried(
        user=lambda: clone(NEWUSER),
        mounts=lambda: clone(NEWNS),
        processes=lambda: clone(NEWPID),
        other_parent=lambda: clone(PARENT),
        clone3=clone3,
        unshare=lambda: syscall(272, 97, NEWUSER),
        unshare_mounts=lambda: syscall(272, 97, NEWNS),
        enter=lambda: syscall(308, 268, os.open("/proc/self/ns/net", os.O_RDONLY), 0),
        mount=lambda: syscall(165, 40, 0, 0, 0, 0, 0),
        change_root=lambda: os.chroot("."),
    )
