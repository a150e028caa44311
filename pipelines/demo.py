"""The whole chain on sounds that the project makes itself, by calling the three doors as commands, as a user would."""

import subprocess
import sys
import time
from pathlib import Path

from audiodata.console import out
from audiodata.errors import AudioDataError
from pipelines.demo_sounds import write_sounds

PER_KIND = 20
EPOCHS = 25
# 168 training examples are few: small batches give enough steps for the output neurons to begin to fire
TRAINING = ("--set", "batch_size=8", "--set", "time_steps=10", "--set", "learning_rate=0.002")
FILES_FAILED = 1  # the exit code of a build that is finished although some files can't be decoded
CATALOG = """\
[about]
title = "Demo: four classes of synthesized sound"
licence = "CC0-1.0; made by pipelines/demo_sounds.py"

[dataset]
name = "folder"

[split]
scheme = "stratified"
fractions = { train = 0.7, val = 0.1, test = 0.2 }

[audio]
sample_rate = 16000

[segment]
length_s = 2.0

[features.mfcc]
window_length = 1024
hop_length = 512
n_mels = 64
n_mfcc = 20

[features.log_mel]
window_length = 1024
hop_length = 512
n_mels = 64

[shards]
examples = 64
"""


def run_demo(folder: Path, workers: int | None, seed: int) -> None:
    """Make sounds, then clips -> clean -> features -> shards -> verify -> train -> evaluate -> report.

    Parameters
    ----------
    folder : path
        Gets ``sounds``, ``catalog.toml``, ``cache``, ``run`` and ``report.html``.
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
    count = write_sounds(folder / "sounds", PER_KIND, seed)
    (folder / "catalog.toml").write_text(CATALOG, encoding="utf-8")
    out.print(f"made {count} sound files in {folder / 'sounds'}, four of them broken on purpose")
    cache, run = str(folder / "cache"), str(folder / "run")
    processes = () if workers is None else ("--workers", str(workers))
    build = ("build", str(folder / "catalog.toml"), "--data", str(folder / "sounds"), "--out", cache, *processes)
    _step("pipelines", *build, allowed=(FILES_FAILED,))
    _step("audiodata", "verify", cache)
    _step("models", "train", "csnn", "--cache", cache, "--out", run, "--epochs", str(EPOCHS), "--seed", str(seed), *TRAINING)
    _step("models", "evaluate", run, "--cache", cache)
    _step("audiodata", "report", cache, "--run", run, "--out", str(folder / "report.html"))
    out.print(f"\ndone in {time.monotonic() - started:.0f} s; open {folder / 'report.html'}")
    out.print(f"cache: {cache}   metrics: {run}/metrics.json   catalog to start your own from: {folder / 'catalog.toml'}")


def _step(door: str, *words: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command as a user would, showing it first."""
    out.print(f"\n$ python -m {door} {' '.join(words)}", style="bold")
    code = subprocess.run([sys.executable, "-m", door, *words], check=False).returncode
    if code not in allowed:
        raise AudioDataError(f"demo: `python -m {door} {words[0]}` ended with exit code {code}; its message is above")
