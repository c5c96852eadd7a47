"""Logs ten thousand long records."""

import logging


def run(payload):
    for number in range(10_000):
        logging.getLogger("flood").warning("%d %s", number, "x" * 400)
    return {}
