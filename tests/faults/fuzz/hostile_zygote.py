"""A program: the product's warden, and a zygote that lies to it. Prints how many lies it told.

``python -m tests.faults.fuzz.hostile_zygote SEED COUNT``. A process of its own, since a warden
reaps every child that it has. The parent's part and the zygote's are played here; the warden's
loop is turned by hand, so that nothing waits. It ends with a traceback if anything does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import tempfile

from tests.faults.fuzz.mutator import Mutator
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.inside.linux_cells import LinuxCells
from toolrunner.sandbox.inside.syscalls import Kernel
from toolrunner.sandbox.inside.warden import Warden

READY = json.dumps({"event": "ready"}).encode()
TOO_LARGE = 2**40  # for any number that the kernel takes
RUBBISH = (b"", b" ", b"forked", b"forked 1", b"forked 1 2 3", b"forked -1 -1", b"forked 1e1 1")


def child(group: int = 0) -> int:
    """Start a process that does nothing, in a group; return its number."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        Kernel().die_with_parent()
        signal.set_wakeup_fd(-1)
        os.closerange(3, 1 << 10)
        while True:
            signal.pause()
    os.close(write)
    # Once it has closed all, or channels would not end with the warden's ends of them.
    os.read(read, 1)
    os.close(read)
    os.setpgid(pid, group)
    return pid


class Ordered:
    """What the parent knows of a cell that it has ordered: all that its status channel said."""

    def __init__(self, status: socket.socket) -> None:
        status.setblocking(False)
        self.status = status
        self.events: list[dict[str, object]] = []
        self.is_over = False

    def read(self) -> None:
        """Take in what has been said; it has to be a cell's life, in its order."""
        with contextlib.suppress(BlockingIOError):
            while data := self.status.recv(4096):
                self.events.append(json.loads(data))
            self.is_over = True
        names = [event["event"] for event in self.events]
        assert names in ([], ["placed"], ["failed"], ["placed", "exit"]), names
        assert self.is_over == (names in (["failed"], ["placed", "exit"])), names


class Box:
    """A warden with its control channel, its zygote, and a process that is none of its business."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._says, hears = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets = (self._control, control, self._says, hears)
        self.warden = Warden(control, own_session=False)
        self.bystander = child()
        self.zygote = child()
        profile = {"namespaces": [], "landlock": 0, "scratch": folder, "asks_before_signals": False}
        profile["hears_kills"] = False
        self.cells = LinuxCells(Kernel(), profile, hears, self.zygote)
        self.ordered: dict[int, Ordered] = {}
        self.new: list[int] = []
        assert self.report(READY)
        assert json.loads(self._control.recv(4096)) == {"event": "ready"}

    def report(self, text: bytes) -> bool:
        """Have the zygote say something; return whether it is still listened to."""
        self._says.send(text)
        believed = self.warden._hear_zygote(self.cells)
        for ordered in self.ordered.values():
            ordered.read()
        return believed

    def order(self, number: int) -> None:
        """Order a cell, as the parent does."""
        os.makedirs(f"{self._folder}/{number}", exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps(
                {"op": "cell", "cell": number, "slot": number, "enters": False}
            ).encode()
            own = [theirs.fileno()] * protocol.CELL_DESCRIPTORS
            socket.send_fds(self._control, [message + b"\n"], own)
            assert self.warden._obey(self.cells)
        self.ordered[number] = Ordered(ours)
        order, descriptors, _, _ = socket.recv_fds(self._says, 4096, 8)
        assert json.loads(order)["cell"] == number
        for descriptor in descriptors:
            os.close(descriptor)

    def kill(self, number: int) -> None:
        """Order a cell's end."""
        self._control.send(json.dumps({"op": "kill", "cell": number}).encode() + b"\n")
        assert self.warden._obey(self.cells)

    def end(self) -> None:
        """Kill and reap all; each cell has to have ended in one way, and the bystander lives."""
        os.kill(self.bystander, 0)
        for number, ordered in self.ordered.items():
            if ordered.events and not ordered.is_over:
                self.kill(number)
                placed = ordered.events[0]["pid"]
                assert isinstance(placed, int)
                os.waitid(os.P_PID, placed, os.WEXITED | os.WNOWAIT)
        self.warden._reap(self.cells)
        self.report(b"")
        for ordered in self.ordered.values():
            assert ordered.is_over
            ordered.status.close()
        assert os.waitpid(self.bystander, os.WNOHANG) == (0, 0)
        os.kill(self.bystander, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.zygote, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        self.warden.close_signals()
        for one in self._sockets:
            one.close()


def tell(box: Box, mutator: Mutator, number: int) -> bool:
    """Do one thing to a box; return whether it is still of use."""
    random = mutator.random
    if random.random() < 0.3:
        box.order(number)
        return True
    if random.random() < 0.3:
        box.new.append(child(box.zygote))
    known = [*box.ordered, 0, number, 999_999_999]
    processes = [*box.new, box.zygote, box.bystander, os.getpid(), 1, 0, 999_999_999, TOO_LARGE]
    named, process = random.choice(known), random.choice(processes)
    text = f"{random.choice(('forked', 'forked', 'failed', 'placed'))} {named} {process}".encode()
    waits = named in box.ordered and not box.ordered[named].events and process != TOO_LARGE
    is_new = process in box.new and text.startswith(b"forked")
    if random.random() < 0.2:
        box.report(mutator.mutated(text, random.choice(RUBBISH)))
        return False
    believed = box.report(text)
    assert believed == waits, text
    if waits:
        (event,) = box.ordered[named].events
        assert event["event"] == ("placed" if is_new else "failed"), text
    if waits and is_new:
        assert event["pid"] == process
        box.new.remove(process)
    box.warden._reap(box.cells)
    return believed


def main(seed: str, count: int) -> None:
    """Tell a warden after the other ``count`` things."""
    mutator = Mutator(seed)
    before = os.listdir("/proc/self/fd")
    with tempfile.TemporaryDirectory() as folder:
        box = Box(folder)
        for index in range(count):
            if not tell(box, mutator, index + 1):
                box.end()
                box = Box(folder)
        box.end()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
