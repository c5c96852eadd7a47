"""Raises what no ordinary handler catches."""

import os
import signal
import time


class Own(BaseException):
    pass


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def throw(error):
    raise error


VARIANTS = {
    "BaseException": lambda: throw(BaseException()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "Own": lambda: throw(Own()),
    "SIGINT": interrupt,
    "ExceptionGroup": lambda: throw(ExceptionGroup("x", [ExceptionGroup("y", [ValueError()])])),
}


def run(payload):
    VARIANTS[payload["variant"]]()
