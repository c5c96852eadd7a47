"""Has what waits in the outbox posted, by threads that no job waits for: one for each address.

What becomes of each message is in the outbox alone: a process may die at any point.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from toolrunner.runner.trouble import Trouble
from toolrunner.runner.webhooks.lane import PAUSE_SECONDS, Lane, Means
from toolrunner.runner.webhooks.message import Shown
from toolrunner.runner.webhooks.outbox import Outbox
from toolrunner.runner.webhooks.schedule import DELAYS_SECONDS, rest
from toolrunner.runner.webhooks.signing import Secrets

_LOG = logging.getLogger("toolrunner.webhooks")
# Without addresses there is nothing to post, until an operator's command says otherwise.
_IDLE_SECONDS = 5.0
_CLEAN_SECONDS = 60.0
_CUT_SECONDS = 1.0


class Deliverer:
    """Delivers for one process; ``start`` it once, ``drain`` it in the end."""

    def __init__(
        self,
        outbox: Outbox,
        secrets: Secrets,
        *,
        keep_seconds: float,
        shown: Shown = dict,
        delays: Sequence[float] = DELAYS_SECONDS,
        resting: Callable[[int, float], float] = rest,
    ) -> None:
        """Messages that were given up are kept for ``keep_seconds``.

        ``shown`` takes out of an error what is for this host alone.
        """
        self._outbox = outbox
        self._secrets = secrets
        self._means = Means(outbox, secrets, shown, delays, resting)
        self._keep_seconds = keep_seconds
        self._lanes: dict[str, Lane] = {}
        self._urls: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] | None = None
        self._thread = threading.Thread(target=self._work, name="toolrunner-webhooks", daemon=True)
        self._changed = threading.Event()
        self._is_draining = False
        self._is_ended = False
        self._next_cleaning = 0.0
        self._trouble = Trouble(
            _LOG, OSError, "webhooks wait for what fails now", "webhooks are posted again"
        )

    def start(self) -> None:
        """Begin to post."""
        self._outbox.listen(self._wake)
        self._thread.start()

    def post_to(self, urls: Sequence[str]) -> None:
        """Post to these addresses from now on; where that cannot be kept, as soon as it can."""
        self._wanted = self._urls = tuple(urls)
        with suppress(OSError):  # the thread tries again, and says why
            self._set_addresses()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        for lane in self._all_lanes():
            lane.wake()

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
        deadline = time.monotonic() + seconds
        self._is_draining = True
        self._wake()
        if not self._thread.is_alive():  # it was never started, or this is a fork
            return
        self._thread.join(seconds)  # it has the lanes of all addresses then
        for lane in self._all_lanes():
            lane.drain()
        for lane in self._all_lanes():
            lane.wait(deadline - time.monotonic())
        self._is_ended = True
        for lane in self._all_lanes():
            lane.end()
        # One that looks up a name cannot be ended. It dies with the process, and its message is
        # posted again by whoever finds it.
        deadline = time.monotonic() + _CUT_SECONDS
        self._thread.join(_CUT_SECONDS)
        for lane in self._all_lanes():
            lane.wait(deadline - time.monotonic())

    def _all_lanes(self) -> list[Lane]:
        return list(self._lanes.values())

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_draining  # read first: addresses that were set by then count
            works = self._try_to_look_after()
            if not is_last:
                quiet_seconds = self._outbox.tick_seconds if self._lanes else _IDLE_SECONDS
                self._changed.wait(quiet_seconds if works else PAUSE_SECONDS)
                self._changed.clear()

    def _try_to_look_after(self) -> bool:
        try:
            self._look_after()
        except Exception as error:  # noqa: BLE001 - logged; a bug may not end who looks after them
            # Without addresses nothing waits for a file that cannot be used.
            if self._lanes or self._wanted or not isinstance(error, OSError):
                self._trouble.failed(error)
            return False
        self._trouble.worked()
        return True

    def _look_after(self) -> None:
        """Have a lane for each address, and for no other."""
        self._set_addresses()
        urls = self._outbox.addresses()
        for url in [url for url in self._lanes if url not in urls]:
            self._lanes.pop(url).end()
        for url in urls:
            if url not in self._lanes and not self._is_ended:
                lane = Lane(url, self._means)
                lane.start()
                self._lanes[url] = lane
        now = time.monotonic()
        if urls and now >= self._next_cleaning:
            self._next_cleaning = now + _CLEAN_SECONDS
            if lost := self._outbox.clean(self._keep_seconds):
                _LOG.warning("%d messages to webhooks were given up: too many waited", lost)
