"""What the faults of this folder share. Only ever imported inside a box."""

import ctypes
import errno
import json
import mmap
import os
import struct
import time

LONG = 20  # seconds: beyond every limit here, and an end all the same where nobody ends it
MIB = 1 << 20
PAGE = 4096
# What a fault takes at most that nobody stops, and what one may have: 1.25 times 64 MiB, and 64.
CEILING = 384 * MIB
ALLOWED = 144 * MIB
LESS = 160 * MIB  # a ceiling for what takes long to take
HOLD = 0.4  # seconds: long enough for whoever looks every few milliseconds
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


def pinned(pid):
    """Keep a process on one processor for a moment; raise when that has no effect."""
    before = os.sched_getaffinity(pid)
    try:
        os.sched_setaffinity(pid, {min(before)})
        if os.sched_getaffinity(pid) == before:
            raise PermissionError(errno.EPERM, "without effect")
    finally:
        os.sched_setaffinity(pid, before)


def found(things):
    """Return what was looked for; raise when there is nothing of it."""
    if not things:
        raise LookupError("nothing found")
    return things


def bounded(taken, reason):
    """Return what a fault answers that got no more than its limit allows."""
    return {"attempts": {"limit": ["denied", f"{reason} at {taken // MIB} MiB"]}}


def hold(steps, ceiling=CEILING):
    """Take memory in steps, each yielding its bytes, until denied or at the ceiling; hold it.

    ``steps`` is called with a list to keep things in. Returns the answer of a plugin.
    """
    kept, taken, reason = [], 0, "ended"
    try:
        for more in steps(kept):
            taken += more
            if taken >= ceiling:
                break
    except (OSError, MemoryError, ValueError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        reason = errno.errorcode.get(number, type(error).__name__)
    if taken:
        time.sleep(HOLD)
    return obtained(f"{taken // MIB} MiB") if taken > ALLOWED else bounded(taken, reason)


def split(steps, children=8, ceiling=CEILING):
    """Return steps that are taken by children at once, each to its part of the ceiling."""

    def in_children(kept):
        pipes = []
        for _ in range(children):
            reader, writer = os.pipe()
            kept.append(child(lambda to=writer: _report(steps, ceiling // children, to)))
            os.close(writer)
            pipes.append(reader)
        for reader in pipes:
            with os.fdopen(reader, "rb") as pipe:
                yield int(pipe.readline() or b"0")

    return in_children


def _report(steps, ceiling, to):
    kept, taken = [], 0
    try:
        for more in steps(kept):
            taken += more
            if taken >= ceiling:
                break
    finally:
        os.write(to, b"%d\n" % taken)
        time.sleep(LONG)


def dropped(areas, kept):
    """Take shared areas, and let go of what a process has of each."""
    for more in areas(kept):
        kept[-1].madvise(mmap.MADV_DONTNEED)
        yield more


def unmapped(areas, kept):
    """Take shared areas, and map no more than a page of each."""
    for more in areas(kept):
        called(libc.munmap, address(kept[-1]) + PAGE, len(kept[-1]) - PAGE)
        yield more


def address(area):
    """Return where a writable block of memory lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def called(function, *arguments):
    """Call a function of libc's with words as arguments; raise ``OSError`` as Python does."""
    ctypes.set_errno(0)
    function.restype = ctypes.c_long
    answer = function(*[ctypes.c_long(a) for a in arguments])
    if answer & 0xFFFFFFFF == 0xFFFFFFFF:  # -1, as an int or as a long
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def mapped(size, protection, flags, descriptor=-1):
    """Map memory that Python does not know of; return its address."""
    return called(libc.mmap, 0, size, protection, flags, descriptor, 0)


def reply(result):
    """Answer for the worker, from whatever thread, and end."""
    send(frame(b"R", json.dumps(result).encode()))
    os._exit(0)


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
