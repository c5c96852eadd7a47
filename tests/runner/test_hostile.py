"""Hostile and faulty plugins, one row each: what may come of it, and that nothing is left of it.

No plugin here goes on for long or touches anything but what the test made, even if confinement
fails: loops are bounded, and victims, files and listeners are the test's own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner import Call
from runner.errors import ErrorType
from sandbox.layers import Layers
from sandbox.spawn import LAUNCH
from tests.conftest import MakeRunner, WritePlugin

E = ErrorType
GOOD = "def run(payload): return {'fine': True}"
TIMED = "{ wall_seconds = 1, load_seconds = 1 }"
SMALL = "{ wall_seconds = 8, memory_mb = 128, cpu_seconds = 0.6, processes = 8, threads = 16 }"

# What the plugins of the table may use. ``tried`` runs attempts; "done" is what none may answer.
COMMON = """
import ctypes, errno, os, signal, socket, struct, sys, threading, time

LONG = 20
libc = ctypes.CDLL(None, use_errno=True)

def frame(kind, body=b"{}"):
    return struct.pack(">cI", kind, len(body)) + body

def send(*pieces):
    os.write(3, b"".join(pieces))

def syscall(number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer

def tried(**attempts):
    answers = {}
    for name, attempt in attempts.items():
        try:
            answers[name] = ["done", repr(attempt())[:80]]
        except Exception as error:
            answers[name] = ["denied", type(error).__name__]
    return answers

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid

"""


@dataclass(frozen=True)
class Row:
    """A plugin, and what may come of calling it: ``None`` stands for a success.

    ``result``: what a success has to return. ``details``: what an error's details have to hold.
    ``allowed_warm``: what may come of it, if that differs, where the plugin has been loaded before.
    """

    name: str
    source: str
    allowed: tuple[ErrorType | None, ...] = (None,)
    limits: str = ""
    result: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)
    allowed_warm: tuple[ErrorType | None, ...] = ()

    def for_start(self, start: str) -> Row:
        """Return the row as it applies to calls that start so."""
        is_other = start != "cold" and self.allowed_warm
        return replace(self, allowed=self.allowed_warm) if is_other else self


def runs(name: str, body: str, *allowed: ErrorType | None, module: str = "", **facts: Any) -> Row:
    """Return a row whose fault lies in ``run``, by default one that has to succeed."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    source = f"{module}\ndef run(payload, context):\n{lines}\n    return {{}}\n"
    return Row(name, source, allowed or (None,), **facts)


def imports(name: str, module: str, *allowed: ErrorType | None, **facts: Any) -> Row:
    """Return a row whose fault lies at import."""
    source = f"{module}\ndef run(payload): return {{'ran': True}}\n"
    return Row(name, source, allowed or (None,), **facts)


CHANNEL = (
    runs(
        "a forged reply, then exit",
        "send(frame(b'R', b'{\"forged\": true}')); os._exit(0)",
        result={"forged": True},
    ),
    runs("two replies", "send(frame(b'R'), frame(b'R')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs("a reply of its own, then run returns", "send(frame(b'R'))", E.PROTOCOL_ERROR),
    runs("a reply and one byte", "send(frame(b'R'), b'x'); os._exit(0)", E.PROTOCOL_ERROR),
    runs(
        "half a frame, then SIGKILL",
        "send(frame(b'R', b'{}' * 50)[:20]); os.kill(os.getpid(), 9)",
        E.PLUGIN_CRASHED,
        details={"signal": "SIGKILL"},
    ),
    runs("half a frame, then exit", "send(frame(b'R')[:6]); os._exit(0)", E.PROTOCOL_ERROR),
    runs("half a header, then exit", "send(b'R'); os._exit(0)", E.PROTOCOL_ERROR),
    runs(
        "half a frame, then nothing",
        "send(frame(b'R')[:6]); time.sleep(LONG)",
        E.TIME_LIMIT_EXCEEDED,
        limits=TIMED,
    ),
    runs(
        "a reply byte by byte",
        "for byte in frame(b'R', b'{\"a\": 1}'):\n    send(bytes([byte])); time.sleep(0.01)\n"
        "os._exit(0)",
        result={"a": 1},
    ),
    runs(
        "a reply that never gets done",
        "send(frame(b'R', b'x' * 1000)[:5])\nwhile True:\n    send(b' '); time.sleep(0.05)",
        E.TIME_LIMIT_EXCEEDED,
        limits="{ wall_seconds = 1 }",
    ),
    runs("the channel closed", "os.close(3); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs("the channel closed, then exit", "os.close(3); os._exit(0)", E.PLUGIN_CRASHED),
    runs(
        "the channel shut down",
        "socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_WR); time.sleep(LONG)",
        E.PROTOCOL_ERROR,
    ),
    runs("every descriptor closed", "os.closerange(0, 64)", E.PLUGIN_CRASHED),
    runs("exit without a reply", "os._exit(0)", E.PLUGIN_CRASHED, details={"exit_code": 0}),
    runs("exit with a status", "os._exit(7)", E.PLUGIN_CRASHED, details={"exit_code": 7}),
    runs("a reply, then a crash", "send(frame(b'R')); os.abort()", result={}),
    runs("a reply, then a hang", "send(frame(b'R')); time.sleep(LONG)", result={}),
    runs(
        "an endless reply",
        "send(frame(b'R')[:1], struct.pack('>I', 2 ** 31))\nwhile True: send(bytes(65536))",
        E.OUTPUT_LIMIT_EXCEEDED,
    ),
    runs(
        "4 GiB announced",
        "send(b'R', struct.pack('>I', 2 ** 32 - 1)); time.sleep(LONG)",
        E.OUTPUT_LIMIT_EXCEEDED,
    ),
    runs("an unknown kind", "send(frame(b'Z')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs("an order of ours sent back", "send(frame(b'L')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs("a set-up failure forged", "send(frame(b'F')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs("confined again", "send(frame(b'c')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    runs(
        "a flood of progress",
        "body = b'{\"fraction\": 0, \"message\": \"' + b'x' * 4000 + b'\"}'\n"
        "while True: send(frame(b'P', body))",
        E.PROTOCOL_ERROR,
    ),
    *(
        runs(
            f"progress: {name}",
            f"send(frame(b'P', {body!r})); time.sleep(LONG)",
            E.PROTOCOL_ERROR,
        )
        for name, body in {
            "NaN": b'{"fraction": NaN, "message": ""}',
            "infinite": b'{"fraction": 1e400, "message": ""}',
            "beyond 1": b'{"fraction": 2, "message": ""}',
            "huge": b'{"fraction": 1' + b"0" * 4000 + b', "message": ""}',
            "deep": b"[" * 4000,
            "a number": b"7",
            "a list": b"[1, 2]",
            "no message": b'{"fraction": 0}',
            "a message that is none": b'{"fraction": 0, "message": 7}',
            "not UTF-8": b'{"fraction": 0, "message": "\xff"}',
            "nothing": b"",
            "too long": b" " * 5000,
        }.items()
    ),
    *(
        runs(
            f"a forged exception: {name}",
            f"send(frame(b'X', {body!r})); os._exit(0)",
            E.PROTOCOL_ERROR,
        )
        for name, body in {
            "a list": b"[]",
            "no keys": b"{}",
            "not JSON": b"{",
            "deep": b"[" * 100_000,
            "too long": b" " * 200_000,
        }.items()
    ),
    runs(
        "an exception of odd types",
        'send(frame(b\'X\', b\'{"exception": {}, "message": [1], "traceback": null,'
        ' "errno": "x", "is_memory_error": 1, "cannot_start_thread": 1}\')); os._exit(0)',
        E.EXECUTION_ERROR,
        E.PROTOCOL_ERROR,
    ),
    runs(
        "prints mixed in",
        "print(frame(b'R')); sys.stdout.buffer.write(frame(b'R', b'{\"forged\": 1}'))\n"
        "os.write(2, frame(b'R')); os.system('echo \\'{\"forged\": 1}\\'')",
        result={},
    ),
    runs(
        "a log that is none of ours",
        "os.write(4, b'x' * 5000 + b'\\n[]\\n{\\n' + b'[' * 3000)\n"
        "os.write(4, b'\\n\\xff\\n{\"level\": true}\\n')",
        result={},
    ),
    runs(
        "a reply by a grandchild",
        "child(lambda: child(lambda: send(frame(b'R', b'{\"by\": \"grandchild\"}'))))\n"
        "time.sleep(LONG)",
        result={"by": "grandchild"},
    ),
    runs(
        "parent and child reply",
        "pid = child(lambda: send(frame(b'R'))); os.waitpid(pid, 0)",
        E.PROTOCOL_ERROR,
    ),
    runs("a child returns from run", "os.fork() or time.sleep(0)", result={}),
    runs(
        "descriptors sent along",
        "s = socket.socket(fileno=os.dup(3))\n"
        "socket.send_fds(s, [frame(b'R')], [0, 1, 2] * 20); os._exit(0)",
        result={},
    ),
    Row(
        "a large payload never read",
        "send(frame(b'l')); time.sleep(LONG)",
        (E.TIME_LIMIT_EXCEEDED,),
        limits="{ wall_seconds = 1 }",
        payload={"x": "x" * 5_000_000},
    ),
)

TREE = (
    runs(
        "a fork bomb",
        "end = time.monotonic() + 5\n"
        "while time.monotonic() < end:\n"
        "    try: os.fork()\n"
        "    except OSError: time.sleep(0.01)",
        E.PROCESS_LIMIT_EXCEEDED,
        limits=SMALL,
    ),
    runs(
        "a chain of forks that outruns its killer",
        "def hop(left):\n"
        "    if left and os.fork() == 0: hop(left - 1)\n"
        "    os._exit(0)\n"
        "child(lambda: hop(300))",
        None,
        E.PROCESS_LIMIT_EXCEEDED,
    ),
    runs(
        "a daemon",
        "def daemon():\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.environ.clear(); os.closerange(0, 64); time.sleep(LONG)\n"
        "os.waitpid(child(daemon), 0)",
    ),
    runs(
        "a session of its own",
        "def work():\n"
        "    answers = tried(session=os.setsid, group=lambda: os.setpgid(0, 0))\n"
        "    os.write(write, repr(answers).encode())\n"
        "read, write = os.pipe()\n"
        "os.waitpid(child(work), 0)\n"
        "return eval(os.read(read, 4096))",
    ),
    runs(
        "another program left running",
        "import subprocess\n"
        "for new in (False, True):\n"
        "    try: subprocess.Popen(['sleep', str(LONG)], start_new_session=new)\n"
        "    except OSError: pass",
    ),
    runs(
        "it becomes another program",
        "os.execv('/bin/sleep', ['sleep', str(LONG)])",
        E.PROTOCOL_ERROR,
        E.PLUGIN_CRASHED,
    ),
    runs("SIGSTOP of itself", "os.kill(os.getpid(), 19)", E.TIME_LIMIT_EXCEEDED, limits=TIMED),
    runs(
        "SIGSTOP of its group",
        "child(lambda: time.sleep(LONG))\nif os.getpgrp() == os.getpid(): os.killpg(0, 19)",
        E.TIME_LIMIT_EXCEEDED,
        limits=TIMED,
    ),
    runs(
        "SIGTERM and all others ignored",
        "for number in range(1, 65):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "time.sleep(LONG)",
        E.TIME_LIMIT_EXCEEDED,
        limits=TIMED,
    ),
    runs(
        "a late writer",
        "def work():\n"
        "    end = time.monotonic() + LONG\n"
        "    while time.monotonic() < end: open('late', 'w').write('x')\n"
        "child(lambda: child(work))",
    ),
    runs("a grandchild holds stdout open", "child(lambda: child(lambda: time.sleep(LONG)))"),
    runs(
        "a grandchild writes on and on",
        "def work():\n"
        "    end = time.monotonic() + LONG\n"
        "    while time.monotonic() < end: os.write(1, bytes(4096))\n"
        "child(work)",
    ),
    runs("zombies", "for _ in range(5): child(lambda: None)\ntime.sleep(0.1)"),
    runs(
        "it adopts orphans",
        "libc.prctl(36, 1, 0, 0, 0)\nchild(lambda: child(lambda: time.sleep(LONG)))",
    ),
    runs(
        "its supervisors",
        "up = os.getppid()\n"
        "# Signal 0 asks only for the right, which is what matters; of 1 no more than that.\n"
        "numbers = (0,) if up == 1 else (0, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL)\n"
        "import resource\n"
        "return tried(**{f'signal {n}': lambda n=n: os.kill(up, n) for n in numbers},\n"
        "    prlimit=lambda: resource.prlimit(up, resource.RLIMIT_CORE),\n"
        "    priority=lambda: os.setpriority(os.PRIO_PROCESS, up, 10),\n"
        "    affinity=lambda: os.sched_setaffinity(up, os.sched_getaffinity(0)),\n"
        "    memory=lambda: os.open(f'/proc/{up}/mem', os.O_RDWR),\n"
        "    environment=lambda: open(f'/proc/{up}/environ').read(),\n"
        "    descriptors=lambda: os.listdir(f'/proc/{up}/fd'))",
    ),
    runs(
        "hidden from /proc",
        "import mmap\n"
        "libc.prctl(4, 0, 0, 0, 0)\n"
        "area = mmap.mmap(-1, 300 << 20)\n"
        "for at in range(0, 300 << 20, 4096): area[at] = 1\n"
        "time.sleep(LONG)",
        E.MEMORY_LIMIT_EXCEEDED,
        limits=SMALL,
    ),
    runs(
        "processor time of children that nobody counts",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "for _ in range(100): child(lambda: spin(0.2)); time.sleep(0.2)",
        E.CPU_LIMIT_EXCEEDED,
        limits="{ wall_seconds = 15, cpu_seconds = 0.6 }",
    ),
    runs(
        "a signal storm",
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)\n"
        "spin(0.2)",
    ),
    runs("SIGALRM", "signal.alarm(1); time.sleep(LONG)", E.PLUGIN_CRASHED),
)

EXCEPTION = "class Odd(Exception):\n    def {}: {}\n"
PYTHON = (
    runs("segfault", "ctypes.string_at(0)", E.PLUGIN_CRASHED, details={"signal": "SIGSEGV"}),
    runs("abort", "os.abort()", E.PLUGIN_CRASHED, details={"signal": "SIGABRT"}),
    runs("recursion", "run(payload, context)", E.EXECUTION_ERROR),
    runs(
        "recursion without a bound",
        "sys.setrecursionlimit(10 ** 9)\ndef f(): return [f() for _ in '1']\nf()",
        E.PLUGIN_CRASHED,
        E.EXECUTION_ERROR,
        E.MEMORY_LIMIT_EXCEEDED,
        limits=SMALL,
    ),
    *(
        runs(
            f"leaves by {way}",
            way,
            E.EXECUTION_ERROR,
            details={"exception": exception},
        )
        for way, exception in {
            "sys.exit()": "SystemExit",
            "sys.exit(0)": "SystemExit",
            "sys.exit('words')": "SystemExit",
            "raise SystemExit(3)": "SystemExit",
            "raise BaseException": "BaseException",
            "raise GeneratorExit": "GeneratorExit",
            "raise KeyboardInterrupt": "KeyboardInterrupt",
            "raise type('Own', (BaseException,), {})": "Own",
            "os.kill(os.getpid(), 2); time.sleep(5)": "KeyboardInterrupt",
            "raise ExceptionGroup('x', [ExceptionGroup('y', [ValueError()])])": "ExceptionGroup",
        }.items()
    ),
    *(
        runs(f"an exception whose {name} fails", "raise Odd()", E.EXECUTION_ERROR, module=module)
        for name, module in {
            "__str__": EXCEPTION.format("__str__(self)", "raise ValueError"),
            "__str__ returns no string": EXCEPTION.format("__str__(self)", "return 7"),
            "__repr__": EXCEPTION.format("__repr__(self)", "raise ValueError"),
            "__reduce__": EXCEPTION.format("__reduce__(self)", "raise ValueError"),
            "__str__ exits": EXCEPTION.format("__str__(self)", "raise SystemExit"),
            "__getattribute__": EXCEPTION.format("__getattribute__(self, n)", "raise ValueError"),
            "class name": "class M(type):\n    __name__ = property(lambda c: 1 / 0)\n"
            "class Odd(Exception, metaclass=M): pass\n",
        }.items()
    ),
    runs(
        "an OSError whose errno fails",
        "raise Odd()",
        E.EXECUTION_ERROR,
        module="class Odd(OSError):\n    errno = property(lambda self: 1 / 0)\n",
    ),
    runs(
        "an exception whose __str__ hangs",
        "raise Odd()",
        E.TIME_LIMIT_EXCEEDED,
        module=EXCEPTION.format("__str__(self)", "time.sleep(LONG)"),
        limits=TIMED,
    ),
    runs(
        "an exception that is its own cause",
        "a, b = ValueError('a'), ValueError('b'); a.__cause__ = b; b.__cause__ = a\nraise a",
        E.EXECUTION_ERROR,
    ),
    runs("atexit hangs", "import atexit; atexit.register(time.sleep, LONG)"),
    runs("threads go on", "threading.Thread(target=time.sleep, args=(LONG,)).start()"),
    runs(
        "a finalizer hangs",
        "class F:\n    def __del__(self): time.sleep(LONG)\nglobals()['kept'] = F()",
    ),
    runs(
        "its result fails while it is read",
        "class R(dict):\n    def items(self): raise LookupError('in items')\nreturn R(a=1)",
        E.EXECUTION_ERROR,
    ),
    runs(
        "its result never ends",
        "class R(list):\n    def __iter__(self):\n        while True: yield 0\nreturn {'x': R()}",
        E.CPU_LIMIT_EXCEEDED,
        E.MEMORY_LIMIT_EXCEEDED,
        limits=SMALL,
    ),
    runs(
        "its result hangs",
        "class R:\n    def model_dump(self): time.sleep(LONG)\nreturn {'x': R()}",
        E.TIME_LIMIT_EXCEEDED,
        limits=TIMED,
    ),
    runs(
        "its result leads to itself",
        "class R:\n    def model_dump(self): return R()\nreturn {'x': R()}",
        E.OUTPUT_VALIDATION_ERROR,
    ),
    runs(
        "json is replaced",
        "import json; json.dumps = lambda *a, **k: '{\"forged\": 1}'\n"
        "json.JSONEncoder = json.loads = None",
        result={"forged": 1},
    ),
    runs("os.write is replaced", "os.write = lambda *a: 1 / 0"),
    runs("os._exit is replaced", "os._exit = lambda *a: None"),
    runs("os.getpid is replaced", "os.getpid = lambda: 1", E.PLUGIN_CRASHED, None),
    runs(
        "socket is replaced",
        "socket.socket.sendall = lambda *a: None",
        None,
        E.PLUGIN_CRASHED,
        E.PROTOCOL_ERROR,
    ),
    runs("modules are gone", "sys.modules.clear()", None, E.PLUGIN_CRASHED),
    runs(
        "builtins are gone",
        "import builtins; vars(builtins).clear()",
        E.PLUGIN_CRASHED,
        E.EXECUTION_ERROR,
        E.PROTOCOL_ERROR,
        None,
    ),
    runs("stdout is no stream", "sys.stdout = sys.stderr = object()"),
    runs("a tracer", "sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)"),
    runs(
        "the interpreter's memory",
        "ctypes.memset(id(run), 0, 64); run(1, 2)",
        E.PLUGIN_CRASHED,
        E.EXECUTION_ERROR,
    ),
)

L = E.PLUGIN_LOAD_ERROR
RAN: dict[str, Any] = {"result": {"ran": True}}
IMPORT_TIME = (
    imports("import: hang", "time.sleep(LONG)", L, limits=TIMED),
    imports("import: exit", "os._exit(0)", L, details={"exit_code": 0}),
    imports("import: sys.exit", "sys.exit(0)", L, details={"exception": "SystemExit"}),
    imports("import: segfault", "ctypes.string_at(0)", L, details={"signal": "SIGSEGV"}),
    imports("import: fork", "os.fork()", **RAN),
    imports("import: children stay", "child(lambda: time.sleep(LONG))", **RAN),
    imports("import: flood", "for _ in range(64): os.write(1, bytes(65536))", **RAN),
    imports("import: threads", "threading.Thread(target=time.sleep, args=(LONG,)).start()", **RAN),
    imports("import: half the limit", "time.sleep(0.5)", limits="{ load_seconds = 1 }", **RAN),
    imports("import: memory", "kept = [bytearray(1 << 20) for _ in range(400)]",
            E.MEMORY_LIMIT_EXCEEDED, limits=SMALL),
    imports("import: processes", "[child(lambda: time.sleep(LONG)) for _ in range(20)]; "
            "time.sleep(LONG)", E.PROCESS_LIMIT_EXCEEDED, limits=SMALL),
    imports("import: spin", "spin(LONG)", L, E.CPU_LIMIT_EXCEEDED, limits=TIMED),
    imports("import: the channel closed", "os.close(3)", E.PROTOCOL_ERROR, E.PLUGIN_CRASHED, L),
    imports("import: confined forged", "send(frame(b'c')); time.sleep(LONG)", E.PROTOCOL_ERROR),
    # It is loaded all the same, unless nobody listens any more when it says so itself.
    imports(
        "import: loaded forged",
        "send(frame(b'l'))",
        E.PROTOCOL_ERROR,
        allowed_warm=(None, E.PROTOCOL_ERROR),
        result={"ran": True},
    ),
    imports("import: a reply before its request", "send(frame(b'R'))", E.PROTOCOL_ERROR),
    imports("import: a set-up failure forged", "send(frame(b'F', b'{}'))", E.PROTOCOL_ERROR),
    imports("import: stopped", "os.kill(os.getpid(), 19)", L, limits=TIMED),
    imports("import: hooks on fork", "os.register_at_fork(before=lambda: 1 / 0)", **RAN),
    imports("import: all importing is broken", "sys.meta_path.clear(); sys.path.clear()", **RAN),
    imports(
        "import: its own file",
        "answers = tried(write=lambda: open(__file__, 'a').write('pwned'),"
        " gone=lambda: os.unlink(__file__), renamed=lambda: os.rename(__file__, 'x'))\n"
        "assert 'done' not in str(answers), answers",
        **RAN,
    ),
)  # fmt: skip

ESCAPES = (
    runs(
        "files of others",
        "f = payload['foreign']; d = os.path.dirname(f)\n"
        "return tried(read=lambda: open(f).read(), write=lambda: open(f, 'a').write('x'),\n"
        "    create=lambda: open(d + '/new', 'w'), unlink=lambda: os.unlink(f),\n"
        "    rename=lambda: os.rename(f, f + '2'), link=lambda: os.link(f, 'here'),\n"
        "    folder=lambda: os.mkdir(d + '/sub'), listing=lambda: os.listdir(d),\n"
        "    via_link=lambda: (os.symlink(f, 'link'), open('link').read()),\n"
        "    via_root=lambda: open('/proc/self/root' + f).read(),\n"
        "    via_cwd=lambda: open('../' * 20 + f).read(),\n"
        "    socket=lambda: os.mknod(d + '/fifo', 0o10600))",
    ),
    runs(
        "the state of files of others",
        "f = payload['foreign']\n"
        "return tried(chmod=lambda: os.chmod(f, 0o600), utime=lambda: os.utime(f, (1, 1)),\n"
        "    truncate=lambda: os.truncate(f, 0), xattr=lambda: os.setxattr(f, 'user.x', b'y'),\n"
        "    chown=lambda: os.chown(f, os.getuid(), os.getgid()),\n"
        "    open_path=lambda: os.chmod('/proc/self/fd/%d' % os.open(f, os.O_PATH), 0o600))",
    ),
    runs(
        "the network",
        "def tcp(): return socket.create_connection(('127.0.0.1', payload['tcp']), 1)\n"
        "def udp(): return socket.socket(2, 2).sendto(b'out', ('127.0.0.1', payload['udp']))\n"
        "def unix(): s = socket.socket(1, 1); s.settimeout(1); s.connect(payload['unix'])\n"
        "def abstract(): s = socket.socket(1, 1); s.connect('\\0' + payload['abstract'])\n"
        "def netlink(): return socket.socket(16, 3, 0)\n"
        "def raw(): return socket.socket(17, 3, 0)\n"
        "def six(): return socket.socket(10, 1)\n"
        "def vsock(): return socket.socket(40, 1)\n"
        "def alg(): return socket.socket(38, 5)\n"
        "def listening(): s = socket.socket(2, 1); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "def names(): return socket.getaddrinfo('localhost', 80)[0][4] and tcp()\n"
        "return tried(tcp=tcp, udp=udp, unix=unix, abstract=abstract, netlink=netlink, raw=raw,\n"
        "    six=six, vsock=vsock, alg=alg, listening=listening, names=names)",
    ),
    runs(
        "a datagram pair that sends to a path",
        "def pair(kind):\n"
        "    a, b = socket.socketpair(1, kind); a.sendto(b'out', payload['datagram'])\n"
        "def stream():\n"
        "    a, b = socket.socketpair(); a.sendto(b'out', payload['datagram'])\n"
        "return tried(datagram=lambda: pair(2), seqpacket=lambda: pair(5), stream=stream,\n"
        "    channel=lambda: socket.socket(fileno=os.dup(3)).connect(payload['datagram']))",
    ),
    runs(
        "the environment",
        "found = [k for k, v in os.environ.items() if payload['secret'][::-1] in v]\n"
        "extra = sorted(set(os.environ) - {'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_CTYPE'})\n"
        "return {'found': found, 'extra': [n for n in extra if 'THREADS' not in n],\n"
        "        'home': os.environ['HOME'] == os.environ['TMPDIR'] == os.getcwd()}",
        result={"found": [], "extra": [], "home": True},
    ),
    runs(
        "environments in /proc",
        "secret = payload['secret'][::-1].encode()\n"
        "found = []\n"
        "names = set(map(str, payload['pids']))\n"
        "try: names |= set(filter(str.isdigit, os.listdir('/proc')))\n"
        "except OSError: pass\n"
        "for name in names:\n"
        "    for file in ('environ', 'cmdline'):\n"
        "        try: data = open(f'/proc/{name}/{file}', 'rb').read()\n"
        "        except OSError: continue\n"
        "        if secret in data: found.append([name, file])\n"
        "return {'found': found}",
        result={"found": []},
    ),
    runs(
        "other processes",
        "victim = payload['victim']\n"
        "room = ctypes.create_string_buffer(8)\n"
        "vector = ctypes.create_string_buffer(struct.pack('=QQ', ctypes.addressof(room), 8))\n"
        "at = ctypes.addressof(vector)\n"
        "x86 = os.uname().machine == 'x86_64'\n"
        "return tried(attach=lambda: syscall(101 if x86 else 117, 16, victim, 0, 0),\n"
        "    seize=lambda: syscall(101 if x86 else 117, 0x4206, victim, 0, 0),\n"
        "    read=lambda: syscall(310 if x86 else 270, victim, at, 1, at, 1, 0),\n"
        "    write=lambda: syscall(311 if x86 else 271, victim, at, 1, at, 1, 0),\n"
        "    kill=lambda: os.kill(victim, 0), term=lambda: os.kill(victim, 15),\n"
        "    stop=lambda: os.kill(victim, 19),\n"
        "    pidfd=lambda: signal.pidfd_send_signal(os.pidfd_open(victim), 15),\n"
        "    thread=lambda: syscall(200 if x86 else 130, victim, 15),\n"
        "    queue=lambda: syscall(129 if x86 else 138, victim, 15, at),\n"
        "    memory=lambda: open(f'/proc/{victim}/mem', 'rb'),\n"
        "    files=lambda: os.listdir(f'/proc/{victim}/fd'),\n"
        "    limits=lambda: __import__('resource').prlimit(victim, 4),\n"
        "    nice=lambda: os.setpriority(os.PRIO_PROCESS, victim, 15),\n"
        "    affinity=lambda: os.sched_setaffinity(victim, [0]),\n"
        "    schedule=lambda: os.sched_setscheduler(victim, 0, os.sched_param(0)))",
    ),
    runs(
        "kernel doors",
        "x86 = os.uname().machine == 'x86_64'\n"
        "n = lambda a, b: a if x86 else b\n"
        "def cloned(flags):\n"
        "    if syscall(n(56, 220), flags | 17, 0, 0, 0, 0) == 0: os._exit(0)\n"
        "args = ctypes.create_string_buffer(struct.pack('=Q', 0x10000000) + bytes(24)\n"
        "    + struct.pack('=Q', 17) + bytes(48))\n"
        "def clone3():\n"
        "    if syscall(435, ctypes.addressof(args), 88) == 0: os._exit(0)\n"
        "return tried(user=lambda: cloned(0x10000000), mounts=lambda: cloned(0x20000),\n"
        "    pids=lambda: cloned(0x20000000), parent=lambda: cloned(0x8000), clone3=clone3,\n"
        "    unshare=lambda: syscall(n(272, 97), 0x10000000),\n"
        "    unshare_files=lambda: syscall(n(272, 97), 0x20000),\n"
        "    setns=lambda: syscall(n(308, 268), 0, 0),\n"
        "    mount=lambda: syscall(n(165, 40), 0, 0, 0, 0, 0), chroot=lambda: os.chroot('.'),\n"
        "    memfd=lambda: os.memfd_create('x'), secret=lambda: syscall(447, 0),\n"
        "    shm=lambda: syscall(n(29, 194), 0, 4096, 0o1600),\n"
        "    sem=lambda: syscall(n(64, 190), 0, 1, 0o1600),\n"
        "    queue=lambda: syscall(n(68, 186), 0, 0o1600),\n"
        "    uring=lambda: syscall(425, 1, ctypes.addressof(ctypes.create_string_buffer(120))),\n"
        "    keyctl=lambda: syscall(n(250, 219), 0, -3, 0), add_key=lambda: syscall(n(248, 217)),\n"
        "    bpf=lambda: syscall(n(321, 280), 0, 0, 0),\n"
        "    userfault=lambda: syscall(n(323, 282), 1),\n"
        "    perf=lambda: syscall(n(298, 241), 0, 0, -1, -1, 0),\n"
        "    handle=lambda: syscall(n(304, 265), -1, 0, 0), kcmp=lambda: syscall(n(312, 272)),\n"
        "    personality=lambda: syscall(n(135, 92), 0xffffffff),\n"
        "    modules=lambda: syscall(n(175, 105), 0, 0, 0),\n"
        "    host=lambda: socket.sethostname('pwned'),\n"
        "    clock=lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),\n"
        "    deathsig=lambda: syscall(n(157, 167), 1, 0))",
    ),
    runs(
        "terminals",
        "import fcntl\n"
        "x86 = os.uname().machine == 'x86_64'\n"
        "byte = ctypes.addressof(ctypes.create_string_buffer(b'x'))\n"
        "number = 16 if x86 else 29\n"
        "return tried(tty=lambda: os.open('/dev/tty', os.O_RDWR),\n"
        "    sti=lambda: syscall(number, 0, 0x5412, byte),\n"
        "    high=lambda: syscall(number, 0, 0x100005412, byte),\n"
        "    linux=lambda: syscall(number, 0, 0x541C, byte),\n"
        "    pty=lambda: os.openpty())",
    ),
    runs(
        "rights regained",
        "return tried(root=lambda: os.setuid(0), group=lambda: os.setgid(0),\n"
        "    groups=lambda: os.setgroups([0]), effective=lambda: os.seteuid(0))",
    ),
    runs(
        "setuid programs",
        "import shutil, subprocess\n"
        "own = os.getuid()\n"
        "answers = {'root': own == 0 or os.geteuid() == 0, 'gained': []}\n"
        "for name in ('su', 'mount', 'passwd', 'newgrp'):\n"
        "    path = shutil.which(name)\n"
        "    if path:\n"
        "        copy = subprocess.Popen([path, '--help'], stdin=-3, stdout=-3, stderr=-3)\n"
        "        copy.wait()\n"
        "try: status = open('/proc/self/status').read()\n"
        "except OSError: status = ''  # no /proc at all: the prctl below tells\n"
        "if status and 'NoNewPrivs:\\t1' not in status: answers['gained'].append('privileges')\n"
        "caps = [l.split()[1] for l in status.splitlines() if l.startswith('Cap')]\n"
        "if any(int(c, 16) for c in caps): answers['gained'].append(caps)\n"
        "answers['nnp'] = libc.prctl(39, 0, 0, 0, 0)\n"
        "return answers",
        result={"root": False, "gained": [], "nnp": 1},
    ),
    runs(
        "inherited descriptors",
        "import fcntl\n"
        "found = []\n"
        "for number in range(256):\n"
        "    try: fcntl.fcntl(number, fcntl.F_GETFD)\n"
        "    except OSError: continue\n"
        "    found.append(number)\n"
        "return {'found': found}",
        result={"found": [0, 1, 2, 3, 4]},
    ),
    runs(
        "stdin",
        "return {'read': os.read(0, 10).decode()}",
        result={"read": ""},
    ),
    runs(
        "traps for whoever cleans up",
        "f = payload['foreign']; d = os.path.dirname(f)\n"
        "os.symlink(d, 'folder'); os.symlink(f, 'file'); os.mkfifo('fifo')\n"
        "os.makedirs('a/' * 60); os.mkdir('closed'); open('closed/x', 'w').close()\n"
        "os.symlink('..', 'closed/up'); open('\\udcff name \\n', 'w').close()\n"
        "try: os.chmod('closed', 0)\n"
        "except OSError: pass\n"
        "socket.socketpair()",
    ),
    runs(
        "the whole scratch full",
        "try: open('f', 'wb').write(bytes(3 << 20))\nexcept OSError: pass",
        None,
        E.DISK_LIMIT_EXCEEDED,
        limits="{ scratch_mb = 2 }",
    ),
    runs("a core dump", "os.kill(os.getpid(), signal.SIGQUIT)", E.PLUGIN_CRASHED),
    runs(
        "a core dump that it asks for",
        "import resource\n"
        "answer = tried(core=lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)))\n"
        "if answer['core'][0] == 'denied': os.abort()",
        E.PLUGIN_CRASHED,
    ),
    runs(
        "its limits raised",
        "import resource\n"
        "return tried(**{name: lambda n=n: resource.setrlimit(n, (-1, -1)) for name, n in\n"
        "    vars(resource).items() if name in ('RLIMIT_DATA', 'RLIMIT_CPU', 'RLIMIT_FSIZE',\n"
        "    'RLIMIT_NOFILE', 'RLIMIT_NPROC', 'RLIMIT_CORE')})",
    ),
)

ROWS = (*CHANNEL, *TREE, *PYTHON, *IMPORT_TIME, *ESCAPES)
# These open a socket, or make a folder, that only they can reach: what matters is checked beside.
HARMLESS = {("the network", "names")}


@dataclass
class Surroundings:
    """What a hostile plugin could harm, all of it the test's own."""

    folder: Path
    payload: dict[str, Any]
    listeners: list[socket.socket]
    victim: subprocess.Popen[bytes]
    secret: str

    @property
    def foreign(self) -> Path:
        """The file of somebody else, which every user may read and write."""
        return Path(self.payload["foreign"])

    def state(self) -> tuple[Any, ...]:
        """Return all that no plugin may change."""
        status = self.foreign.stat()
        fields = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_ctime_ns)
        scheduling = os.sched_getaffinity(self.victim.pid), psutil.Process(self.victim.pid).nice()
        names = sorted(os.listdir(self.foreign.parent))
        return (self.foreign.read_text(), *fields, names, scheduling)

    def untouched(self, state: tuple[Any, ...]) -> None:
        """Assert that everything is as it was, and that nothing has arrived anywhere."""
        assert self.state() == state
        assert self.victim.poll() is None
        assert psutil.Process(self.victim.pid).status() != psutil.STATUS_STOPPED
        for listener in self.listeners:
            with pytest.raises(BlockingIOError):
                listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """A file, listeners of every kind and a process, open to any user who is not confined."""
    secret = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        theirs = folder / "theirs"
        theirs.mkdir()
        temporary = folder / "temporary"
        temporary.mkdir()
        for path in (folder, temporary):
            path.chmod(0o755)
        theirs.chmod(0o777)
        foreign = theirs / "foreign"
        foreign.write_text("theirs")
        foreign.chmod(0o666)
        listeners = [
            stack.enter_context(socket.socket(family, kind))
            for family, kind in ((2, 1), (2, 2), (1, 1), (1, 1), (1, 2))
        ]
        tcp, udp, unix, abstract, datagram = listeners
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(theirs / "unix"))
        abstract.bind(f"\0toolrunner-test-{secret}")
        datagram.bind(str(theirs / "datagram"))
        for path in (theirs / "unix", theirs / "datagram"):
            path.chmod(0o777)
        for listener in listeners:
            listener.setblocking(False)
            if listener.type == socket.SOCK_STREAM:
                listener.listen()
        victim = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", "input()"],
                stdin=subprocess.PIPE,
                env={"SECRET": secret},
            )
        )
        stack.callback(victim.kill)
        monkeypatch.setenv("SECRET_OF_A_TEST", secret)
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        payload = {
            "foreign": str(foreign),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "unix": str(theirs / "unix"),
            "abstract": f"toolrunner-test-{secret}",
            "datagram": str(theirs / "datagram"),
            "victim": victim.pid,
            "pids": [victim.pid, *(p.pid for p in psutil.Process().parents() if p.pid > 1)],
            # Backwards, so that a plugin that finds the secret has not found its own payload.
            "secret": secret[::-1],
        }
        yield Surroundings(temporary, payload, listeners, victim, secret)


def leftovers(since: float) -> list[psutil.Process]:
    """Return the live processes of boxes, younger than a time, that are this test's or nobody's.

    Another session's boxes have a parent outside of this process's ancestry.
    """
    own = psutil.Process()
    ancestry = {own.pid, *(p.pid for p in own.parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if LAUNCH not in process.cmdline() and "sleep" not in process.name():
                continue
            if process.create_time() < since or process.status() == psutil.STATUS_ZOMBIE:
                continue
            strangers = [
                p for p in process.parents() if p.pid not in ancestry and LAUNCH not in p.cmdline()
            ]
            if not strangers:
                found.append(process)
    return found


def outcome(envelope: dict[str, Any] | None) -> ErrorType | None:
    """Return the type of an envelope's error."""
    return None if envelope is None else ErrorType(envelope["error"]["type"])  # type: ignore[call-arg]  # an enum's look-up by value


def check_answer(row: Row, result: dict[str, Any] | None, envelope: Any) -> None:
    """Assert that a row came to what is allowed, and that no attempt of it succeeded."""
    assert outcome(envelope) in row.allowed, envelope or result
    if result is not None and row.result is not None:
        assert result == row.result
    elif result is not None:
        attempts = {k: v for k, v in result.items() if (row.name, k) not in HARMLESS}
        assert [k for k, v in attempts.items() if v[0] == "done"] == [], attempts
        assert row in ESCAPES or row.source.count("tried(") == (1 if attempts else 0)
    if envelope is not None:
        details = envelope["error"]["details"]
        assert {key: details.get(key) for key in row.details} == row.details


def test_the_table_is_large_enough_and_its_names_are_unique() -> None:
    """A row that hides another tests nothing."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len(ROWS) >= 60


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_hostile_plugin_harms_nobody(
    row: Row,
    start: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    surroundings: Surroundings,
) -> None:
    """The answer is one of those allowed, and afterwards everything is as it was before."""
    keys = {"limits": row.limits} if row.limits else {}
    hostile = write_plugin(COMMON + row.source, start=f'"{start}"', **keys)
    good = write_plugin(GOOD, name="good")
    source = hostile.read_bytes()
    state = surroundings.state()
    descriptors = psutil.Process().num_fds()
    since = psutil.Process(surroundings.victim.pid).create_time()
    tool_runner = make_runner(hostile, good, layers=layers)
    call = Call()
    result, envelope = tool_runner.run("sample", {**surroundings.payload, **row.payload}, call=call)
    check_answer(row.for_start(start), result, envelope)
    assert tool_runner.run("good", {}) == ({"fine": True}, None)
    for name in ("sample", "good"):
        status = tool_runner.registry.get_status(name)
        assert status is not None
        assert (status.success_count + status.error_count, status.in_flight) == (1, 0)
    tool_runner.close()
    surroundings.untouched(state)
    assert hostile.read_bytes() == source
    assert list(surroundings.folder.iterdir()) == []
    _gone, alive = psutil.wait_procs(leftovers(since), timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert psutil.Process().num_fds() == descriptors


def test_nothing_of_a_call_is_there_in_the_next(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Neither variables nor files: every call is the first."""
    tool_runner = make_runner(
        write_plugin(
            """
            import os
            calls = 0

            def run(payload):
                global calls
                calls += 1
                own = [f for f in (".", "/dev/shm") if os.access(f, os.W_OK)]
                seen = [name for folder in own[:1] for name in os.listdir(folder)]
                open("left", "w").close()
                return {"calls": calls, "seen": seen}
            """
        ),
        layers=layers,
    )
    for _ in range(4):
        assert tool_runner.run("sample", {}) == ({"calls": 1, "seen": []}, None)


def test_a_call_cannot_read_what_another_works_on(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers, surroundings: Surroundings
) -> None:
    """While a call runs, its scratch and its process are out of another's reach."""
    waiting = write_plugin(
        """
        import os, time

        def run(payload, context):
            open("own", "w").write("secret of the first")
            context.progress(0.5, f"{os.getpid()} {os.getcwd()}")
            time.sleep(20)
        """,
        name="first",
    )
    looking = write_plugin(
        COMMON
        + """
def run(payload):
    pid, folder = payload["pid"], payload["folder"]
    up = os.path.dirname(os.path.dirname(os.getcwd()))
    return tried(
        file=lambda: open(folder + "/own").read() if folder != os.getcwd() else 1 / 0,
        folder=lambda: os.listdir(os.path.dirname(up) if folder != os.getcwd() else "/nowhere"),
        process=lambda: os.listdir(f"/proc/{pid}/fd") if pid != os.getpid() else 1 / 0,
        signal=lambda: os.kill(pid, 0) if pid != os.getpid() else 1 / 0,
    )
""",
        name="second",
    )
    tool_runner = make_runner(waiting, looking, layers=layers)
    answers: list[Any] = []

    def heard(_fraction: float, message: str) -> None:
        pid, folder = message.split(" ", 1)
        payload = {"pid": int(pid), "folder": folder}
        answers.append(tool_runner.run("second", payload))
        first.cancel()

    first = Call(on_progress=heard)
    _result, envelope = tool_runner.run("first", {}, call=first)
    assert outcome(envelope) is E.CANCELLED
    ((result, error),) = answers
    assert error is None
    # In namespaces both have the same numbers and names, each of its own world.
    assert {name: answer[0] for name, answer in result.items()} == dict.fromkeys(result, "denied")
    assert surroundings.victim.poll() is None
