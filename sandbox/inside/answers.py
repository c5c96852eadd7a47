"""What the worker says of what a plugin has returned or raised: frames for the parent.

Runs beside hostile code, as all of the worker: nothing here protects anybody.
"""

from __future__ import annotations

from . import forgotten, jsonable, protocol
from .described import cut, describe

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .artifacts import Artifacts


def answer(
    run: Callable[[], object], order: dict[str, Any], artifacts: Artifacts
) -> tuple[bytes, object]:
    """Run a plugin; return the kind and the body of the frame that says what came of it.

    ``order``: what it was loaded by. ``artifacts``: its own, sent by then.
    """
    try:
        encoded = jsonable.encode(run(), artifacts.attach)
        artifacts.check()
        forgotten.tell(encoded, artifacts, order)
        return protocol.RETURNED, encoded
    except jsonable.NotJsonError as error:
        return protocol.UNSERIALIZABLE, cut(str(error), protocol.MESSAGE_CAP).encode()
    except BaseException as error:
        return protocol.RAISED, describe(error, order)


def answers(
    run: Callable[[], object], count: int, order: dict[str, Any], artifacts: Artifacts
) -> Iterator[tuple[bytes, object]]:
    """Run a plugin on ``count`` payloads at once; yield what came of each, in order.

    Among what it returns, an exception is what came of one; what it raises came of all.
    """
    try:
        returned = run()
        can_be_iterated = hasattr(type(returned), "__iter__") or hasattr(returned, "__getitem__")
        if isinstance(returned, (dict, str, bytes)) or not can_be_iterated:
            found = [f"an object of type {type(returned).__name__}"]
        else:
            results = list(returned)  # type: ignore[call-overload]  # it has just been looked at
            results_are = "1 result" if len(results) == 1 else f"{len(results)} results"
            found = [] if len(results) == count else [results_are]
    except BaseException as error:
        yield from [(protocol.RAISED, describe(error, order))] * count
        return
    if found:
        message = (
            f"run_batch returned {found[0]} for {count} payloads; return a list of a result each"
        )
        yield from [(protocol.UNSERIALIZABLE, cut(message, protocol.MESSAGE_CAP).encode())] * count
        return
    for result in results:
        yield answer_of(result, order, artifacts.anew())


def answer_of(result: object, order: dict[str, Any], artifacts: Artifacts) -> tuple[bytes, object]:
    """Return the frame for one of the results of a batch."""
    if issubclass(type(result), BaseException):
        return protocol.RAISED, describe(result, order)  # type: ignore[arg-type]  # not isinstance, which asks the object
    return answer(lambda: result, order, artifacts)
