"""What a run says at its end: how much was done, what took longest, what failed."""

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

SLOWEST = 3
SHOWN = 3


class _Timed(NamedTuple):
    seconds: float
    count: int
    name: str
    worker: str


class Tally:
    """Count what a run's journal tells, in memory that does not grow; it listens to a `pipelines.journal.Journal`.

    Attributes
    ----------
    done, failed, set_aside : int
        Pieces of work: done; failed for good; set aside after some tries, which are among the failed.
    faltered : int
        Pieces that failed once at least; most are done at the next try.
    worker_seconds : float
        Time that the workers spent, all together.
    """

    def __init__(self):
        self.done = self.failed = self.set_aside = self.faltered = 0
        self.worker_seconds = 0.0
        self._workers: set[str] = set()
        self._slowest: list[_Timed] = []
        self._failures: list[str] = []
        self._last_failure = ""

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take note of an event."""
        match event:
            case "task_done":
                self._take_done(fields)
            case "task_failed":
                self._take_failed(fields)
            case "set_aside":
                self.set_aside += 1
                self._fail(fields, fields["tries"])
            case "video":
                self._take_done(fields)
                if fields["status"] == "failed":
                    self._fail(fields, fields["attempt"])

    def _take_done(self, fields: Mapping[str, Any]) -> None:
        self.done += 1
        self.worker_seconds += fields["seconds"]
        worker = fields.get("worker", "")
        if len(self._workers) < 2:
            self._workers.add(worker)
        timed = _Timed(fields["seconds"], -self.done, fields["name"], worker)
        heapq.heappush(self._slowest, timed)
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)

    def _take_failed(self, fields: Mapping[str, Any]) -> None:
        if fields["attempt"] == 1:
            self.faltered += 1
        self._last_failure = f"{fields['name']}: {fields['reason']}"

    def _fail(self, fields: Mapping[str, Any], tries: int) -> None:
        self.failed += 1
        if len(self._failures) < SHOWN:
            self._failures.append(f"{fields['name']} ({_tries(tries)}): {fields['reason']}")

    def counts(self) -> dict[str, float]:
        """Return the counts, as a log's last line has them."""
        seconds = round(self.worker_seconds, 3)
        return {"worker_seconds": seconds, "done": self.done, "failed": self.failed, "set_aside": self.set_aside}

    def lines(self, wall_s: float) -> Iterator[str]:
        """Yield the summary's few lines; none where there was nothing to do.

        Parameters
        ----------
        wall_s : float
            Time since the run began, in seconds.
        """
        if self.done:
            yield f"work: {_pieces(self.done)}, {self.worker_seconds:.1f} s in workers, {wall_s:.1f} s in all"
            yield f"slowest: {', '.join(map(self._slow, sorted(self._slowest, reverse=True)))}"
        if self.faltered:
            yield f"failed tries: {_pieces(self.faltered)}, the last {self._last_failure}"
        for line in self._failures:
            yield f"failed: {line}"
        if self.failed > len(self._failures):
            yield f"failed: ... and {self.failed - len(self._failures)} more"

    def _slow(self, one: _Timed) -> str:
        where = f" ({one.worker})" if len(self._workers) > 1 else ""
        return f"{one.name} {one.seconds:.1f} s{where}"


def _pieces(count: int) -> str:
    return f"{count} piece{'s' if count != 1 else ''}"


def _tries(count: int) -> str:
    return f"{count} {'try' if count == 1 else 'tries'}"
