"""Posts what waits in the outbox until it is taken, in one thread that no job waits for.

An address that fails rests, the longer the oftener it does, so that it holds up no other one. What
becomes of each message is in the outbox alone: a process may die at any point.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from toolrunner.runner.trouble import Trouble
from toolrunner.runner.webhooks.addresses import told
from toolrunner.runner.webhooks.message import Shown, headers
from toolrunner.runner.webhooks.outbox import Delivery, Outbox
from toolrunner.runner.webhooks.schedule import (
    DELAYS_SECONDS,
    MOST_SECONDS,
    asked_seconds,
    next_delay,
    rest,
)
from toolrunner.runner.webhooks.secret_file import SecretFile
from toolrunner.runner.webhooks.sender import Answer, Sender

_LOG = logging.getLogger("toolrunner.webhooks")
TICK_SECONDS = 0.25
# Without addresses there is nothing to post, until an operator's command says otherwise.
_IDLE_SECONDS = 5.0
_CLEAN_SECONDS = 60.0
_PAUSE_SECONDS = 10.0
_CUT_SECONDS = 1.0
_FIRST_ERROR_STATUS = 300
_GONE = 410


@dataclass(slots=True)
class _Address:
    """How an address has done, as seen by this process; ``until`` is of the monotonic clock."""

    works: bool = False
    failures: int = 0
    until: float = 0.0


class Deliverer:
    """Delivers for one process; ``start`` it once, ``drain`` it in the end."""

    def __init__(
        self,
        outbox: Outbox,
        secrets: SecretFile,
        *,
        keep_seconds: float,
        shown: Shown = dict,
        sender: Sender | None = None,
        delays: Sequence[float] = DELAYS_SECONDS,
        resting: Callable[[int, float], float] = rest,
    ) -> None:
        """Messages that were given up are kept for ``keep_seconds``.

        ``shown`` takes out of an error what is for this host alone.
        """
        self._shown = shown
        self._outbox = outbox
        self._secrets = secrets
        self._sender = Sender() if sender is None else sender
        self._keep_seconds = keep_seconds
        self._delays = delays
        self._resting = resting
        self._addresses: dict[str, _Address] = {}
        self._urls: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] | None = None
        self._thread = threading.Thread(target=self._work, name="toolrunner-webhooks", daemon=True)
        self._changed = threading.Event()
        self._is_draining = False
        self._ended = threading.Event()
        self._next_cleaning = 0.0
        self._trouble = Trouble(
            _LOG, OSError, "webhooks wait for what fails now", "webhooks are posted again"
        )

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def post_to(self, urls: Sequence[str]) -> None:
        """Post to these addresses from now on; where that cannot be kept, as soon as it can."""
        self._wanted = self._urls = tuple(urls)
        with suppress(OSError):  # the thread tries again, and says why
            self._set_addresses()
        self._changed.set()

    def _set_addresses(self) -> None:
        urls = self._wanted
        if urls is not None:
            self._outbox.set_addresses(urls)
            if urls == self._wanted:
                self._wanted = None

    def problem(self) -> str:
        """Return why messages cannot be signed, and what to do; "" if they can, or there are none.

        An address without a secret gets it here, as it would with its first message.
        """
        try:
            for url in self._urls:
                self._secrets.of(url)
        except OSError as error:
            return f"webhooks wait: {error}"
        return ""

    def drain(self, seconds: float) -> None:
        """Post what is due, for at most so long, and no more; the rest waits for the next start."""
        self._is_draining = True
        self._changed.set()
        if not self._thread.is_alive():
            return
        self._thread.join(seconds)
        self._ended.set()
        self._sender.cut()
        # One that looks up a name cannot be ended. It dies with the process, and its message is
        # posted again by whoever finds it.
        self._thread.join(_CUT_SECONDS)

    def _work(self) -> None:
        while not self._ended.is_set():
            is_busy = self._round()
            if self._is_draining and not is_busy:
                return
            if not is_busy:
                self._changed.wait(TICK_SECONDS if self._addresses else _IDLE_SECONDS)
                self._changed.clear()

    def _round(self) -> bool:
        """Post one message to each address that has one; whether there were any."""
        try:
            self._look_after()
            is_busy = False
            for url in list(self._addresses):
                is_busy |= self._deliver(url)
        except Exception as error:  # noqa: BLE001 - logged; a bug may not end who posts
            # Without addresses nothing waits for a file that cannot be used.
            if self._addresses or self._wanted or not isinstance(error, OSError):
                self._trouble.failed(error)
            self._pause()
            return False
        self._trouble.worked()
        return is_busy

    def _pause(self) -> None:
        if not self._ended.is_set():
            self._changed.wait(_PAUSE_SECONDS)

    def _look_after(self) -> None:
        self._set_addresses()
        urls = self._outbox.addresses()
        known = self._addresses
        self._addresses = {url: known.get(url) or _Address() for url in urls}
        now = time.monotonic()
        if urls and now >= self._next_cleaning:
            self._next_cleaning = now + _CLEAN_SECONDS
            if lost := self._outbox.clean(self._keep_seconds):
                _LOG.warning("%d messages to webhooks were given up: too many waited", lost)

    def _deliver(self, url: str) -> bool:
        address = self._addresses[url]
        if self._ended.is_set() or time.monotonic() < address.until:
            return False
        secrets = self._secrets.of(url)
        delivery = self._outbox.take(url)
        if delivery is None:
            return False
        body = delivery.message.body(self._shown)
        try:
            signed = headers(delivery.message.id, body, secrets)
            answer = self._sender.post(url, body, signed)
        except OSError as error:
            if self._ended.is_set():
                self._outbox.give_back(delivery)
                return False
            self._failed(delivery, address, str(error) or type(error).__name__, 0.0)
        else:
            self._answered(delivery, address, answer)
        return True

    def _answered(self, delivery: Delivery, address: _Address, answer: Answer) -> None:
        if answer.status < _FIRST_ERROR_STATUS:
            self._outbox.taken(delivery)
            # The reason is that of an earlier attempt, which another process may have made, or
            # this one before the address was given up.
            if address.failures or (delivery.reason is not None and not address.works):
                _LOG.warning("webhook %s takes messages again", told(delivery.url))
            address.failures, address.works = 0, True
        elif answer.status == _GONE:
            lost = self._outbox.stop(delivery.url, "410 Gone: it wants no more messages")
            words = "webhook %s has answered 410 Gone: no more is posted there; %d messages end"
            _LOG.error(words, told(delivery.url), lost)
        else:
            asked = asked_seconds(answer.retry_after)
            self._failed(delivery, address, f"it answered {answer.status}", asked)

    def _failed(self, delivery: Delivery, address: _Address, reason: str, asked: float) -> None:
        """Try again as the schedule says, and let the address rest."""
        url, job = told(delivery.url), delivery.message.job
        address.failures += 1
        address.works = False
        address.until = time.monotonic() + self._resting(address.failures, asked)
        if address.failures == 1:
            _LOG.warning("webhook %s takes no messages, and is tried again: %s", url, reason)
        delay = next_delay(delivery.attempts, asked, self._delays)
        is_old = time.time() - delivery.message.ended_at.timestamp() > MOST_SECONDS
        if delay is None or (is_old and delivery.attempts > 1):
            self._outbox.give_up(delivery, reason)
            words = "webhook %s was never told that job %s has ended, in %d attempts: %s"
            _LOG.error(words, url, job, delivery.attempts, reason)
        else:
            self._outbox.put_off(delivery, delay, reason)
