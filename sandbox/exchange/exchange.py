"""One call in a box, from the order for its cell to the kernel's word that it has ended.

Runs in the caller's thread, which waits for nothing but descriptors and the clock:

    cold   order the cell -> "placed" -> LOAD -> CONFINED -> LOADED -> REQUEST -> reply -> "exit"
    load   order the zygote -> "placed" -> LOAD -> CONFINED -> LOADED
    warm   order the cell -> "placed" -> CONFINED -> REQUEST -> reply -> "exit"

The first thing that decides the call (a reply, a limit, a cancel, an end, broken bytes) is kept;
after it, the call only has to end: by itself within a grace, else by the warden's kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from toolrunner.sandbox.box import setup_failure
from toolrunner.sandbox.capture import LogLines, Tail
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.channel import Channel, parse_object, parse_progress, parse_raised
from toolrunner.sandbox.ending import (
    Ending,
    Isolation,
    LimitHit,
    Reply,
    Returned,
    SetupFailure,
    Stage,
    Unserializable,
    Usage,
)
from toolrunner.sandbox.frames import FrameError, ReplyTooLargeError, encode
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.profile import Program, module_path
from toolrunner.sandbox.watchdog import Watch

SETUP_SECONDS = 15.0
WARM_SECONDS = 3.0  # for a cell that has only to be forked: without it, the call runs cold
GRACE_SECONDS = 0.1
KILL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a call sends: the payload as JSON text, with the image beside it as raw bytes."""

    call_id: str
    payload: bytes
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """What a caller hears during a call. Both may be called many times, in the call's thread."""

    on_progress: Callable[[float, str], None] = field(default=lambda _fraction, _message: None)
    on_log: Callable[[int, str, str], None] = field(default=lambda _level, _logger, _message: None)


class _Step(IntEnum):
    PLACING, CONFINING, LOADING, RUNNING, ENDING, KILLED, OVER = range(7)


