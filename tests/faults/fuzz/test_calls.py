"""A whole call against hostile bytes: the exchange, its verdict, and what the caller is given.

The parent's side is the product's, with its real sockets and pipes; the test has the warden's and
the cell's ends, and has said everything before the exchange begins. So nothing ever waits.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import zlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fuzz.mutator import Mutator, try_each
from tests.faults.fuzz.test_frames import FINALS, MIDDLES, Frames, artifact, frame, refused
from toolrunner.runner.errors import ErrorType, GovernedError, build_error_envelope
from toolrunner.runner.payloads.strict_json import loads
from toolrunner.runner.payloads.validation import parse_result
from toolrunner.runner.verdict import judge
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.box import Box
from toolrunner.sandbox.box_users import BoxUsers
from toolrunner.sandbox.cell import Cell
from toolrunner.sandbox.channel import parse_progress
from toolrunner.sandbox.ending import (
    Ending,
    Isolation,
    LimitHit,
    Raised,
    Returned,
    SetupFailure,
    Stage,
    Unserializable,
)
from toolrunner.sandbox.exchange.artifacts import parse_artifact
from toolrunner.sandbox.exchange.cold import ColdExchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.exchange.warm import WarmExchange
from toolrunner.sandbox.frames import FrameError
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import LIMIT_NAMES, MIB, Limits
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.spawn import MESSAGE_SOCKET, Spawner

CALLS_A_SLICE = 200
LIMITS = Limits(output_mb=1, artifacts_mb=1, log_kb=4)
CONFINED, LOADED, HALF, DONE, *_ = MIDDLES
PICTURE = artifact("a.png", b"picture")
CORPUS = (
    *(CONFINED + LOADED + HALF + DONE + final for final in FINALS),
    *(CONFINED + HALF + final for final in FINALS),
    CONFINED + LOADED + frame(protocol.RETURNED, b"[" * 2000),
    CONFINED + LOADED + protocol.HEADER.pack(protocol.RETURNED, MIB + 1),
    CONFINED + frame(protocol.RETURNED, b'{"a": NaN}'),
    CONFINED + frame(protocol.RAISED, b'{"exception": "\\ud800", "message": "", "traceback": ""}'),
    MIDDLES[4] + LOADED,
    *(CONFINED + LOADED + PICTURE + HALF + artifact("b", b"x") + final for final in FINALS),
    CONFINED + LOADED + PICTURE + PICTURE + FINALS[0],
    CONFINED + LOADED + artifact("../a", b"") + FINALS[0],
    CONFINED + LOADED + artifact("a", b"", "text/html\r\nX: y") + FINALS[0],
    CONFINED + LOADED + FINALS[0] + PICTURE,
    CONFINED + PICTURE + LOADED + FINALS[0],
    CONFINED + LOADED + artifact("a", bytes(MIB + 1))[:200],
    CONFINED + LOADED + b"".join(artifact(f"a{n}", b"") for n in range(65)) + FINALS[0],
    CONFINED + LOADED + PICTURE[:-1],
)
# What hostile bytes may come to. Nobody cancelled, and nothing of ours failed.
NEVER = {ErrorType.CANCELLED, ErrorType.INTERNAL_ERROR, ErrorType.TIME_LIMIT_EXCEEDED}
STATUSES = (0, 1 << 8, 9, 11, 64, 0x8B)


def ended_call(data: bytes, *, is_warm: bool) -> Ending:
    """Return how a call ends whose cell says ``data`` and nothing else."""
    random = Random(zlib.crc32(data))
    with contextlib.ExitStack() as stack:
        ours, warden = socket.socketpair(socket.AF_UNIX, MESSAGE_SOCKET)
        stack.enter_context(ours)
        stack.enter_context(warden)
        box = Box(Spawner(), Program("sample", "/sample.py"), LIMITS, Layers(), BoxUsers())
        box._control = ours
        cell = stack.enter_context(Cell(box, 1, 1))
        _, ancillary, _, _ = warden.recvmsg(4096, socket.CMSG_SPACE(4 * 4))
        channel, output, log, status = array.array("i", ancillary[0][2])
        for descriptor in (channel, output, log, status):
            stack.callback(os.close, descriptor)
        for sink, said in ((output, data[:3000]), (log, data[:3000]), (channel, data)):
            os.write(sink, said)
        if random.random() < 0.5:
            os.write(log, b"\n")
        for event in (
            {"event": "placed", "pid": 0},
            {"event": "exit", "status": random.choice(STATUSES), "cpu_ms": 1, "maxrss_kib": 1},
        ):
            os.write(status, json.dumps(event).encode() + b"\n")
        terms = (cell, Interrupt(), Listener(check_progress, check_log), Isolation())
        request = Request("call", b"{}")
        if is_warm:
            warm = WarmExchange(*terms, request=request, on_sent=lambda: None, may_leave=False)
            return warm.run()
        program = Program("sample", "/sample.py")
        return ColdExchange(*terms, program=program, request=request, may_leave=False).run()


def check_progress(fraction: float, message: str) -> None:
    """What a caller hears of progress is of its types, and in its range."""
    assert type(fraction) is float
    assert 0 <= fraction <= 1
    assert type(message) is str


def check_log(level: int, logger: str, message: str) -> None:
    """What a caller hears of logging is of its types, and in its range."""
    assert 0 <= level <= 50
    assert type(logger) is type(message) is str


def reply_in(data: bytes, *, is_warm: bool) -> Returned | None:
    """Return the reply that ``data`` gives to a call, if the protocol allows every byte of it."""
    frames, why, _ = refused(data, MIB, MIB)
    signs = [protocol.CONFINED] if is_warm else [protocol.CONFINED, protocol.LOADED]
    begins = [kind for kind, _ in frames[: len(signs)]] == signs
    middle = frames[len(signs) : -1]
    if why or not begins or len(frames) == len(signs):
        return None
    kind, body = frames[-1]
    given = artifacts_in(middle)
    return Returned(body, given) if kind == protocol.RETURNED and given is not None else None


def artifacts_in(frames: Frames) -> tuple[Artifact, ...] | None:
    """Return the artifacts among reports of progress; ``None`` if there is anything else."""
    found = []
    try:
        for kind, body in frames:
            if kind == protocol.ARTIFACT:
                found.append(parse_artifact(body))
            elif kind != protocol.PROGRESS or not parse_progress(body):
                return None
    except FrameError:
        return None
    return tuple(found) if len({one.name for one in found}) == len(found) else None


def check_call(data: bytes) -> int:
    """Run both kinds of call; the bytes alone say what is a reply."""
    for is_warm in (False, True):
        ending = ended_call(data, is_warm=is_warm)
        wanted = reply_in(data, is_warm=is_warm)
        assert (ending.reply if isinstance(ending.reply, Returned) else None) == wanted
        check_outcome(ending)
        assert judge(ending).error_type not in NEVER
    return 2


def check_outcome(ending: Ending) -> None:
    """An ending comes to a reply's bytes or to one type, and its envelope is strict JSON."""
    outcome = judge(ending)
    if outcome.error_type is None:
        assert outcome.result_body is not None
        assert isinstance(ending.reply, Returned)
        assert outcome.artifacts == ending.reply.artifacts
        with contextlib.suppress(GovernedError):
            parse_result(outcome.result_body)
        return
    assert outcome.result_body is None
    assert outcome.artifacts == ()
    envelope = build_error_envelope(
        outcome.error_type,
        outcome.message,
        plugin="sample",
        call_id="call",
        usage=ending.usage,
        isolation=ending.isolation,
        details=outcome.details,
        traceback=outcome.traceback,
    )
    text = json.dumps(envelope, ensure_ascii=False, allow_nan=False).encode()
    assert loads(text) == envelope


