"""What happens to a cluster while jobs run: ``soak.py --cluster``.

When something happens is drawn from the number of jobs that have ended, and no more are left until
it has: so there are always some that run.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import random
import select
import signal
import time
from collections.abc import Callable

import psycopg
from members.program import ProgramError, children
from members.toolrunners import Toolrunner
from members.whole import Cluster

from chaos import books
from chaos.callers import LOOK_SECONDS, PATIENCE_SECONDS, Callers

# Whom a kill is for, one after the other, in another order each time.
TURNS = ("worker", "worker", "server", "postgres")
# So many jobs wait or run when something is killed.
BACKLOG = 40
READ_ONLY_SECONDS = 2.0


class Troubles:
    """What happens to a cluster."""

    def __init__(
        self, cluster: Cluster, callers: Callers, seed: int, *, kills: int, stop_seconds: float
    ) -> None:
        self._cluster = cluster
        self._callers = callers
        self._random = random.Random(seed)  # noqa: S311 - which trouble comes when is no secret
        turns: list[str] = []
        while len(turns) < kills:
            turns += self._random.sample(TURNS, len(TURNS))
        self._turns = turns[:kills]
        self._stop_seconds = stop_seconds
        self._stopped: tuple[float, Toolrunner, list[int]] | None = None
        self.killed: collections.Counter[str] = collections.Counter()

    def run(self, first: int, last: int, is_over: Callable[[], bool]) -> None:
        """Make them, while the number of ended jobs goes from ``first`` to ``last``."""
        when = sorted(self._random.sample(range(first, last), len(self._turns)))
        stop_at: float = when[len(when) // 3] if when and self._stop_seconds else math.inf
        now = 0
        while not is_over() or when or self._stopped is not None:
            with contextlib.suppress(psycopg.OperationalError):  # it has crashed, and comes back
                now = books.ended(self._cluster.postgres.url())
            if stop_at <= now:
                self._stop()
                stop_at = math.inf
            if self._stopped is not None and time.monotonic() >= self._stopped[0]:
                self._continue()
            if when and (now >= when[0] or is_over()):
                when.pop(0)
                self._kill(self._turns.pop())
            self._callers.most = when[0] + BACKLOG if when else math.inf
            time.sleep(LOOK_SECONDS)

    def _kill(self, what: str) -> None:
        cluster = self._cluster
        if what == "postgres":
            self._kill_postgres()
            return
        stopped = None if self._stopped is None else self._stopped[1]
        members = cluster.servers if what == "server" else cluster.workers
        member = self._random.choice([one for one in members if one is not stopped])
        how = self._random.choice(["machine", "supervisor", "process"])
        self.killed[f"{what}: {how}"] += 1
        with contextlib.ExitStack() as stack:
            family = [*children(member.pid)]
            for one in family:
                stack.callback(os.close, one)
            if how == "process" and family:  # its supervisor starts another one
                signal.pidfd_send_signal(self._random.choice(family), signal.SIGKILL)
                return
            if how == "machine":
                member.kill_all()
            else:  # who is left lets its jobs end
                member.send(signal.SIGKILL)
                member.wait()
            for one in family:
                select.select([one], [], [], PATIENCE_SECONDS)
        member.start()

    def _kill_postgres(self) -> None:
        postgres = self._cluster.postgres
        how = self._random.choice(["", ": read-only at first", ": one of its processes"])
        self.killed[f"postgres{how}"] += 1
        if "processes" in how:  # it ends the others, and begins anew by itself
            family = [*children(postgres.pid)]
            signal.pidfd_send_signal(self._random.choice(family), signal.SIGKILL)
            for one in family:
                os.close(one)
            return
        postgres.send(signal.SIGKILL)
        postgres.wait()
        if how:
            self._start_postgres("-c", "default_transaction_read_only=on")
            time.sleep(READ_ONLY_SECONDS)
            postgres.stop()
        self._start_postgres()

    def _start_postgres(self, *options: str) -> None:
        """Start it, once all that a killed one has left is gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._cluster.postgres.start(*options)
            except ProgramError as error:
                if "shared memory" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)
            else:
                return

    def _stop(self) -> None:
        member = self._random.choice(self._cluster.workers)
        family = [*children(member.pid)]
        member.send(signal.SIGSTOP)
        for one in family:
            signal.pidfd_send_signal(one, signal.SIGSTOP)
        self.killed["worker: stopped for a while"] += 1
        self._stopped = (time.monotonic() + self._stop_seconds, member, family)

    def _continue(self) -> None:
        assert self._stopped is not None
        _, member, family = self._stopped
        for one in family:
            signal.pidfd_send_signal(one, signal.SIGCONT)
            os.close(one)
        member.send(signal.SIGCONT)
        self._stopped = None
