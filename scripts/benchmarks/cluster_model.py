"""A cluster on paper: callers leave jobs, workers take them by the store's own rule.

A discrete simulation without chance; the times of jobs are given. The database does so much at
once, and each step the slower the more there are. A client leaves a job once its last one is
accepted; a worker asks for a job, runs that, and tells its end. Whose turn it is, is what
``runner/jobs/postgres/running.py`` decides: the caller with the fewest running jobs, then the
lowest tag, then the oldest. All jobs are of one plugin.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

# A caller with many jobs, by worker, beside two that leave one after the other.
HEAVY_JOBS = 120
LIGHT_JOBS, LIGHT_EVERY = 30, 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the database for one step of a job, and how many such it does in that time."""

    accept: float
    claim: float
    end: float
    look: float = 0.0  # of an idle worker, of which each is told of each job that waits
    at_once: float = 1.0


@dataclass(slots=True)
class SimulatedJob:
    """One job; times in seconds since the beginning, and ``runs_seconds`` without the database."""

    caller: str
    left_at: float
    runs_seconds: float
    tag: int = 0
    started_at: float = -1.0
    ended_at: float = -1.0

    @property
    def waited(self) -> float:
        """From being left to its end."""
        return self.ended_at - self.left_at


class _Database:
    """Does steps beside each other: one at full speed, and all together ``at_once`` as fast."""

    def __init__(self, clock: _Clock, at_once: float) -> None:
        self.busy_seconds = 0.0
        self._clock = clock
        self._at_once = at_once
        # What a step that is there all the time has been given, and at how much of it each ends.
        self._given = 0.0
        self._given_at = 0.0
        self._doing: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._plan = 0

    def ask(self, seconds: float, then: Callable[[], None]) -> None:
        """Do a step that takes so long alone."""
        self._go_on()
        self.busy_seconds += seconds
        heapq.heappush(self._doing, (self._given + seconds, next(self._order), then))
        self._look_again()

    def _speed(self) -> float:
        return min(1.0, self._at_once / len(self._doing)) if self._doing else 0.0

    def _go_on(self) -> None:
        self._given += (self._clock.now - self._given_at) * self._speed()
        self._given_at = self._clock.now

    def _look_again(self) -> None:
        """Be there when the next step is done, as long as nothing else begins or ends before."""
        self._plan += 1
        if self._doing:
            plan, left = self._plan, self._doing[0][0] - self._given
            self._clock.after(max(0.0, left) / self._speed(), lambda: self._done(plan))

    def _done(self, plan: int) -> None:
        if plan != self._plan:
            return
        self._go_on()
        _, _, then = heapq.heappop(self._doing)
        self._look_again()
        then()


class _Clock:
    """What happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._next: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._next, (self.now + seconds, next(self._order), then))

    def run(self) -> None:
        while self._next:
            self.now, _, then = heapq.heappop(self._next)
            then()


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it: all jobs, and the share of its time in which the database was busy."""

    jobs: list[SimulatedJob]
    database_busy: float

    @property
    def seconds(self) -> float:
        """From the first job's start to the last end."""
        return max(job.ended_at for job in self.jobs) - min(job.started_at for job in self.jobs)

    @property
    def per_second(self) -> float:
        """Jobs a second."""
        return len(self.jobs) / self.seconds


class _Cluster:
    def __init__(self, workers: int, costs: Costs) -> None:
        self.clock = _Clock()
        self.database = _Database(self.clock, costs.at_once)
        self._costs = costs
        self._idle = workers
        self._pending: dict[str, deque[SimulatedJob]] = {}
        self._running: Counter[str] = Counter()
        self._running_tags: Counter[int] = Counter()
        self._highest: list[int] = []  # of those, negated; what has ended is dropped when it is met
        self._waiting = 0
        self._asked = 0
        self._is_looking = self._is_stirred = False

    def leave(self, jobs: Iterator[SimulatedJob]) -> None:
        """Have one client leave jobs, one after the other, none before its time."""
        job = next(jobs, None)
        if job is None:
            return
        job.left_at = max(job.left_at, self.clock.now)

        def accepted() -> None:
            self._accepted(job)
            self.leave(jobs)

        self.clock.after(
            job.left_at - self.clock.now,
            lambda: self.database.ask(self._costs.accept, accepted),
        )

    def _accepted(self, job: SimulatedJob) -> None:
        own = self._pending.setdefault(job.caller, deque())
        others = [waiting[0].tag for waiting in self._pending.values() if waiting]
        job.tag = 1 + max(
            0,
            own[-1].tag if own else 0,
            self._highest_running(),
            min(others) - 1 if others else 0,
        )
        own.append(job)
        self._waiting += 1
        self._stir()
        self._ask()

    def _stir(self) -> None:
        """Have all idle workers look; those who do so already look once more, and not for each."""
        self._is_stirred = True
        if self._is_looking or self._idle < 2 or not self._costs.look:
            return
        self._is_looking, self._is_stirred = True, False

        def looked() -> None:
            self._is_looking = False
            if self._is_stirred:
                self._stir()

        self.database.ask(self._costs.look * (self._idle - 1), looked)

    def _highest_running(self) -> int:
        while self._highest and not self._running_tags[-self._highest[0]]:
            heapq.heappop(self._highest)
        return -self._highest[0] if self._highest else 0

    def _ask(self) -> None:
        """Have idle workers ask for jobs, as many as there are for them."""
        while self._idle and self._asked < self._waiting:
            self._idle -= 1
            self._asked += 1
            self.database.ask(self._costs.claim, self._claimed)

    def _claimed(self) -> None:
        self._asked -= 1
        heads = [waiting for waiting in self._pending.values() if waiting]
        if not heads:
            self._idle += 1
            return
        jobs = min(heads, key=lambda waiting: (self._running[waiting[0].caller], waiting[0].tag))
        job = jobs.popleft()
        self._waiting -= 1
        job.started_at = self.clock.now
        self._running[job.caller] += 1
        self._running_tags[job.tag] += 1
        heapq.heappush(self._highest, -job.tag)
        self.clock.after(job.runs_seconds, lambda: self._ran(job))

    def _ran(self, job: SimulatedJob) -> None:
        self.database.ask(self._costs.end, lambda: self._ended(job))

    def _ended(self, job: SimulatedJob) -> None:
        job.ended_at = self.clock.now
        self._running[job.caller] -= 1
        self._running_tags[job.tag] -= 1
        self._idle += 1
        self._ask()


def simulate(clients: Iterable[Sequence[SimulatedJob]], workers: int, costs: Costs) -> Simulated:
    """Run each client's jobs to their ends; ``workers``: jobs that run at once in the cluster."""
    cluster = _Cluster(workers, costs)
    left = list(clients)
    for jobs in left:
        cluster.leave(iter(jobs))
    cluster.clock.run()
    seconds = cluster.clock.now or 1.0
    busy = cluster.database.busy_seconds / (seconds * costs.at_once)
    return Simulated([job for jobs in left for job in jobs], busy)


def simulated_light_wait(workers: int, runs_seconds: float, costs: Costs) -> float:
    """Return the median of the seconds that jobs of two callers take beside one with many.

    One client leaves them all, as the measurement does.
    """
    heavy = [SimulatedJob("heavy", 0.0, runs_seconds) for _ in range(HEAVY_JOBS * workers)]
    light = [
        SimulatedJob(f"light-{number % 2}", number * LIGHT_EVERY, runs_seconds)
        for number in range(LIGHT_JOBS)
    ]
    simulate([[*heavy, *light]], workers, costs)
    return statistics.median(job.waited for job in light)
