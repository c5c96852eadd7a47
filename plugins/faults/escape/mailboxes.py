"""Leaves a message for later calls wherever something might be common to two, and looks for one."""

import ctypes
import fcntl
import os
import signal

from hostile import libc, tried

VARIANTS = {"first": 1, "second": 2, "third": 3}
DEVICES = ("/dev/null", "/dev/full", "/dev/urandom")
PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 15, 16, 29, 30
SLACK, THEN = 77777, 1_000_000_007


def is_there(found):
    """Fail, as what is denied does, where there is no message."""
    if not found:
        raise LookupError


def flags():
    return any(fcntl.fcntl(d, fcntl.F_GETFL) & os.O_APPEND for d in (0, 1, 3, 4))


def times():
    return any(os.stat(d).st_mtime == THEN for d in DEVICES)


def leave():
    for descriptor in (0, 1, 3, 4):
        flags_now = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags_now | os.O_APPEND)
    libc.prctl(PR_SET_TIMERSLACK, SLACK, 0, 0, 0)
    libc.prctl(PR_SET_NAME, b"message", 0, 0, 0)
    os.umask(0o123)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    for device in DEVICES:
        for attempt in (
            lambda d=device: os.utime(d, (THEN, THEN)),
            lambda d=device: os.chmod(d, 0o606),
            lambda d=device: os.setxattr(d, "user.message", b"x"),
        ):
            try:
                attempt()
            except OSError:
                continue


def name():
    room = bytearray(16)
    libc.prctl(PR_GET_NAME, (ctypes.c_char * 16).from_buffer(room), 0, 0, 0)
    return room.startswith(b"message")


def run(payload):
    answer = tried(
        flags=lambda: is_there(flags()),
        times=lambda: is_there(times()),
        modes=lambda: is_there(any(os.stat(d).st_mode & 0o777 == 0o606 for d in DEVICES)),
        slack=lambda: is_there(libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == SLACK),
        name=lambda: is_there(name()),
        umask=lambda: is_there(os.umask(0o77) == 0o123),
        handler=lambda: is_there(signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN),
        pending=lambda: is_there(signal.SIGUSR1 in signal.sigpending()),
    )
    leave()
    return answer
