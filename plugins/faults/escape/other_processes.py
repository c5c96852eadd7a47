"""Traces, reads, writes, signals, throttles and lists another process."""

import ctypes
import os
import resource
import signal
import struct

from hostile import pinned, syscall, tried

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
SI_QUEUE = -1


def run(payload):
    victim = payload["victim"]
    room = ctypes.create_string_buffer(8)
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(room), 8))
    at = ctypes.addressof(vector)
    message = struct.pack("=iii", signal.SIGTERM, 0, SI_QUEUE) + bytes(116)
    queued = ctypes.create_string_buffer(message)
    return tried(
        attach=lambda: syscall(101, 117, PTRACE_ATTACH, victim, 0, 0),
        seize=lambda: syscall(101, 117, PTRACE_SEIZE, victim, 0, 0),
        read=lambda: syscall(310, 270, victim, at, 1, at, 1, 0),
        write=lambda: syscall(311, 271, victim, at, 1, at, 1, 0),
        see=lambda: os.kill(victim, 0),
        terminate=lambda: os.kill(victim, signal.SIGTERM),
        stop=lambda: os.kill(victim, signal.SIGSTOP),
        through_pidfd=lambda: signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGTERM),
        thread=lambda: syscall(200, 130, victim, signal.SIGTERM),
        queued=lambda: syscall(129, 138, victim, signal.SIGTERM, ctypes.addressof(queued)),
        memory=lambda: open(f"/proc/{victim}/mem", "rb"),
        descriptors=lambda: os.listdir(f"/proc/{victim}/fd"),
        limits=lambda: resource.prlimit(victim, resource.RLIMIT_CORE),
        priority=lambda: os.setpriority(os.PRIO_PROCESS, victim, 15),
        affinity=lambda: pinned(victim),
        scheduling=lambda: os.sched_setscheduler(victim, os.SCHED_OTHER, os.sched_param(0)),
    )
