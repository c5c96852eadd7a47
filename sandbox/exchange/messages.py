"""What the parent sends to a cell, and what a caller hears of it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolrunner.sandbox.frames import encode
from toolrunner.sandbox.input_files import InputFile
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.limits import MIB, Limits
from toolrunner.sandbox.profile import Program

# Runs in an examined plugin's place, from its source.
_EXAMINATION = Path(__file__).parents[1] / "inside" / "examination.py"


@dataclass(frozen=True, slots=True)
class Request:
    """What a call sends: the payload as JSON text, with the image beside it as raw bytes.

    ``files`` are put where its cell may read them, if its program takes files: in ``folder``, as
    the cell sees it, which whoever puts them there fills in. ``image_by_path``: the one file is
    its image.
    ``tool``: which one it is for, of a program that has several. ``traceparent``: of the span that
    the call is, as W3C's Trace Context has it.
    """

    call_id: str
    payload: bytes
    image: bytes | None = None
    files: tuple[InputFile, ...] | None = None
    folder: str = ""
    image_by_path: bool = False
    tool: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a caller hears during a call. Both may be called many times, in the call's thread."""

    on_progress: Callable[[float, str], None] = field(default=lambda _fraction, _message: None)
    on_log: Callable[[int, str, str], None] = field(default=lambda _level, _logger, _message: None)


def load_frame(
    program: Program, *, warms_up: bool, resident: bool, caches: bytes, wants_caches: bool
) -> list[bytes]:
    """Return the order to load a program: what a cell has to know of it, its source, its caches."""
    if program.examined:
        program = _in_its_place(program)
    order = load_order(
        program,
        warms_up=warms_up,
        resident=resident,
        caches=len(caches),
        wants_caches=wants_caches,
    )
    return encode(protocol.LOAD, order, program.source + caches)


def _in_its_place(program: Program) -> Program:
    """Return a program that loads this one, calls it, and returns what that took."""
    order = load_order(program, warms_up=True)
    text = _EXAMINATION.read_text(encoding="utf-8")
    source = f"{text}\nbegin({order!r}, {program.source!r})\n"
    return replace(
        program, entry="", command=(), folder="", rehearsal="", tools=(), source=source.encode()
    )


def load_order(
    program: Program,
    *,
    warms_up: bool,
    resident: bool = False,
    caches: int = 0,
    wants_caches: bool = False,
) -> bytes:
    """Return what a cell has to know to load a program, beside its source.

    ``warms_up``: it is loaded for many calls, so what they have in common is done first.
    ``resident``: this very process serves them, one after the other. ``caches``: the bytes of
    them that follow the source. ``wants_caches``: send back what the import writes there.
    """
    order = {
        "name": program.name,
        "path": program.path,
        "entry": program.entry,
        "command": list(program.command),
        "folder": program.folder,
        "network": program.network,
        "read": list(program.read),
        "absent": list(program.absent),
        "config": dict(program.config),
        "log_level": program.log_level,
        "sys_path": program.module_path,
        "package": program.package,
        "packages": program.python.packages if program.python else (),
        "warms_up": warms_up,
        "resident": resident,
        "rehearsal": program.rehearsal if warms_up else "",
        "caches": caches,
        "wants_caches": wants_caches,
        "batch": program.batch,
        "tools": program.tools,
        "install": program.install,
    }
    return json.dumps(order).encode()


def request_frame(request: Request, limits: Limits, deadline: float, batch: int = 1) -> list[bytes]:
    """Return a request; ``deadline`` is when its time is over, on the monotonic clock.

    ``batch``: how many requests the cell is to read before it begins, this one among them.
    """
    terms: dict[str, object] = {
        "call_id": request.call_id,
        "tool": request.tool,
        "has_image": request.image is not None,
        "deadline": deadline,
        "cpu_seconds": limits.cpu_seconds,
        "output_bytes": limits.output_mb * MIB,
        "batch": batch,
    }
    if request.traceparent:
        terms["traceparent"] = request.traceparent
    if request.files is not None:
        terms["folder"] = request.folder
        terms["image_by_path"] = request.image_by_path
        terms["files"] = [(file.name, file.mime_type, file.size) for file in request.files]
    # The payload is JSON text already, and may be large: it is not written a second time.
    head = json.dumps(terms).encode()[:-1] + b', "payload": ' + request.payload + b"}"
    return encode(protocol.REQUEST, head, request.image or b"")
