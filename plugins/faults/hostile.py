"""What the faults of this folder share. Only ever imported inside a box."""

import ctypes
import errno
import os
import struct
import time

LONG = 20  # seconds: beyond every limit here, and an end all the same where nobody ends it
MIB = 1 << 20
X86 = os.uname().machine == "x86_64"
CHANNEL, LOG = 3, 4
_SHOWN = 80

libc = ctypes.CDLL(None, use_errno=True)


def frame(kind, body=b"{}"):
    """Return a frame of the reply channel, as the worker would send it."""
    return struct.pack(">cI", kind, len(body)) + body


def send(*pieces):
    """Write to the reply channel behind the worker's back."""
    os.write(CHANNEL, b"".join(pieces))


def syscall(x86_64, aarch64, *arguments):
    """Make a system call that Python has no function for; raise ``OSError`` as Python does."""
    ctypes.set_errno(0)
    number = x86_64 if X86 else aarch64
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def tried(**attempts):
    """Make each attempt; return what came of it, as ``["done" or "denied", detail]``.

    An attempt is done when it returns, denied when it raises.
    """
    answers = {}
    for name, attempt in attempts.items():
        try:
            answers[name] = ["done", repr(attempt())[:_SHOWN]]
        except OSError as error:
            answers[name] = ["denied", errno.errorcode.get(error.errno, type(error).__name__)]
        except Exception as error:
            answers[name] = ["denied", type(error).__name__]
    return {"attempts": answers}


def obtained(what):
    """Return what a fault answers that got more than its limit allows."""
    return {"attempts": {"limit": ["done", what]}}


def found(things):
    """Return what was looked for; raise when there is nothing of it."""
    if not things:
        raise LookupError("nothing found")
    return things


def spin(seconds):
    """Use processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def child(work):
    """Do something in a forked process; return its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def wait(*pids):
    """Wait until children have ended."""
    for pid in pids:
        os.waitpid(pid, 0)


def touched(block):
    """Use every page of a block of memory; return it."""
    for at in range(0, len(block), 4096):
        block[at] = 1
    return block
