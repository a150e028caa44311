"""When the next video may be asked for: the pace of one network identity, and when to pause or stop.

The driver asks here before it submits, so no lock crosses machines. Clock, sleep and randomness are handed in.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from audiodata.errors import EnvironmentFault
from audiodata.reasons import REASONS

IN_A_ROW = 3
PAUSE_S = 3600.0
WINDOW = 20
LEAST_IN_WINDOW = 10
LARGEST_SHARE = 0.5
SHORTEST_BACKOFF_S = 1.0
FORBIDDEN_RETRIES = 2

_ADVICE = {
    "bot_check": "a person must act: use --cookies of a signed-in browser, another network, or wait a day",
    "no_format": "install a JavaScript runtime (pip install 'audiodata[youtube]') or upgrade yt-dlp",
    "extractor_broken": "upgrade yt-dlp (pip install -U yt-dlp yt-dlp-ejs)",
    "network": "check the network and the proxy; the same command continues",
}


class Time(NamedTuple):
    """Where time comes from: seconds that only grow, and a way to wait for some."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def wait_until(self, moment: float) -> None:
        """Sleep until the clock has reached a moment."""
        while (left := moment - self.clock()) > 0:
            self.sleep(left)


class RateLimiter:
    """Keep a mean distance between requests.

    Parameters
    ----------
    interval_s : float
        Mean distance in seconds; 0 = none.
    jitter : float
        Share (0 to 1) by which each distance differs from the mean, evenly drawn: a steady beat is what robots keep.
    time : Time
    generator : numpy.random.Generator
    """

    def __init__(self, interval_s: float, jitter: float, time: Time, generator: np.random.Generator):
        self._interval_s, self._jitter, self._time, self._generator = interval_s, jitter, time, generator
        self.next_at = -np.inf

    def take(self) -> None:
        """Wait for one's turn and take it."""
        self._time.wait_until(self.next_at)
        factor = 1 + self._jitter * self._generator.uniform(-1, 1)
        self.next_at = self._time.clock() + self._interval_s * factor


class CircuitBreaker:
    """Pause an identity that is being refused.

    Three verdicts on the identity in a row open it for an hour; then one request may probe: if it gets through, all
    may, else the next hour begins. When the verdict is that we may be a robot, waiting does not help and the run
    ends.

    Parameters
    ----------
    time : Time
    in_a_row : int
        Verdicts that open it.
    pause_s : float
        How long it stays open, in seconds.
    """

    def __init__(self, time: Time, in_a_row: int = IN_A_ROW, pause_s: float = PAUSE_S):
        self._time, self._in_a_row, self._pause_s = time, in_a_row, pause_s
        self._refused = 0
        self.open_until = -np.inf

    @property
    def is_probing(self) -> bool:
        """Whether only one request may be under way: the first after a pause."""
        return self._refused >= self._in_a_row

    def record(self, reason: str) -> bool:
        """Note a verdict; return whether a pause begins.

        Raises
        ------
        EnvironmentFault
            The platform asks whether this is a robot, and has done so repeatedly.
        """
        if REASONS[reason].kind != "identity":
            self._refused = 0
            return False
        self._refused += 1
        if self._refused < self._in_a_row:
            return False
        if reason == "bot_check":
            raise EnvironmentFault(f"stopped after {self._refused} bot checks in a row: {_ADVICE[reason]}")
        self.open_until = self._time.clock() + self._pause_s
        return True


class FaultWindow:
    """End a run in which most of what happens is not the clips' fault.

    Parameters
    ----------
    size, least : int
        How many of the last verdicts are looked at, and from how many on.
    share : float
        Share of one such fault above which the run ends.
    """

    def __init__(self, size: int = WINDOW, least: int = LEAST_IN_WINDOW, share: float = LARGEST_SHARE):
        self._verdicts: deque[str] = deque(maxlen=size)
        self._least, self._share = least, share

    def record(self, reason: str) -> None:
        """Note a verdict.

        Raises
        ------
        EnvironmentFault
            Too many of one fault; says what to do.
        """
        self._verdicts.append(reason)
        count = self._verdicts.count(reason)
        is_fault = REASONS[reason].kind == "environment" or reason == "network"
        if is_fault and len(self._verdicts) >= self._least and count > self._share * len(self._verdicts):
            what = f"{count} of the last {len(self._verdicts)} videos failed as {reason} (their clips stay pending)"
            raise EnvironmentFault(f"stopped: {what}: {_ADVICE[reason]}")


def worst(reasons: Iterable[str]) -> str:
    """Return the reason by which a video with several clips counts: the identity's first, then the environment's."""
    kinds = ("identity", "environment", "transient", "permanent", "fine")
    return min(reasons, key=lambda reason: kinds.index(REASONS[reason].kind), default="")


def may_retry(reason: str, tries: int, retries: int) -> bool:
    """Whether a clip is to be tried again in this run.

    Parameters
    ----------
    reason : str
        Why the last try failed.
    tries : int
        Tries so far in this run.
    retries : int
        Further tries allowed for faults of the network.
    """
    allowed = {"network": retries, "forbidden": min(retries, FORBIDDEN_RETRIES)}
    return tries <= allowed.get(reason, 0)


def backoff_s(reason: str, tries: int, interval_s: float, jitter: float, generator: np.random.Generator) -> float:
    """Seconds until the next try: doubling with each failure of the network, 0 where a new address is all it needs."""
    if reason != "network":
        return 0.0
    return max(2 * interval_s, SHORTEST_BACKOFF_S) * 2.0 ** (tries - 1) * (1 + jitter * generator.uniform(0, 1))


class Fresh:
    """Work that nobody has begun, for one queue or several that share it.

    Parameters
    ----------
    tasks : iterable
        Taken from it one at a time, so it may be long.

    Attributes
    ----------
    next : object
        The piece that comes next; None: there is none.
    """

    def __init__(self, tasks: Iterable[Any]):
        self._tasks = iter(tasks)
        self.next = next(self._tasks, None)

    def take(self) -> Any:
        """Return the next piece, which is nobody else's then."""
        task, self.next = self.next, next(self._tasks, None)
        return task


class Queue:
    """Fresh work in its order, and work that is to be tried again from a moment on, which then comes first.

    Parameters
    ----------
    fresh : Fresh
    """

    def __init__(self, fresh: Fresh):
        self._fresh = fresh
        self._again: list[tuple[float, int, int, Any]] = []
        self._count = 0

    def put(self, task: Any, tries: int, ready_at: float) -> None:
        """Add work that has been tried, to be done from a moment on."""
        self._count += 1
        heapq.heappush(self._again, (ready_at, self._count, tries, task))

    def ready_at(self) -> float:
        """Moment from which the next piece may be done; infinite when there is none."""
        if self._fresh.next is not None:
            return -np.inf
        return self._again[0][0] if self._again else np.inf

    def pop(self, now: float) -> tuple[Any, int]:
        """Take the next piece that is ready, and how often it has been tried."""
        if self._again and (self._again[0][0] <= now or self._fresh.next is None):
            _, _, tries, task = heapq.heappop(self._again)
            return task, tries
        return self._fresh.take(), 0
