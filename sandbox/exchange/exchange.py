"""What all kinds of calls in a box have in common: the wait, what decides, the end.

Runs in the caller's thread, which waits for nothing but descriptors and the clock. The first thing
that decides the call (a reply, a limit, a cancel, an end, broken bytes) is kept; after it, the
call only has to end: by itself within a grace, else by the warden's kill.

A kind of call says what comes after each step that its cell has taken: ``on_placed``,
``on_confined``, ``on_loaded``, ``on_replied``.
"""

from __future__ import annotations

import abc
import contextlib
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum

from toolrunner.sandbox.box import setup_failure
from toolrunner.sandbox.capture import LogLines, Tail
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.channel import Channel, parse_object, parse_progress, parse_raised
from toolrunner.sandbox.ending import (
    ARTIFACTS,
    Ending,
    Isolation,
    LimitHit,
    Raised,
    Reply,
    Returned,
    SetupFailure,
    Stage,
    Unserializable,
)
from toolrunner.sandbox.exchange.artifacts import ArtifactSet
from toolrunner.sandbox.exchange.facts import CLOSED, Facts
from toolrunner.sandbox.exchange.messages import Listener, Request, request_frame
from toolrunner.sandbox.exchange.stack import taken_out
from toolrunner.sandbox.frames import FrameError, ReplyTooLargeError
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.polling import wait
from toolrunner.sandbox.shortage import remedy_of
from toolrunner.sandbox.turn import Turn
from toolrunner.sandbox.watch import Watch

SETUP_SECONDS = 15.0
GRACE_SECONDS = 0.1
KILL_SECONDS = 2.0
# For a cell whose time is over to write where it is; all that it does then counts no more.
WHERE_SECONDS = 0.02
_OF_TIME = frozenset({"wall_seconds", "cpu_seconds", "load_seconds"})


class Step(IntEnum):
    """How far an exchange has come."""

    PLACING, CONFINING, LOADING, RUNNING, ENDING, ASKED, KILLED, OVER = range(8)


