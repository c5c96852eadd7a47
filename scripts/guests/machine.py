"""One virtual machine: QEMU without KVM, from its start to its end."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guests.image import MACHINES, Images

WORD = "@guest "  # what comes after it in a line is meant for us
_END_SECONDS = 5.0
_CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
_HARDWARE = {"amd64": ("-cpu", "max"), "arm64": ("-machine", "virt", "-cpu", "neoverse-n1")}


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A machine that was ended because somebody asked for it."""


class MachineError(Exception):
    """A machine that could not be started, or did not end as it should.

    ``found``: what it had found until then.
    """

    def __init__(self, message: str, found: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.found = found or {}


def program(architecture: str) -> str:
    """Return QEMU's program for an architecture."""
    found = shutil.which(f"qemu-system-{MACHINES[architecture]}")
    if found is None:
        package = {"amd64": "qemu-system-x86", "arm64": "qemu-system-arm"}[architecture]
        raise MachineError(f"there is no QEMU for {architecture}: apt-get install {package}")
    return found


def run(
    images: Images,
    suite: str,
    architecture: str,
    job: dict[str, Any],
    on_line: Callable[[str], None],
    stop: threading.Event,
    *,
    seconds: float,
    memory_mb: int,
) -> dict[str, Any]:
    """Boot a kernel, have the job done, and return what was found; the machine ends in any case.

    ``on_line`` gets what it says meanwhile. ``stop`` ends it before (``Stopped``).
    """
    qemu = program(architecture)
    kernel, first_root = images.kernel(suite, architecture)
    disk = images.disk(architecture)
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="toolrunner-kernels-"))
        checkout = Path(folder, "checkout.tar")
        images.checkout(job, checkout)
        command = [qemu, *_HARDWARE[architecture], "-accel", "tcg,thread=multi", "-smp", "2"]
        command += ["-m", str(memory_mb), "-nodefaults", "-no-user-config", "-no-reboot"]
        command += ["-display", "none", "-serial", "stdio", "-nic", "none"]
        command += ["-kernel", str(kernel), "-initrd", str(first_root)]
        command += ["-append", f"console={_CONSOLES[architecture]} loglevel=1 quiet panic=-1"]
        for file in (f"{disk},snapshot=on", f"{checkout},readonly=on"):
            command += ["-drive", f"file={file},format=raw,if=virtio,cache=unsafe"]
        # A snapshot's changes go to a file in TMPDIR that has no name: nobody has to remove it.
        process = stack.enter_context(_started(command, folder))
        ended = threading.Event()
        late: list[bool] = []
        keeper = threading.Thread(target=_keep_time, args=(process, stop, ended, seconds, late))
        stack.callback(keeper.join)
        stack.callback(ended.set)
        keeper.start()
        assert process.stdout is not None
        last = ""
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            _, is_word, words = line.partition(WORD)
            if is_word:
                found |= json.loads(words)
            elif line:
                last = line
                on_line(line)
        status = process.wait()
        if stop.is_set():
            raise Stopped
        if late:
            raise MachineError(f"it did not end in {seconds:g} s; its last words: {last}", found)
        if status or not found.get("done"):
            words = f"it ended before its job was done (status {status}): {last}"
            raise MachineError(words, found)
    return found


def _keep_time(
    process: subprocess.Popen[bytes],
    stop: threading.Event,
    ended: threading.Event,
    seconds: float,
    late: list[bool],
) -> None:
    """Kill a machine that takes too long, or when it is to stop."""
    deadline = time.monotonic() + seconds
    while not ended.wait(0.2):
        if time.monotonic() > deadline:
            late.append(True)
        if late or stop.is_set():
            process.kill()
            return


@contextlib.contextmanager
def _started(command: list[str], folder: str) -> Any:  # noqa: ANN401 - a generator, decorated
    """Start QEMU in a session of its own, so that a Ctrl-C is ours alone; kill it at the end."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"TMPDIR": folder, "PATH": "/usr/bin:/bin"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_END_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
