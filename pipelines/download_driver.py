"""The loop that asks for videos: it submits when the pace allows, and writes down what became of each at once."""

import concurrent.futures
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from audiodata import jobs
from audiodata.catalog import DownloadSettings
from audiodata.download import VideoTask
from audiodata.errors import EnvironmentFault
from audiodata.ledger import ClipRow, Ledger
from audiodata.progress import Bar
from audiodata.reasons import REASONS
from pipelines.pacing import PAUSE_S, CircuitBreaker, FaultWindow, Queue, RateLimiter, Time, backoff_s, may_retry, worst

REAL_TIME = Time(time.monotonic, time.sleep)

logger = logging.getLogger(__name__)


class Inline:
    """An executor that does the work at once, in this thread."""

    @staticmethod
    def submit(function: Callable[[Any], Any], task: Any) -> concurrent.futures.Future:
        """Return a future that is done; what the work raises is raised here."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_result(function(task))
        return future


class Driver:
    """Ask for videos at the pace allowed and write down what becomes of them.

    Parameters
    ----------
    ledger : Ledger
    pace : DownloadSettings
        ``interval_s, jitter, retries`` of the catalog.
    executor : object with ``submit``
        Where the work is done; what it returns are `concurrent.futures.Future` objects.
    in_flight : int
        Videos asked for at the same time; 1 is what platforms tolerate per network identity.
    bar : Bar
    time : Time
    """

    def __init__(
        self, ledger: Ledger, pace: DownloadSettings, executor: Any, in_flight: int, bar: Bar, time: Time = REAL_TIME
    ):
        self._ledger, self._pace, self._executor, self._most, self._bar = ledger, pace, executor, in_flight, bar
        self._time = time
        self._generator = np.random.default_rng()  # of the pace alone: no result depends on it
        self._limiter = RateLimiter(pace.interval_s, pace.jitter, time, self._generator)
        self._breaker, self._window = CircuitBreaker(time), FaultWindow()
        self._under_way: dict[concurrent.futures.Future, tuple[VideoTask, int]] = {}
        self._refused: list[tuple[VideoTask, int]] = []
        self.failed: Counter[str] = Counter()

    def work(self, tasks: Iterable[VideoTask]) -> int:
        """Do all tasks; return how many clips failed.

        Raises
        ------
        EnvironmentFault
            Going on is useless; what is left stays pending.
        """
        self._queue = Queue(tasks)
        while self._under_way or self._queue.ready_at() < np.inf:
            if self._may_submit():
                self._submit()
            elif self._under_way:
                self._collect()
            else:
                self._time.wait_until(self._queue.ready_at())
        return self.failed.total()

    def _may_submit(self) -> bool:
        most = 1 if self._breaker.is_probing else self._most
        return len(self._under_way) < most and self._queue.ready_at() <= self._time.clock()

    def _submit(self) -> None:
        self._time.wait_until(self._breaker.open_until)
        self._limiter.take()
        task, tries = self._queue.pop(self._time.clock())
        self._under_way[self._executor.submit(jobs.download_video, task)] = (task, tries + 1)

    def _collect(self) -> None:
        wait_s = self._queue.ready_at() - self._time.clock() if len(self._under_way) < self._most else None
        timeout = wait_s if wait_s is not None and wait_s < np.inf else None
        done, _ = concurrent.futures.wait(self._under_way, timeout, concurrent.futures.FIRST_COMPLETED)
        for future in done:
            task, tries = self._under_way.pop(future)
            self._settle(task, tries, future.result())

    def _settle(self, task: VideoTask, tries: int, rows: list[ClipRow]) -> None:
        again = {row.clip_id for row in rows if may_retry(row.reason, tries, self._pace.retries)}
        refused = {row.clip_id for row in rows if REASONS[row.reason].kind == "identity"}
        waiting = again | refused
        self._ledger.record(row._replace(status="pending") if row.clip_id in waiting else row for row in rows)
        self._count([row for row in rows if row.clip_id not in again], refused)
        if again:
            self._queue.put(_only(task, again), tries, self._time.clock() + self._backoff_s(rows, tries))
        if refused:
            self._refused.append((_only(task, refused), tries))
        self._judge([row.reason for row in rows], final=not again)

    def _count(self, final: list[ClipRow], refused: set[str]) -> None:
        failed = [row.reason for row in final if row.status != "ok" and row.clip_id not in refused]
        self.failed.update(failed)
        self._bar.note = ", ".join(f"{count} {reason}" for reason, count in self.failed.most_common())
        self._bar.advance(len(final), failed=len(failed))

    def _backoff_s(self, rows: list[ClipRow], tries: int) -> float:
        reason = worst(row.reason for row in rows)
        return backoff_s(reason, tries, self._pace.interval_s, self._pace.jitter, self._generator)

    def _judge(self, reasons: list[str], final: bool) -> None:
        reason = worst(reasons)
        try:
            if final:
                self._window.record(reason)
        except EnvironmentFault:
            self._ledger.retry([reason])  # no clip's fault: pending again
            raise
        if self._breaker.record(reason):
            logger.warning("paused for %.0f min: %s", PAUSE_S / 60, REASONS[reason].meaning)
            self._ask_refused_again()

    def _ask_refused_again(self) -> None:
        """Put what was refused back into the queue, now that the refusals have led to a pause."""
        for task, tries in self._refused:
            if tries <= self._pace.retries:
                self._queue.put(task, tries, self._breaker.open_until)
                self._bar.advance(-len(task.clips))
        self._refused.clear()


def _only(task: VideoTask, clip_ids: set[str]) -> VideoTask:
    return task._replace(clips=tuple(clip for clip in task.clips if clip.clip_id in clip_ids))
