"""Work given to Dask workers, a few pieces at a time; a piece that fails is tried again, and one that fails three times is set aside."""

import contextlib
import logging
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

from audiodata.errors import AudioDataError, CatalogError, EnvironmentFault, FeatureError, MetadataError
from audiodata.worker import Answer, Check, UnfitWorker, WorkerPaused, call_of, explain, own_name, perform
from pipelines.cluster import SCHEDULER_GONE
from pipelines.journal import SILENT, Journal, task_name
from pipelines.pauses import Pauses

TASKS_PER_THREAD = 3
TRIES = 3
HOPELESS = 8  # failures in a row, and twice as many as there are threads, with no success since the start
LOOK_EVERY_S = 2.0
TELL_AFTER_S = 60.0  # without a result
OF_THE_WHOLE_RUN = (CatalogError, FeatureError, MetadataError)  # they would befall every piece alike

logger = logging.getLogger(__name__)


class SetAside(NamedTuple):
    """What is in the place of a result that could not be had.

    Attributes
    ----------
    tries : int
    reason : str
        One line.
    """

    tries: int
    reason: str


class _Attempt(NamedTuple):
    task: Any
    number: int
    tied: frozenset[str] = frozenset()  # to these workers, as others may get no work; empty: to none


def run_bounded(
    client: Any, function: Callable[[Any], Any], tasks: Iterable[Any], check: Check | None = None, journal: Journal = SILENT
) -> Iterator[tuple[Any, Any]]:
    """Run a function over tasks and yield ``(task, result)`` as they complete; stop at one that fails three times.

    Parameters
    ----------
    client, function, tasks, check, journal
        See `run_all`.

    Raises
    ------
    EnvironmentFault
        A piece of work failed three times.
    """
    for task, result in run_all(client, function, tasks, check, journal):
        if isinstance(result, SetAside):
            raise EnvironmentFault(f"{function.__name__} failed {result.tries} times: {result.reason}")
        yield task, result


