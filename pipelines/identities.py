"""A network identity, as a platform sees it: an address with a pace, pauses and refusals of its own."""

from urllib.parse import urlsplit

import numpy as np

from audiodata.catalog import DownloadSettings
from audiodata.download import VideoTask
from audiodata.errors import EnvironmentFault
from pipelines.pacing import CircuitBreaker, FaultWindow, Fresh, Queue, RateLimiter, Time, backoff_s, worst


class Identity:
    """One of the addresses from which videos are asked for.

    Parameters
    ----------
    proxy : str or None
        By which it goes out; None: this machine's own address.
    fresh : Fresh
        Work that it shares with the others.
    pace : DownloadSettings
        ``interval_s, jitter, retries``, of each identity.
    most : int
        Videos under way at the same time.
    time : Time
    generator : numpy.random.Generator

    Attributes
    ----------
    breaker : CircuitBreaker
    window : FaultWindow
    queue : Queue
        What it is to do.
    refused : list of (VideoTask, int)
        What was refused since the last pause, with the number of tries.
    under_way : int
    stopped : EnvironmentFault or None
        Why it asks for nothing any more.
    """

    def __init__(self, proxy: str | None, fresh: Fresh, pace: DownloadSettings, most: int, time: Time, generator: np.random.Generator):
        self._proxy, self._pace, self._most, self._time, self._generator = proxy, pace, most, time, generator
        self._limiter = RateLimiter(pace.interval_s, pace.jitter, time, generator)
        self.breaker, self.window, self.queue = CircuitBreaker(time), FaultWindow(), Queue(fresh)
        self.refused: list[tuple[VideoTask, int]] = []
        self.under_way = 0
        self.stopped: EnvironmentFault | None = None

    def __str__(self) -> str:
        """Name the host alone: the address of a proxy may hold a password."""
        return urlsplit(self._proxy).netloc.rpartition("@")[2] if self._proxy else "this machine's address"

    def ready_at(self) -> float:
        """Moment from which it may ask for the next video; infinite where it has none to ask for, or enough under way."""
        most = 1 if self.breaker.is_probing else self._most
        if self.stopped or self.under_way >= most:
            return np.inf
        return max(self.queue.ready_at(), self._limiter.next_at, self.breaker.open_until)

    def take(self) -> tuple[VideoTask, int]:
        """Take its turn: return the next video, as this identity asks for it, and how often it has been tried."""
        self._limiter.take()
        self.under_way += 1
        task, tries = self.queue.pop(self._time.clock())
        if task.options.proxy == self._proxy:
            return task, tries
        return task._replace(options=task.options.model_copy(update={"proxy": self._proxy})), tries

    def try_again(self, task: VideoTask, tries: int, reasons: list[str]) -> None:
        """Put a video back for which something failed in a way that may pass."""
        wait_s = backoff_s(worst(reasons), tries, self._pace.interval_s, self._pace.jitter, self._generator)
        self.queue.put(task, tries, self._time.clock() + wait_s)
