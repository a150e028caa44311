"""Workers whose own disk has no room: they rest, and are tried again now and then, while others do their work."""

import logging
import time
from collections.abc import Sequence

from audiodata.errors import EnvironmentFault
from audiodata.worker import WorkerPaused

REST_S = 60.0
GIVE_UP_S = 600.0  # after all have been without room, and nothing was done since

logger = logging.getLogger(__name__)


class Pauses:
    """Who has no room, who rests for that, and since when nobody has any."""

    def __init__(self) -> None:
        self._short: dict[str, WorkerPaused] = {}
        self._rest_ends: dict[str, float] = {}
        self._told: set[str] = set()
        self._stuck_since: float | None = None

    def begin(self, error: WorkerPaused) -> None:
        """Let a worker rest, and say so the first time."""
        address = error.worker.split()[0]
        self._short[address] = error
        self._rest_ends[address] = time.monotonic() + REST_S
        if address not in self._told:
            self._told.add(address)
            logger.warning("%s; it pauses, and is tried again every %.0f s", error, REST_S)

    def end(self, worker: str) -> None:
        """Note that a worker, by its name, has done a piece of work: it has room."""
        self._stuck_since = None
        if self._short.pop(worker.split()[0], None) is not None:
            logger.info("worker %s has room again", worker)

    def awake(self, addresses: Sequence[str]) -> list[str]:
        """Return those that may get work."""
        now = time.monotonic()
        return [address for address in addresses if address not in self._short or self._rest_ends[address] <= now]

    def are_short(self, addresses: Sequence[str]) -> bool:
        """Whether there are workers, and all of them had no room the last time that they tried."""
        return bool(addresses) and all(address in self._short for address in addresses)

    def check(self, addresses: Sequence[str]) -> None:
        """Make sure that there is somebody with room, or hope for it.

        Raises
        ------
        EnvironmentFault
            All have been without room for `GIVE_UP_S`.
        """
        if not self.are_short(addresses):
            return
        now = time.monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
            logger.warning("no worker has room for its work; waiting for room, %.0f min at most", GIVE_UP_S / 60)
        if now - self._stuck_since > GIVE_UP_S:
            raise EnvironmentFault(
                f"no worker has room for its work ({len(addresses)} tried): {self._short[min(addresses)]}; "
                "what is done is kept, and the same command continues"
            )
