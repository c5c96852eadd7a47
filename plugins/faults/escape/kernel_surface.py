"""Uses system calls that kernels have been broken through."""

import ctypes
import socket
import time

from hostile import syscall, tried

ASK = 0xFFFFFFFF


def run(payload):
    buffer = ctypes.create_string_buffer(256)
    room = ctypes.addressof(buffer)
    return tried(
        io_uring=lambda: syscall(425, 425, 1, room),
        keyctl=lambda: syscall(250, 219, 0, -3, 0),
        add_key=lambda: syscall(248, 217),
        bpf=lambda: syscall(321, 280, 0, 0, 0),
        userfaultfd=lambda: syscall(323, 282, 1),
        perf=lambda: syscall(298, 241, 0, 0, -1, -1, 0),
        open_by_handle=lambda: syscall(304, 265, -1, 0, 0),
        kcmp=lambda: syscall(312, 272),
        personality=lambda: syscall(135, 92, ASK),
        modules=lambda: syscall(175, 105, 0, 0, 0),
        host_name=lambda: socket.sethostname(socket.gethostname()),
        clock=lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        parent_death_signal=lambda: syscall(157, 167, 1, 0),
        newer_than_known=lambda: syscall(471, 471, 0, 0, 0, 0),
    )