@pytest.mark.usefixtures("part")
def test_a_call_ends_in_its_reply_or_in_one_typed_error(
    seed: str, mutator: Mutator, count: Callable[[str, int], None]
) -> None:
    """Only what the protocol allows, byte for byte, becomes a result."""
    random = mutator.random
    orders = [random.choices((*MIDDLES, *FINALS), k=4) for _ in range(len(CORPUS))]
    corpus = [*CORPUS, *map(b"".join, orders)]
    count("calls", try_each(seed, mutator.cases(corpus, CALLS_A_SLICE // 2), check_call))


@given(st.lists(st.sampled_from(MIDDLES), min_size=1, max_size=3), st.sampled_from(FINALS))
def test_frames_in_any_order_are_a_reply_only_in_the_right_one(
    middles: list[bytes], final: bytes
) -> None:
    """Each of them is sound by itself."""
    check_call(b"".join(middles) + final)


@pytest.mark.parametrize("data", CORPUS, ids=range(len(CORPUS)))
def test_calls_that_failed_once(data: bytes) -> None:
    """Whoever wrote them, and however they came up."""
    check_call(data)


_TEXTS = st.text(alphabet=st.characters(), max_size=20)
_NUMBERS = st.none() | st.integers()
_ENDINGS = st.builds(
    Ending,
    stage=st.sampled_from(Stage),
    setup=st.none() | st.builds(SetupFailure, _TEXTS, _TEXTS, _NUMBERS, _TEXTS),
    cancelled=st.booleans(),
    limit=st.none()
    | st.builds(LimitHit, st.sampled_from(LIMIT_NAMES) | _TEXTS, st.floats(), st.floats()),
    signal=st.none() | st.sampled_from(["SIGKILL", "SIGXCPU", "SIGSEGV", "SIG64"]) | _TEXTS,
    exit_code=_NUMBERS,
    killed=st.booleans(),
    protocol_error=st.none() | _TEXTS,
    reply=st.none()
    | st.builds(Returned, st.binary(max_size=20))
    | st.builds(Unserializable, _TEXTS)
    | st.builds(
        Raised,
        _TEXTS | st.sampled_from(["InvalidInput", "OSError", "BlockingIOError"]),
        _TEXTS,
        _TEXTS,
        _NUMBERS | st.sampled_from([11, 28]),
        st.booleans(),
        st.booleans(),
    ),
    log_tail=_TEXTS,
    details=st.dictionaries(_TEXTS, _TEXTS, max_size=2),
)


@given(_ENDINGS)
def test_every_ending_comes_to_one_outcome(ending: Ending) -> None:
    """Whatever facts come together, even such as never should."""
    check_outcome(ending)
