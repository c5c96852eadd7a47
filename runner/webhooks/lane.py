"""Posts what waits for one address until it is taken, in a thread of its own.

So an address that is slow, or fails, holds up nobody else. One that fails rests, the longer the
oftener it does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolrunner.runner.trouble import Trouble
from toolrunner.runner.webhooks.addresses import told
from toolrunner.runner.webhooks.message import Shown, headers
from toolrunner.runner.webhooks.outbox import Delivery, Outbox
from toolrunner.runner.webhooks.schedule import MOST_SECONDS, asked_seconds, next_delay
from toolrunner.runner.webhooks.sender import Answer, Sender
from toolrunner.runner.webhooks.signing import Secrets
from toolrunner.sandbox.shortage import started

_LOG = logging.getLogger("toolrunner.webhooks")
PAUSE_SECONDS = 10.0
_FIRST_ERROR_STATUS = 300
_GONE = 410


@dataclass(frozen=True, slots=True)
class Means:
    """What all lanes of a process post with, and by which schedule."""

    outbox: Outbox
    secrets: Secrets
    shown: Shown
    delays: Sequence[float]
    resting: Callable[[int, float], float]


class Lane:
    """One address, as this process posts to it; ``start`` it once."""

    def __init__(self, url: str, means: Means) -> None:
        """Nothing is posted yet."""
        self._url = url
        self._means = means
        self._sender = Sender()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()
        self._is_draining = False
        self._is_ended = False
        # How the address has done, as seen by this process.
        self._works = False
        self._failures = 0
        self._trouble = Trouble(
            _LOG,
            OSError,
            f"webhook {told(url)} waits for what fails now",
            f"webhook {told(url)} is posted to again",
        )

    def start(self) -> None:
        """Begin to post; raises NoThreadError."""
        self._thread = started(self._work, "toolrunner-webhook")

    def wake(self) -> None:
        """Look for messages now, and try again what has failed here."""
        self._changed.set()

    def drain(self) -> None:
        """Post what is due, and no more."""
        self._is_draining = True
        self._changed.set()

    def end(self) -> None:
        """Post nothing more, and break what is being posted."""
        self._is_ended = True
        self._changed.set()
        self._sender.cut()

    def wait(self, seconds: float) -> None:
        """Wait for its thread, for at most so long."""
        if self._thread is not None:
            self._thread.join(max(seconds, 0.0))

    def _work(self) -> None:
        while not self._is_ended:
            is_last = self._is_draining  # read first: what was due by then is posted
            is_busy = self._trouble.attempt(self._deliver)
            if is_last and not is_busy:
                return
            if not is_busy:
                tick_seconds = self._means.outbox.tick_seconds
                self._changed.wait(PAUSE_SECONDS if is_busy is None else tick_seconds)
                self._changed.clear()

    def _deliver(self) -> bool:
        """Post one message, if there is one; whether there was."""
        means = self._means
        secrets = means.secrets.of(self._url)
        delivery = means.outbox.take(self._url)
        if delivery is None:
            return False
        body = delivery.message.body(means.shown)
        try:
            signed = headers(delivery.message.id, body, secrets)
            answer = self._sender.post(self._url, body, signed)
        except OSError as error:
            if self._is_ended:
                means.outbox.give_back(delivery)
                return False
            self._failed(delivery, str(error) or type(error).__name__, 0.0)
        else:
            self._answered(delivery, answer)
        return True

    def _answered(self, delivery: Delivery, answer: Answer) -> None:
        if answer.status < _FIRST_ERROR_STATUS:
            self._means.outbox.taken(delivery)
            # The reason is that of an earlier attempt, which another process may have made, or
            # this one before the address was given up.
            if self._failures or (delivery.reason is not None and not self._works):
                _LOG.warning("webhook %s takes messages again", told(self._url))
            self._failures, self._works = 0, True
        elif answer.status == _GONE:
            lost = self._means.outbox.stop(self._url, "410 Gone: it wants no more messages")
            words = "webhook %s has answered 410 Gone: no more is posted there; %d messages end"
            _LOG.error(words, told(self._url), lost)
        else:
            asked = asked_seconds(answer.retry_after)
            self._failed(delivery, f"it answered {answer.status}", asked)

    def _failed(self, delivery: Delivery, reason: str, asked: float) -> None:
        """Try again as the schedule says, and let the address rest."""
        url, job = told(self._url), delivery.message.job
        self._failures += 1
        self._works = False
        self._means.outbox.rest(self._url, self._means.resting(self._failures, asked))
        if self._failures == 1:
            _LOG.warning("webhook %s takes no messages, and is tried again: %s", url, reason)
        delay = next_delay(delivery.attempts, asked, self._means.delays)
        is_old = time.time() - delivery.message.ended_at.timestamp() > MOST_SECONDS
        if delay is None or (is_old and delivery.attempts > 1):
            self._means.outbox.give_up(delivery, reason)
            words = "webhook %s was never told that job %s has ended, in %d attempts: %s"
            _LOG.error(words, url, job, delivery.attempts, reason)
        else:
            self._means.outbox.put_off(delivery, delay, reason)
