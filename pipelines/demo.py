"""The whole chain on sounds that the project makes itself, by calling the three doors as commands, as a user would."""

import time
from collections.abc import Callable
from pathlib import Path

from audiodata.console import out
from pipelines import demo_classes, demo_events, demo_spatial, demo_tandem

DEMOS: dict[str, Callable[[Path, tuple[str, ...], int], None]] = {
    "classes": demo_classes.run,
    "spatial": demo_spatial.run,
    "events": demo_events.run,
    "tandem": demo_tandem.run,
}


def run_demo(kind: str, folder: Path, workers: int | None, seed: int) -> None:
    """Make sounds, then run everything on them, from files to a report.

    Parameters
    ----------
    kind : str
        A key of `DEMOS`.
    folder : path
        Gets the sounds, ``catalog.toml``, ``cache``, ``run`` and ``report.html``.
    workers : int or None
        Processes of the build; None = one per core.
    seed : int
        Of the sounds and the training.

    Raises
    ------
    AudioDataError
        A step failed; its own message is above.
    """
    started = time.monotonic()
    processes = () if workers is None else ("--workers", str(workers))
    DEMOS[kind](folder, processes, seed)
    out.print(f"\ndone in {time.monotonic() - started:.0f} s; open {folder / 'report.html'}")
    out.print(f"cache: {folder / 'cache'}   metrics: {folder / 'run' / 'metrics.json'}   catalog to start your own from: {folder / 'catalog.toml'}")