class Exchange:
    """The state of one call. Made for one ``run``."""

    def __init__(
        self,
        cell: Cell,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        program: Program | None = None,
        request: Request | None = None,
        on_sent: Callable[[], None] = lambda: None,
        on_reply: Callable[[], None] = lambda: None,
    ) -> None:
        """With a ``program`` the cell loads it; with a ``request`` it runs it; or both, in turn.

        ``on_sent`` is called once the request is on its way, while the cell works; ``on_reply``
        once it has replied, while it ends.
        """
        self._cell = cell
        self._program = program
        self._limits = limits = cell.box.limits
        self._request = request
        self._interrupt = interrupt
        self._listener = listener
        self._isolation = isolation
        self._on_sent = on_sent
        self._on_reply = on_reply
        self.loaded = False
        self._tail = Tail(limits.log_kb * 1024)
        self._log = LogLines(limits.log_kb * 1024, listener.on_log)
        self._step = _Step.PLACING
        self._setup_seconds = SETUP_SECONDS if program is not None else WARM_SECONDS
        self._deadline = time.monotonic() + self._setup_seconds
        self._started = 0.0
        self._replied = 0.0
        self._stage = Stage.SETUP
        # What decided the call: at most one of these is set, once.
        self._reply: Reply | None = None
        self._limit: LimitHit | None = None
        self._setup: SetupFailure | None = None
        self._protocol_error: str | None = None
        self._cancelled = False
        self._killed = False
        self._exit: Mapping[str, object] | None = None
        self._output_bytes = 0
        self._channel = Channel(cell.channel, limits.output_mb * MIB)
        self._poll = select.poll()
        self._listening = 0
        self.watch = Watch(
            limits,
            cell.members,
            interrupt.hit,
            cell.scratch_bytes,
            scratch_is_memory=cell.box.scratch_is_memory,
        )

    def run(self) -> Ending:
        """Serve the call to its end. Raises nothing that the plugin or the host can cause."""
        cell = self._cell
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._interrupt)
            except OSError as error:
                cell.order_kill()
                self._setup = SetupFailure("wait for the cell", str(error), error.errno)
                return self._ending()
            for waited_for in (cell.output, cell.log, cell.status, self._interrupt):
                self._poll.register(waited_for, select.POLLIN)
            try:
                while self._step is not _Step.OVER:
                    self._turn()
            except KeyboardInterrupt:
                cell.order_kill()
                raise
        # What the ended cell left in its pipes.
        self._tail.read(cell.output)
        self._log.read(cell.log)
        return self._ending()

    def _turn(self) -> None:
        """Wait for something to happen, or for the step's time to be over, and act on it."""
        cell = self._cell
        self._listen_to_the_channel()
        left = self._deadline - time.monotonic()
        ready = dict(self._poll.poll(max(0.0, left) * 1000))
        if self._interrupt.fileno() in ready:
            self._poll.unregister(self._interrupt)
            self._interrupted()
        if cell.status.fileno() in ready:
            self._hear_warden()
        if cell.output in ready and not self._tail.read(cell.output):
            self._ignore(cell.output)
        if cell.log in ready and not self._log.read(cell.log):
            self._ignore(cell.log)
        if self._channel.fileno() in ready and self._step is not _Step.OVER:
            self._channel.send_more()
            self._receive()
        if time.monotonic() >= self._deadline:
            self._time_over()

    def _listen_to_the_channel(self) -> None:
        """Wait for as much of the channel as matters now.

        Nothing of a cell counts before it is in its place, and nothing but its end after its
        reply: what else there may be is read then.
        """
        wanted = 0
        if not self._channel.closed and _Step.PLACING < self._step < _Step.ENDING:
            wanted = select.POLLIN
            if self._channel.has_more_to_send:
                wanted |= select.POLLOUT
        if wanted and wanted != self._listening:
            self._poll.register(self._channel, wanted)
        elif self._listening and not wanted:
            self._ignore(self._channel)
        self._listening = wanted

    def _ignore(self, source: int | Channel) -> None:
        with contextlib.suppress(KeyError):  # it had ended already
            self._poll.unregister(source)

    @property
    def is_over(self) -> bool:
        """Whether the kernel has reported the cell's end."""
        return self._exit is not None

    # --- what decides the call -------------------------------------------------------------

    def _decided(self) -> bool:
        return self._step >= _Step.ENDING

    def _kill(self) -> None:
        """Order the end of the whole group; the warden's report of it ends the call."""
        if self._step < _Step.KILLED:
            self._killed = True
            self._cell.order_kill()
            self._next(_Step.KILLED, KILL_SECONDS)

    def _next(self, step: _Step, seconds: float) -> None:
        self._step = step
        self._deadline = time.monotonic() + seconds

    def _interrupted(self) -> None:
        if self._decided():
            return
        if self._interrupt.cancelled:
            self._cancelled = True
        else:
            self._limit = self._interrupt.limit
        self._kill()

    def _time_over(self) -> None:
        limits = self._limits
        if self._step in (_Step.PLACING, _Step.CONFINING):
            words = f"no word of it in {self._setup_seconds:g} s"
            self._setup = SetupFailure("place the cell", words)
            if not self._cell.pid:
                # There is no process yet that could be killed, and the box is used no more.
                self._step = _Step.OVER
                return
        elif self._step is _Step.LOADING:
            self._limit = LimitHit("load_seconds", limits.load_seconds, limits.load_seconds)
        elif self._step is _Step.RUNNING:
            observed = time.monotonic() - self._started
            self._limit = LimitHit("wall_seconds", limits.wall_seconds, observed)
        elif self._step is _Step.ENDING and self._reply is None and self._protocol_error is None:
            self._protocol_error = "the reply channel was closed without a reply"
        elif self._step is _Step.KILLED:
            # A warden that does not answer is ended from outside, with all that it holds.
            self._cell.box.destroy()
            self._step = _Step.OVER
            return
        self._kill()

    def _broken(self, message: str) -> None:
        """The reply channel's bytes are no reply: nothing more on it counts."""
        if self._step < _Step.ENDING or self._reply is not None:
            self._reply = None
            self._protocol_error = message
        self._kill()

    # --- the warden's words ----------------------------------------------------------------

    def _hear_warden(self) -> None:
        events = self._cell.read_status()
        if events is None:
            self._box_gone()
            return
        for event in events:
            self._heard(event)

    def _heard(self, event: Mapping[str, object]) -> None:
        if event["event"] == "placed":
            self._placed(event["pid"])
        elif event["event"] == "exit":
            self._exit = event
            self._receive()
            self._step = _Step.OVER
        elif event["event"] == "failed" and self._stage is Stage.SETUP:
            self._setup = setup_failure(event)
            self._step = _Step.OVER

    def _placed(self, pid: object) -> None:
        assert isinstance(pid, int)
        self._cell.pid = pid
        if self._decided():
            self._cell.order_kill()  # it was not there yet when it was ordered first
            return
        self._next(_Step.CONFINING, self._setup_seconds)
        if self._program is None:
            self._receive()  # a cell that was made ahead has been confined long since
        else:
            order = load_order(self._program)
            self._channel.send(encode(protocol.LOAD, order, self._program.source))

    def _box_gone(self) -> None:
        """The warden ended before the call did. Nothing of the box can be left."""
        if not self._decided():
            message = "the box's first process ended unexpectedly"
            self._setup = SetupFailure("run the box", message)
        self._step = _Step.OVER

    # --- the call channel ------------------------------------------------------------------

    def _receive(self) -> None:
        """Act on the frames that have come, and on the channel's end."""
        try:
            for kind, body in self._channel.receive():
                # Decided otherwise: late frames change nothing.
                if self._step is not _Step.KILLED:
                    self._frame(kind, body)
        except ReplyTooLargeError as error:
            if not self._decided():
                self._output_bytes = error.size
                self._limit = LimitHit("output_mb", self._limits.output_mb, error.size / MIB)
            self._kill()
        except FrameError as error:
            self._broken(str(error))
        if self._channel.closed:
            self._channel_ended()

    def _channel_ended(self) -> None:
        """No byte can come any more: what is not there now is not there at all."""
        if not self._decided():
            if self._channel.was_cut_off:
                self._protocol_error = "the reply was cut off"
            # It has most likely ended: how it did says more than the missing reply.
            self._next(_Step.ENDING, GRACE_SECONDS)

    def _frame(self, kind: bytes, body: bytes) -> None:
        step = self._step
        if step is _Step.CONFINING and kind == protocol.CONFINED and self._program is None:
            self._send_request()
        elif step is _Step.CONFINING and kind == protocol.CONFINED:
            self._stage = Stage.LOAD
            self._next(_Step.LOADING, self._limits.load_seconds)
        elif step is _Step.CONFINING and kind == protocol.FAILED:
            # No call has run in the cell yet, so this can be believed.
            self._setup = setup_failure(parse_object(body))
            self._kill()
        elif step is _Step.LOADING and kind == protocol.LOADED:
            self._loaded()
        elif step is _Step.RUNNING and kind == protocol.PROGRESS:
            self._listener.on_progress(*parse_progress(body))
        elif (step is _Step.RUNNING) or (step is _Step.LOADING and kind == protocol.RAISED):
            self._accept(kind, body)
        else:
            message = f"a frame {kind!r} that was not due"
            raise FrameError(message)

    def _loaded(self) -> None:
        self.loaded = True
        if self._request is None:
            self._step = _Step.OVER
        else:
            self._send_request()

    def _send_request(self) -> None:
        request = self._request
        assert request is not None
        if self._cell.is_gone():
            self._box_gone()
            return
        self.watch.request_sent(fresh=self._program is None)
        self._stage = Stage.RUN
        self._started = time.monotonic()
        self._next(_Step.RUNNING, self._limits.wall_seconds)
        terms = {
            "call_id": request.call_id,
            "has_image": request.image is not None,
            "deadline": self._deadline,
            "cpu_seconds": self._limits.cpu_seconds,
        }
        # The payload is JSON text already, and may be large: it is not written a second time.
        head = json.dumps(terms).encode()[:-1] + b', "payload": ' + request.payload + b"}"
        self._channel.send(encode(protocol.REQUEST, head, request.image or b""))
        self._on_sent()

    def _accept(self, kind: bytes, body: bytes) -> None:
        """Take the reply. From here on the process only has to end."""
        self._replied = time.monotonic()
        self._output_bytes = len(body)
        if kind == protocol.RETURNED:
            self._reply = Returned(body)
        elif kind == protocol.UNSERIALIZABLE:
            self._reply = Unserializable(body.decode("utf-8", "replace"))
        elif kind == protocol.RAISED:
            self._reply = parse_raised(body)
        else:
            message = f"a frame {kind!r} that was not due"
            raise FrameError(message)
        # What it printed is in the pipes by now, and read at the end.
        self._ignore(self._cell.output)
        self._ignore(self._cell.log)
        self._next(_Step.ENDING, GRACE_SECONDS)
        self._on_reply()

    # --- the facts -------------------------------------------------------------------------

    def _ending(self) -> Ending:
        status = self._exit["status"] if self._exit is not None else None
        usage = self._usage()
        by_warden = self._exit is not None and self._exit.get("ended_by_us")
        if status == signal.SIGKILL and not self._killed and self._limit is None:
            if by_warden:
                # Only an import can have brought it there, so it comes before any reply.
                self._killed = True
                self._protocol_error = f"the process that loads the plugin was killed: {by_warden}"
            else:
                self._limit = self._limit_of_the_kernel(usage)
        return Ending(
            stage=self._stage,
            usage=usage,
            isolation=self._isolation,
            setup=self._setup,
            cancelled=self._cancelled,
            limit=self._limit,
            signal=signal_name(status) if isinstance(status, int) else None,
            exit_code=exit_code(status) if isinstance(status, int) else None,
            # A process that died of something else before our order took it was not killed by us.
            killed=self._killed and (status is None or status == signal.SIGKILL),
            protocol_error=self._protocol_error,
            reply=self._reply,
            log_tail=self._tail.text(),
        )

    def _limit_of_the_kernel(self, usage: Usage) -> LimitHit | None:
        """Return the limit that RLIMIT_CPU enforced on a process that would not hear SIGXCPU."""
        seconds, most = usage.cpu_ms / 1000, self._limits.cpu_seconds
        return LimitHit("cpu_seconds", most, seconds) if seconds > most else None

    def _usage(self) -> Usage:
        if self._stage is Stage.SETUP:
            return Usage()
        ended = self._replied or time.monotonic()
        report = self._exit or {}
        cpu_ms, maxrss_kib = report.get("cpu_ms", 0), report.get("maxrss_kib", 0)
        assert isinstance(cpu_ms, int)
        assert isinstance(maxrss_kib, int)
        # The kernel's own high-water mark also sees a call that ends between two samples.
        peak = self.watch.peak_memory_bytes or maxrss_kib * 1024
        return Usage(
            wall_ms=round((ended - self._started) * 1000) if self._started else 0,
            cpu_ms=max(cpu_ms, round(self.watch.cpu_seconds * 1000)),
            peak_memory_bytes=peak,
            processes=max(1, self.watch.peak_processes),
            output_bytes=self._output_bytes,
            log_bytes_dropped=self._tail.dropped + self._log.dropped,
        )


def load_order(program: Program) -> bytes:
    """Return what a cell has to know to load a program, beside its source."""
    order = {
        "name": program.name,
        "path": program.path,
        "entry": program.entry,
        "folder": program.folder,
        "config": dict(program.config),
        "log_level": program.log_level,
        "sys_path": module_path(),
    }
    return json.dumps(order).encode()


def signal_name(status: int) -> str | None:
    """Return the name of the signal that ended a process, as "SIGSEGV"."""
    if not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def exit_code(status: int) -> int | None:
    """Return the exit status of a process that ended by itself."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
