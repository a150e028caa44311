"""The loop that asks for videos: it submits when the pace allows, and writes down what became of each at once."""

import concurrent.futures
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from audiodata import jobs
from audiodata.catalog import DownloadSettings
from audiodata.download import VideoTask
from audiodata.errors import EnvironmentFault
from audiodata.ledger import ClipRow, Ledger
from audiodata.progress import Bar
from audiodata.reasons import REASONS
from audiodata.worker import Answer, call_of, own_name, perform
from pipelines.identities import Identity
from pipelines.journal import SILENT, Journal
from pipelines.pacing import PAUSE_S, Fresh, Time, may_retry, worst

REAL_TIME = Time(time.monotonic, time.sleep)

logger = logging.getLogger(__name__)


class Inline:
    """An executor that does the work at once, in this thread."""

    @staticmethod
    def submit(function: Callable[[Any], Any], task: Any) -> concurrent.futures.Future:
        """Return a future of an `audiodata.worker.Answer` that is there; what the work raises is raised here."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        started = time.monotonic()
        result = function(task)
        future.set_result(Answer(result, own_name(), time.monotonic() - started, ()))
        return future


class Outside:
    """An executor whose work is done by the workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any):
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Callable[[Any], Any], task: Any) -> concurrent.futures.Future:
        """Return a future of an `audiodata.worker.Answer`."""
        return self._executor.submit(perform, call_of(function, task))


class Driver:
    """Ask for videos at the pace allowed and write down what becomes of them.

    Parameters
    ----------
    ledger : Ledger
    pace : DownloadSettings
        ``interval_s, jitter, retries`` of the catalog, for each identity.
    executor : object with ``submit``
        Where the work is done: `Inline` or `Outside`.
    in_flight : int
        Videos asked for at the same time by an identity; 1 is what platforms tolerate.
    bar : Bar
    time : Time
    proxies : sequence of str or None
        One for each network identity; None: this machine's own address.
    journal : Journal
        Told of every video and every pause.
    """

    def __init__(
        self, ledger: Ledger, pace: DownloadSettings, executor: Any, in_flight: int, bar: Bar, time: Time = REAL_TIME,
        proxies: Sequence[str | None] = (None,), journal: Journal = SILENT,
    ):
        self._ledger, self._pace, self._executor, self._most, self._bar = ledger, pace, executor, in_flight, bar
        self._time, self._proxies, self._journal = time, proxies, journal
        self._generator = np.random.default_rng()  # of the pace alone: no result depends on it
        self._under_way: dict[concurrent.futures.Future, tuple[Identity, VideoTask, int]] = {}
        self.failed: Counter[str] = Counter()

    def work(self, tasks: Iterable[VideoTask]) -> int:
        """Do all tasks; return how many clips failed.

        Raises
        ------
        EnvironmentFault
            An identity can't go on; the others have done what there was to do, and what is left stays pending.
        """
        fresh = Fresh(tasks)
        identities = [Identity(proxy, fresh, self._pace, self._most, self._time, self._generator) for proxy in self._proxies]
        while (moment := self._next_moment(identities)) < np.inf or self._under_way:
            if moment <= self._time.clock():
                self._submit(min(identities, key=Identity.ready_at))
            elif self._under_way:
                self._collect(moment)
            else:
                self._time.wait_until(moment)
        for identity in identities:
            if identity.stopped:
                raise identity.stopped
        return self.failed.total()

    @staticmethod
    def _next_moment(identities: Iterable[Identity]) -> float:
        return min(identity.ready_at() for identity in identities)

    def _submit(self, identity: Identity) -> None:
        task, tries = identity.take()
        self._under_way[self._executor.submit(jobs.download_video, task)] = (identity, task, tries + 1)

    def _collect(self, until: float) -> None:
        """Take in what has come, and wait for something to come, until a moment at most."""
        timeout = max(until - self._time.clock(), 0) if until < np.inf else None
        done, _ = concurrent.futures.wait(self._under_way, timeout, concurrent.futures.FIRST_COMPLETED)
        for future in done:
            identity, task, tries = self._under_way.pop(future)
            identity.under_way -= 1
            answer = future.result()
            rows = self._settle(identity, task, tries, answer.result)
            self._tell(identity, task, tries, rows, answer)

    def _settle(self, identity: Identity, task: VideoTask, tries: int, rows: list[ClipRow]) -> list[ClipRow]:
        """Enter what became of a video's clips, see to what is tried again, and return the rows as entered."""
        again = {row.clip_id for row in rows if may_retry(row.reason, tries, self._pace.retries)}
        refused = {row.clip_id for row in rows if REASONS[row.reason].kind == "identity"}
        waiting = again | refused
        entered = [row._replace(status="pending") if row.clip_id in waiting else row for row in rows]
        self._ledger.record(entered)
        self._count([row for row in rows if row.clip_id not in again], refused)
        if again:
            identity.try_again(_only(task, again), tries, [row.reason for row in rows])
        if refused:
            identity.refused.append((_only(task, refused), tries))
        self._judge(identity, worst(row.reason for row in rows), final=not again)
        return entered

    def _tell(self, identity: Identity, task: VideoTask, tries: int, rows: list[ClipRow], answer: Answer) -> None:
        statuses = {row.status for row in rows}
        self._journal.write(
            "video", name=task.recording_id, clips={row.clip_id: row.reason or "ok" for row in rows},
            status=next(status for status in ("pending", "failed", "ok") if status in statuses), reason=worst(row.reason for row in rows),
            seconds=round(answer.seconds, 3), attempt=tries, worker=answer.worker, identity=str(identity),
        )
        for line in answer.warnings:
            logger.warning("worker %s: %s", answer.worker, line)

    def _count(self, final: list[ClipRow], refused: set[str]) -> None:
        failed = [row.reason for row in final if row.status != "ok" and row.clip_id not in refused]
        self.failed.update(failed)
        self._bar.note = ", ".join(f"{count} {reason}" for reason, count in self.failed.most_common())
        self._bar.advance(len(final), failed=len(failed))

    def _judge(self, identity: Identity, reason: str, final: bool) -> None:
        """Let an identity pause, or stop, after a verdict that is not the clip's fault."""
        try:
            if final:
                identity.window.record(reason)
            pauses = identity.breaker.record(reason)
        except EnvironmentFault as error:
            if REASONS[reason].kind != "identity":  # no clip's fault: pending again
                self._ledger.retry([reason])
            self._stop(identity, error)
            return
        if pauses:
            logger.warning("%s pauses for %.0f min: %s", identity, PAUSE_S / 60, REASONS[reason].meaning)
            self._journal.write("pause", identity=str(identity), reason=reason, seconds=PAUSE_S)
            self._ask_refused_again(identity)

    def _stop(self, identity: Identity, error: EnvironmentFault) -> None:
        identity.stopped = error if len(self._proxies) == 1 else EnvironmentFault(f"{identity}: {error}")
        if len(self._proxies) > 1:
            logger.warning("%s; the other identities go on", identity.stopped)

    def _ask_refused_again(self, identity: Identity) -> None:
        """Put what was refused back into the queue, now that the refusals have led to a pause."""
        for task, tries in identity.refused:
            if tries <= self._pace.retries:
                identity.queue.put(task, tries, identity.breaker.open_until)
                self._bar.advance(-len(task.clips))
        identity.refused.clear()


def _only(task: VideoTask, clip_ids: set[str]) -> VideoTask:
    return task._replace(clips=tuple(clip for clip in task.clips if clip.clip_id in clip_ids))
