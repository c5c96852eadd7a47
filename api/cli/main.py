"""The command ``toolrunner``: where every outcome, fault and bug becomes an exit status.

The console script and ``python -m toolrunner`` call ``main``. It never lets a traceback out, unless
``--debug`` asks for it.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback

HOST_FAULT = 3
INTERRUPTED = 130
READER_LEFT = 141  # 128 + SIGPIPE, as programs end that do not handle it


def main() -> int:
    """Run the command line and return the exit status."""
    _open_streams()
    try:
        status = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:  # noqa: BLE001 - the one place where bugs become an exit status
        return _failed(error)
    return status


def _open_streams() -> None:
    """Put /dev/null in place of standard streams that are closed (``>&-``).

    Nobody wants to hear what goes there, and nothing else may be opened under such a number: what
    is meant for a stream would be written to it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # As Python's own, it is never closed: closing it would close the descriptor.
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _run() -> int:
    # Imports leave hardly any garbage, and looking for it takes a quarter of their time.
    gc.disable()
    # Imported here, so that an interrupt during the imports, or one that fails, is met as well.
    from toolrunner.api.cli.app import app  # noqa: PLC0415 - see above
    from toolrunner.api.cli.exits import Interrupted, ReaderLeft  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # real streams
    try:
        app(prog_name="toolrunner")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Interrupted:
        raise KeyboardInterrupt from None
    except ReaderLeft:
        raise BrokenPipeError from None
    return 0


def _interrupted() -> int:
    _say("interrupted; whatever ran was killed")
    return INTERRUPTED


def _reader_left() -> int:
    """End quietly: whoever read our output has had enough of it."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(devnull, descriptor)  # else the interpreter complains when it flushes at its end
    return READER_LEFT


def _failed(error: Exception) -> int:
    if isinstance(error, ModuleNotFoundError):
        # A checkout whose requirements are not there: nothing of ours can be asked for words.
        _say(
            f"toolrunner: Python has no module {error.name!r} here: install toolrunner-sandbox, or "
            "run scripts/quickstart in a clone and use .venv/bin/toolrunner"
        )
        return HOST_FAULT
    from toolrunner.api.cli.exits import Refused, judged  # noqa: PLC0415 - as in _run
    from toolrunner.runner.errors import harmless  # noqa: PLC0415 - as in _run

    if "--debug" in sys.argv and not isinstance(error, Refused):
        _say(harmless("".join(traceback.format_exception(error))))
    status, words = judged(error)
    _say(f"toolrunner: {words}")
    return status


def _say(words: str) -> None:
    try:
        print(words, file=sys.stderr, flush=True)  # noqa: T201 - the last words of a program
    except OSError:
        _reader_left()


if __name__ == "__main__":
    sys.exit(main())