class Exchange(abc.ABC):
    """The state of one call. Made for one ``run``."""

    setup_seconds = SETUP_SECONDS  # for each of being placed and being confined
    grace_seconds = GRACE_SECONDS  # from the reply, or the end of the channel, to the end
    outlived = False  # the process goes on: a call ends with its channel, and used the difference
    may_leave = False  # a call ends with its channel; others see to the end of its process

    def __init__(
        self,
        cell: Cell | Turn,
        interrupt: Interrupt,
        listener: Listener,
        isolation: Isolation,
        *,
        calls: int = 1,
    ) -> None:
        """``calls``: how many it serves at once. Each of them may use its processor time."""
        self._cell = cell
        own = cell.box.limits
        self._limits = limits = (
            own if calls == 1 else replace(own, cpu_seconds=own.cpu_seconds * calls)
        )
        self._interrupt = interrupt
        self._listener = listener
        self._isolation = isolation
        self.left = False  # the call is over, its process may be there still
        self._tail = Tail(limits.log_kb * 1024)
        self._log = LogLines(limits.log_kb * 1024, listener.on_log)
        self._step = Step.PLACING
        self._was_asked = False
        self._deadline = time.monotonic() + self.setup_seconds
        self._facts = Facts()
        self._channel = Channel(
            cell.channel,
            limits.output_mb * MIB,
            calls,
            artifacts_cap=limits.artifacts_mb * MIB,
        )
        self._artifacts = ArtifactSet()  # of the reply that is to come
        self._poll = select.poll()
        self._listening = 0
        self.watch = Watch(
            limits,
            cell.members,
            interrupt.hit,
            cell.scratch_bytes,
            scratch_is_memory=cell.box.scratch_is_memory,
            group=cell.group,
            cpu=cell.cpu,
        )

    def run(self) -> Ending:
        """Serve the call to its end. Raises nothing that the plugin or the host can cause."""
        cell = self._cell
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._interrupt)
            except OSError as error:
                cell.order_kill()
                remedy = remedy_of(error)
                self._facts.setup = SetupFailure(
                    "wait for the cell", str(error), error.errno, remedy
                )
                return self._ending()
            for waited_for in (cell.output, cell.log, cell.status, self._interrupt):
                self._poll.register(waited_for, select.POLLIN)
            try:
                self.begin()
                while self._step is not Step.OVER:
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
        cell.check_it_is_ours()
        self._listen_to_the_channel()
        left = self._deadline - time.monotonic()
        ready = wait(self._poll, max(0.0, left))
        if self._interrupt.fileno() in ready:
            self._poll.unregister(self._interrupt)
            self._interrupted()
        if cell.status.fileno() in ready:
            self._hear_warden()
        if cell.output in ready and not self._tail.read(cell.output):
            self._ignore(cell.output)
        if cell.log in ready and not self._log.read(cell.log):
            self._ignore(cell.log)
        if self._channel.fileno() in ready and self._step is not Step.OVER:
            self._channel.send_more()
            self.receive()
        if time.monotonic() >= self._deadline:
            self._time_over()

    def _listen_to_the_channel(self) -> None:
        """Wait for as much of the channel as matters now.

        Nothing of a cell counts before it is in its place, nor once its time is over.
        """
        wanted = 0
        if not self._channel.closed and Step.PLACING < self._step < Step.ASKED:
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
        return self._facts.report is not None

    def _ending(self) -> Ending:
        dropped = self._tail.dropped + self._log.dropped
        where, text = "", self._tail.text()
        if self._was_asked or self._facts.has_crashed:
            where, text = taken_out(text)
        return self._facts.ending(
            self.watch, self._isolation, text, dropped, where=where, outlived=self.outlived
        )

    # --- what a kind of call decides -------------------------------------------------------

    def begin(self) -> None:  # noqa: B027 - most kinds have nothing to do
        """The wait begins; a cell that has been ordered tells of itself."""

    @abc.abstractmethod
    def on_placed(self) -> None:
        """The cell is in its place: order what it has to do before it may be believed no more."""

    @abc.abstractmethod
    def on_confined(self) -> None:
        """The cell has given up its rights. From here on it is not believed."""

    def on_loaded(self) -> None:
        """The cell has loaded the plugin."""
        message = f"a frame {protocol.LOADED!r} that was not due"
        raise FrameError(message)

    def on_left(self, kind: bytes, _body: bytes) -> None:
        """The import has left something that makes the next one faster: CACHES or SOURCES."""
        message = f"a frame {kind!r} that was not due"
        raise FrameError(message)

    def is_last(self, _reply: Reply, _size: int) -> bool:
        """Take note of a reply; tell whether it is the last that is due."""
        return True

    def on_replied(self) -> None:
        """The reply has come; the cell only has to end."""
        self.next(Step.ENDING, self.grace_seconds)

    # --- what it does it with --------------------------------------------------------------

    def next(self, step: Step, seconds: float) -> None:
        """Go on to a step, which may last so long."""
        self._step = step
        self._deadline = time.monotonic() + seconds

    def finish(self) -> None:
        """End the exchange here; the cell goes on."""
        self._step = Step.OVER

    def begin_load(self) -> None:
        """The plugin is being imported from now on."""
        self._facts.stage = Stage.LOAD
        self.next(Step.LOADING, self._limits.load_seconds)

    def send(self, frame: list[bytes]) -> None:
        """Send a frame to the cell, or as much as it takes; the rest follows."""
        self._channel.send(frame)

    def send_request(self, *requests: Request, fresh: bool) -> bool:
        """Begin the call in its cell; tell whether there is one. ``fresh``: it serves no other.

        More than one request are a batch.
        """
        if self._cell.is_gone():
            self._box_gone()
            return False
        self.watch.request_sent(fresh=fresh)
        self._facts.stage = Stage.RUN
        self._facts.started = time.monotonic()
        self.next(Step.RUNNING, self._limits.wall_seconds)
        for request in requests:
            self.send(request_frame(request, self._limits, self._deadline, len(requests)))
        return True

    # --- what decides the call -------------------------------------------------------------

    def _decided(self) -> bool:
        return self._step >= Step.ENDING

    def _kill(self) -> None:
        """Order the end of the whole group; the warden's report of it ends the call."""
        if self._step < Step.KILLED:
            self._facts.killed = True
            self._cell.order_kill()
            self.next(Step.KILLED, KILL_SECONDS)

    def _ask_and_kill(self) -> None:
        """Order the end of a call, of one that has passed a limit of time after its last words."""
        limit = self._facts.limit
        if self._was_asked or limit is None or limit.name not in _OF_TIME:
            self._kill()
            return
        self._was_asked = True
        self._cell.order_where()
        self.next(Step.ASKED, WHERE_SECONDS)

    def _interrupted(self) -> None:
        if self._step is Step.ASKED:
            self._kill()
        if self._decided():
            return
        if self._interrupt.cancelled:
            self._facts.cancelled = True
        else:
            self._facts.limit = self._interrupt.limit
        self._ask_and_kill()

    def _time_over(self) -> None:
        limits = self._limits
        if self._step in (Step.PLACING, Step.CONFINING):
            words = f"no word of it in {self.setup_seconds:g} s"
            self._facts.setup = SetupFailure("place the cell", words)
            if not self._cell.pid:
                # There is no process yet that could be killed, and the box is used no more.
                self._step = Step.OVER
                return
        elif self._step is Step.LOADING:
            self._facts.limit = LimitHit("load_seconds", limits.load_seconds, limits.load_seconds)
        elif self._step is Step.RUNNING:
            observed = time.monotonic() - self._facts.started
            self._facts.limit = LimitHit("wall_seconds", limits.wall_seconds, observed)
        elif (
            self._step is Step.ENDING
            and self._facts.reply is None
            and self._facts.protocol_error is None
        ):
            self._facts.protocol_error = CLOSED
        elif self._step is Step.KILLED:
            # A warden that does not answer is ended from outside, with all that it holds.
            self._cell.box.destroy()
            self._step = Step.OVER
            return
        self._ask_and_kill()

    def _broken(self, message: str) -> None:
        """The reply channel's bytes are no reply: nothing more on it counts."""
        if self._step < Step.ENDING or self._facts.reply is not None:
            self._facts.reply = None
            self._facts.protocol_error = message
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
        elif event["event"] == "used":
            self.watch.reaped(_seconds(event))
        elif event["event"] == "exit":
            self._facts.report = event
            self.receive()
            self._judge_end(event)
            self._step = Step.OVER
        elif event["event"] == "failed" and self._facts.stage is Stage.SETUP:
            self._facts.setup = setup_failure(event)
            self._step = Step.OVER

    def _judge_end(self, report: Mapping[str, object]) -> None:
        """See to limits that were passed between two samples, now that all has been counted."""
        facts = self._facts
        unexplained = report["status"] == signal.SIGKILL and not facts.killed
        hit = self.watch.ended(
            _seconds(report), unexplained=unexplained, replied=facts.reply is not None
        )
        self._note(hit)

    def _placed(self, pid: object) -> None:
        assert isinstance(pid, int)
        self._cell.pid = pid
        if self._decided():
            self._cell.order_kill()  # it was not there yet when it was ordered first
            return
        self.next(Step.CONFINING, self.setup_seconds)
        self.on_placed()

    def _box_gone(self) -> None:
        """The warden ended before the call did. Nothing of the box can be left."""
        if not self._decided():
            message = "the box's first process ended unexpectedly"
            self._facts.setup = SetupFailure("run the box", message)
        self._step = Step.OVER

    # --- the call channel ------------------------------------------------------------------

    def receive(self) -> None:
        """Act on the frames that have come, and on the channel's end."""
        try:
            for kind, body in self._channel.receive():
                # Decided otherwise: late frames change nothing.
                if self._step < Step.ASKED:
                    self._frame(kind, body)
        except ReplyTooLargeError as error:
            self._too_large(error)
        except FrameError as error:
            self._broken(str(error))
        if self._channel.closed:
            self._channel_ended()

    def _too_large(self, error: ReplyTooLargeError) -> None:
        """A reply, or what comes with it, is larger than allowed: nothing of it counts."""
        if not self._decided():
            if error.limit == ARTIFACTS:
                self._facts.limit = LimitHit(ARTIFACTS, protocol.MOST_ARTIFACTS, error.size)
            else:
                self._facts.output_bytes += error.size
                most = getattr(self._limits, error.limit)
                self._facts.limit = LimitHit(error.limit, most, error.size / MIB)
        self._kill()

    def _channel_ended(self) -> None:
        """No byte can come any more: what is not there now is not there at all."""
        if not self._decided():
            if self._channel.was_cut_off:
                self._facts.protocol_error = "the reply was cut off"
            # It has most likely ended: how it did says more than the missing reply.
            self.next(Step.ENDING, self.grace_seconds)
        elif self._step is Step.ENDING and self._facts.reply is not None:
            if self.outlived:
                self._note(self.watch.turn_ended())
                self.finish()
            elif self.may_leave and self._facts.report is None and self.watch.is_alone():
                self._leave()
        if not self.outlived:
            self._channel.let_go()

    def _leave(self) -> None:
        """End the call here, while its process, all that there is of it, waits to be let go."""
        hit = self.watch.answered()
        if hit is not None:
            self._note(hit)
            self._kill()
        else:
            self.left = True
            self.finish()

    def _note(self, hit: LimitHit | None) -> None:
        """Take in a limit that was passed, if it is the first."""
        if hit is not None and not self._facts.cancelled and self._facts.limit is None:
            self._facts.limit = hit

    def _frame(self, kind: bytes, body: bytes) -> None:
        step = self._step
        if step is Step.CONFINING and kind == protocol.CONFINED:
            self.watch.confined()
            self.on_confined()
        elif step is Step.CONFINING and kind == protocol.FAILED:
            # No call has run in the cell yet, so this can be believed.
            self._facts.setup = setup_failure(parse_object(body))
            self._kill()
        elif step is Step.LOADING and kind == protocol.LOADED:
            self.on_loaded()
        elif step is Step.LOADING and kind in {protocol.CACHES, protocol.SOURCES}:
            self.on_left(kind, body)
        elif step is Step.RUNNING and kind == protocol.PROGRESS:
            self._listener.on_progress(*parse_progress(body))
            self._cell.check_it_is_ours()
            if time.monotonic() >= self._deadline:
                self._time_over()  # there may be any number of reports in one turn of the loop
        elif step is Step.RUNNING and kind == protocol.ARTIFACT:
            self._artifacts.add(body)
        elif (step is Step.RUNNING) or (step is Step.LOADING and kind == protocol.RAISED):
            self._accept(kind, body)
        else:
            message = f"a frame {kind!r} that was not due"
            raise FrameError(message)

    def _accept(self, kind: bytes, body: bytes) -> None:
        """Take the reply, or one of a batch."""
        facts = self._facts
        given, self._artifacts = self._artifacts, ArtifactSet()
        reply = _reply(kind, body, given)
        if isinstance(reply, Raised) and reply.claims:
            # While its process waits to be let go, all is as it was when the program ended.
            self.watch.look_closely(self._cell.box.scratch_measure(self._cell.slot))
        size = len(body) + given.size
        facts.output_bytes += size
        if not self.is_last(reply, size):
            return
        facts.replied = time.monotonic()
        facts.reply = reply
        # What it printed is in the pipes by now, and read at the end.
        self._ignore(self._cell.output)
        self._ignore(self._cell.log)
        self.on_replied()


def _reply(kind: bytes, body: bytes, given: ArtifactSet) -> Reply:
    """Return a reply; what was given back counts with a result alone."""
    if kind == protocol.RETURNED:
        return Returned(body, given.all())
    if kind == protocol.UNSERIALIZABLE:
        return Unserializable(body.decode("utf-8", "replace"))
    if kind == protocol.RAISED:
        return parse_raised(body)
    message = f"a frame {kind!r} that was not due"
    raise FrameError(message)


def _seconds(event: Mapping[str, object]) -> float:
    milliseconds = event["cpu_ms"]
    assert isinstance(milliseconds, int)
    return milliseconds / 1000
