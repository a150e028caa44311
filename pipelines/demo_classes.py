"""Sounds in classes: clips -> clean -> features -> shards -> verify -> train -> evaluate -> report, on sounds made here."""

from pathlib import Path

from audiodata.console import out
from pipelines.demo_sounds import write_sounds
from pipelines.demo_steps import FILES_FAILED, step

PER_KIND = 20
EPOCHS = 25
# 168 training examples are few: small batches give enough steps for the output neurons to begin to fire
TRAINING = ("--set", "batch_size=8", "--set", "time_steps=10", "--set", "learning_rate=0.002")
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


def run(folder: Path, processes: tuple[str, ...], seed: int) -> None:
    """Run the chain; see `pipelines.demo.run_demo`."""
    count = write_sounds(folder / "sounds", PER_KIND, seed)
    (folder / "catalog.toml").write_text(CATALOG, encoding="utf-8")
    out.print(f"made {count} sound files in {folder / 'sounds'}, four of them broken on purpose")
    cache, run_folder = folder / "cache", folder / "run"
    step("pipelines", "build", folder / "catalog.toml", "--data", folder / "sounds", "--out", cache, *processes, allowed=(FILES_FAILED,))
    step("audiodata", "verify", cache)
    step("models", "train", "csnn", "--cache", cache, "--out", run_folder, "--epochs", EPOCHS, "--seed", seed, *TRAINING)
    step("models", "evaluate", run_folder, "--cache", cache)
    step("audiodata", "report", cache, "--run", run_folder, "--out", folder / "report.html")