def run_all(
    client: Any, function: Callable[[Any], Any], tasks: Iterable[Any], check: Check | None = None, journal: Journal = SILENT,
    pauses: Pauses | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Run a function over tasks and yield ``(task, result)`` as they complete, a `SetAside` for what fails three times.

    Only a few tasks per thread are with the scheduler at a time, so memory does not grow with their number, and a result leaves the
    cluster at once, so nothing is done again when its worker ends later. What fails, or loses its worker, is tried again at once; the
    third time at the end, with nothing else under way, so that it can neither harm the rest nor be blamed for what another task did.

    Parameters
    ----------
    client : distributed.Client or None
        None = in this process, in order; an error is then raised as it is.
    function : callable
        A module-level function of `audiodata.jobs`.
    tasks : iterable
        Its arguments, one each: small records.
    check : Check, optional
        What a worker must have and see before it gets work.
    journal : Journal
        Told of every piece of work and every worker.
    pauses : Pauses, optional
        What is known of the workers' room, where other work was done before.

    Raises
    ------
    EnvironmentFault
        No worker is fit, none has room, the scheduler went away, or everything fails.
    CatalogError, FeatureError, MetadataError
        As the function raises them: they concern the whole run.
    """
    if client is None:
        yield from _run_here(function, tasks, journal)
        return
    crew = _Crew(client, function, check, journal, pauses)
    try:
        yield from crew.work(tasks)
    finally:
        crew.leave()


def _run_here(function: Callable[[Any], Any], tasks: Iterable[Any], journal: Journal) -> Iterator[tuple[Any, Any]]:
    worker = own_name()
    for task in tasks:
        piece, started = {"stage": function.__name__, "name": task_name(task), "attempt": 1}, time.monotonic()
        try:
            result = function(task)
        except Exception as error:
            journal.write("task_failed", **piece, reason=explain(error))
            raise
        journal.write("task_done", **piece, worker=worker, seconds=round(time.monotonic() - started, 3))
        yield task, result


class _Crew:
    """The workers of a client, and what they are doing."""

    def __init__(
        self, client: Any, function: Callable[[Any], Any], check: Check | None, journal: Journal = SILENT, pauses: Pauses | None = None
    ):
        self._client, self._function, self._check, self._journal = client, function, check, journal
        self.under_way: dict[Any, _Attempt] = {}
        self.last_tries: deque[_Attempt] = deque()
        self.waiting: deque[_Attempt] = deque()
        self._pauses = pauses or Pauses()
        self._done: queue.SimpleQueue = queue.SimpleQueue()
        self._unfit: set[str] = set()
        self._told: set[str] = set()
        self._failures, self._succeeded = 0, False
        self._addresses: tuple[str, ...] = ()
        self._threads, self._looked, self._moved = 0, -LOOK_EVERY_S, time.monotonic()

    def work(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            self.submit(_Attempt(task, 1))
            while self.is_busy():
                yield from self.collect()
        yield from self._finish()
        while self.last_tries:
            self.submit(self.last_tries.popleft())
            yield from self._finish()

    def _finish(self) -> Iterator[tuple[Any, Any]]:
        while self.under_way or self.waiting:
            yield from self.collect()

    def leave(self) -> None:
        """Take back what is under way, where the run ends early: a scheduler that is not ours would go on with it."""
        if self.under_way and self._client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                self._client.cancel(list(self.under_way))

    def submit(self, attempt: _Attempt) -> None:
        """Send a piece of work to the workers, as soon as there is one who may get it."""
        self.waiting.append(attempt)
        self._send()

    def _send(self) -> None:
        while self.waiting:
            fit = self._fit()
            awake = self._pauses.awake(fit)
            if self._pauses.are_short(fit) and len(self.under_way) >= len(awake):
                return
            tied = frozenset(awake if len(awake) < len(self._addresses) else ())
            self._send_one(self.waiting.popleft()._replace(tied=tied))

    def _send_one(self, attempt: _Attempt) -> None:
        call = call_of(self._function, attempt.task, self._check)
        where = {"workers": sorted(attempt.tied)} if attempt.tied else {}
        future = self._client.submit(perform, call, pure=False, key=f"{self._function.__name__}-{uuid.uuid4().hex}", **where)
        self.under_way[future] = attempt
        future.add_done_callback(self._done.put)

    def is_busy(self) -> bool:
        """Whether there is enough work under way to keep all threads occupied, those of jobs that have yet to start, too."""
        self._look()
        expected = getattr(self._client.cluster, "most_threads", 0)
        return len(self.under_way) + len(self.waiting) >= TASKS_PER_THREAD * max(self._threads, expected, 1)

    def collect(self) -> Iterator[tuple[Any, Any]]:
        """Wait for the next result, and a moment at most."""
        with contextlib.suppress(queue.Empty):
            future = self._done.get(timeout=LOOK_EVERY_S)
            attempt = self.under_way.pop(future, None)
            if attempt is not None:
                yield from self._settle(future, attempt)
        self._look()
        self._send()

    def _settle(self, future: Any, attempt: _Attempt) -> Iterator[tuple[Any, Any]]:
        try:
            answer: Answer = future.result()
        except CancelledError:
            self._wait_for_scheduler()
            self.submit(attempt)
        except UnfitWorker as error:
            self._avoid(error)
            self.submit(attempt)
        except WorkerPaused as error:
            self._pauses.begin(error)
            self._journal.write("paused", worker=error.worker, reason=error.reason)
            self.submit(attempt)
        except OF_THE_WHOLE_RUN:
            raise
        except Exception as error:  # whatever a worker can meet, its own end too
            yield from self._after_failure(attempt, error)
        else:
            self._failures, self._succeeded, self._moved = 0, True, time.monotonic()
            self._pauses.end(answer.worker)
            self._tell(answer)
            self._journal.write("task_done", **self._piece(attempt), worker=answer.worker, seconds=round(answer.seconds, 3))
            yield attempt.task, answer.result
        finally:
            future.release()

    def _piece(self, attempt: _Attempt) -> dict[str, Any]:
        return {"stage": self._function.__name__, "name": task_name(attempt.task), "attempt": attempt.number}

    def _after_failure(self, attempt: _Attempt, error: Exception) -> Iterator[tuple[Any, Any]]:
        self._failures += 1
        reason = _reason(error)
        self._journal.write("task_failed", **self._piece(attempt), reason=reason)
        if not self._succeeded and self._failures >= max(HOPELESS, 2 * self._threads):
            raise error if isinstance(error, AudioDataError) else EnvironmentFault(f"nothing succeeds: {reason}") from error
        logger.info("%s failed (attempt %d): %s", self._function.__name__, attempt.number, reason)
        if attempt.number >= TRIES:
            if not isinstance(error, AudioDataError):
                logger.warning("set aside: %s", reason, exc_info=error)
            self._journal.write("set_aside", stage=self._function.__name__, name=task_name(attempt.task), tries=attempt.number, reason=reason)
            yield attempt.task, SetAside(attempt.number, reason)
            return
        again = attempt._replace(number=attempt.number + 1)
        if again.number == TRIES:
            self.last_tries.append(again)
        else:
            self.submit(again)

    def _tell(self, answer: Answer) -> None:
        for line in answer.warnings:
            text = f"worker {answer.worker}: {line}"
            if text not in self._told:
                self._told.add(text)
                logger.warning("%s", text)

    def _avoid(self, error: UnfitWorker) -> None:
        """Give a worker that joined later and does not fit no more work, if there are others."""
        address = error.worker.split()[0]
        if address not in self._unfit:
            self._unfit.add(address)
            logger.warning("%s; it gets no work", error)
            self._journal.write("unfit", worker=error.worker, reason="; ".join(error.problems))
        self._looked = -LOOK_EVERY_S
        self._look()
        if not self._fit():
            raise error

    def _fit(self) -> list[str]:
        return [address for address in self._addresses if address not in self._unfit]

    def _look(self) -> None:
        """See now and then who is there."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        if self._client.status in ("closing", "closed"):
            self._wait_for_scheduler()
        with contextlib.suppress(OSError, TypeError):  # the connection is being made again
            threads = self._client.nthreads()
            self._addresses, self._threads = tuple(threads), sum(threads.values())
            self._journal.see(threads)
        self._take_back_lost()
        self._pauses.check(self._fit())
        if now - self._moved > TELL_AFTER_S:
            self._moved = now
            self._tell_why_it_stands()

    def _take_back_lost(self) -> None:
        """Send elsewhere what waits for workers that have all gone: the scheduler would keep it for them."""
        lost = [future for future, attempt in self.under_way.items() if attempt.tied and attempt.tied.isdisjoint(self._addresses)]
        for future in lost:
            future.release()
            self.waiting.append(self.under_way.pop(future))

    def _tell_why_it_stands(self) -> None:
        """Say what keeps the work from going on, where that can be seen."""
        if not self._threads:
            logger.warning("no worker is there; waiting for one, with %d pieces of work", len(self.under_way))
            return
        with contextlib.suppress(OSError, TypeError):
            there = self._client.scheduler_info(n_workers=-1)["workers"]
            paused = sorted(address for address, one in there.items() if one.get("status") == "paused")
            for address in paused:
                self._journal.write("paused", worker=address, reason="its memory is nearly full")
            if paused:
                logger.warning("%s: paused, as its memory is nearly full; give it more memory%s", paused[0], _more(paused))
            if paused and len(paused) == len(there):
                raise EnvironmentFault(f"all workers have paused, as their memory is nearly full ({paused[0]}{_more(paused)}); give them more memory")

    def _wait_for_scheduler(self) -> None:
        while self._client.status == "connecting":
            time.sleep(LOOK_EVERY_S / 10)
        if self._client.status != "running":
            raise EnvironmentFault(SCHEDULER_GONE)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        worker = getattr(error, "last_worker", None)
        return f"its worker was lost (killed, out of memory, or crashed), the last time {getattr(worker, 'address', 'one that is gone')}"
    return explain(error)
