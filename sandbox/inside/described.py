"""What the parent is told of an exception that a plugin has raised, whatever that does to hide it.

Called by the worker, in the plugin's process: an exception's own methods may raise, or lie.
"""

from __future__ import annotations

import os

from . import hints, mistakes, protocol

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_FIRST_OWN_DESCRIPTOR = 5  # below are input, output, errors, channel and log
_FOR_THE_CALLER = "InvalidInput"  # by which a plugin blames its caller
_OURS = (f"{__package__}.", "asyncio.")


def describe(error: BaseException, order: dict[str, Any]) -> dict[str, object]:
    """Return what the parent shows of an exception, whatever its own methods do.

    ``order``: the one to load the plugin.
    """
    kind = type(error)  # not isinstance, which asks the object itself
    message = attempt(lambda: str(error), "<no text: __str__ of the exception failed>")
    number = attempt(lambda: getattr(error, "errno", None), None)
    claims = attempt(lambda: getattr(error, "claims", ""), "")
    return {
        "exception": cut(class_name(error), 200),
        "message": cut(with_advice(message, error, order), protocol.MESSAGE_CAP),
        "traceback": tail(traceback_of(error), protocol.TRACEBACK_CAP),
        "errno": number if issubclass(kind, OSError) and type(number) is int else None,
        "is_memory_error": issubclass(kind, MemoryError),
        "cannot_start_thread": issubclass(kind, RuntimeError)
        and message == "can't start new thread",
        "blames_caller": blames_caller(error),
        "claims": claims if type(claims) is str and order["command"] else "",
    }


def with_advice(message: str, error: BaseException, order: dict[str, Any]) -> str:
    """Return a message with what to do about it behind, unless it is for the caller.

    Of a program that is no Python, only its own words are known.
    """
    if order["command"] or blames_caller(error):
        return message  # a caller can set nothing
    advice = attempt(lambda: hints.hint(error, order) or mistakes.hint(error, order), "")
    return message + advice if message else advice.removeprefix("; ")


def attempt(function: Callable[[], T], otherwise: T) -> T:
    """Return what a function gives that may be a plugin's own code, and raise anything."""
    try:
        return function()
    except BaseException:  # noqa: BLE001 - a plugin's own code raises anything
        return otherwise


def blames_caller(error: BaseException) -> bool:
    """Tell whether an exception is of a class named so, or of one that is derived from it."""
    classes = type.__dict__["__mro__"].__get__(type(error))
    return any(type.__dict__["__name__"].__get__(one) == _FOR_THE_CALLER for one in classes)


def class_name(error: BaseException) -> str:
    """Return the name of an exception's class, past a metaclass that would say another."""
    return str(type.__dict__["__name__"].__get__(type(error)))


def traceback_of(error: BaseException) -> str:
    """Return the traceback from the plugin's first frame on."""
    frames = BaseException.__dict__["__traceback__"].__get__(error)
    while frames is not None and is_ours(frames.tb_frame.f_globals.get("__name__")):
        frames = frames.tb_next

    def show() -> str:
        import traceback

        return "".join(traceback.format_exception(type(error), error, frames))

    shown = attempt(show, "")
    if not shown:
        # The plugin may have used up its descriptors, and needs none of them any more.
        os.closerange(_FIRST_OWN_DESCRIPTOR, 1 << 20)
        shown = attempt(show, f"{class_name(error)}: its traceback cannot be shown\n")
    return shown


def is_ours(module: object) -> bool:
    """Tell whether a frame is the worker's, or of the loop that it runs a coroutine on."""
    return isinstance(module, str) and module.startswith(_OURS)


def cut(text: str, cap: int) -> str:
    """Return the beginning of a text, at most ``cap`` bytes of UTF-8, whatever it holds."""
    return text.encode("utf-8", "backslashreplace")[:cap].decode("utf-8", "ignore")


def tail(text: str, cap: int) -> str:
    """Return the end of a text, at most ``cap`` bytes of UTF-8."""
    return text.encode("utf-8", "backslashreplace")[-cap:].decode("utf-8", "ignore")
