"""Sounds with directions: simulator -> clips -> features -> shards -> SpikSLC-Net beside other methods -> table -> report, on sounds made here."""

import shutil
from pathlib import Path

from audiodata.console import out
from pipelines.demo_sounds import write_sounds
from pipelines.demo_steps import FILES_FAILED, step

PER_KIND = 12
NETWORK = "spikslcnet-1-64"
OTHERS = ("slcnet-1-64", "gcc_phat_cnn", "srp_phat")
EPOCHS = 14
# 1,200 training examples are few: small batches and large steps, which thousands of examples would not need
TRAINING = ("--set", "batch_size=16", "--set", "learning_rate=0.002")
CATALOG = """\
[about]
title = "Demo: four classes of synthesized sound, heard by four microphones from 72 directions"
licence = "CC0-1.0; made by pipelines/demo_sounds.py"

[dataset]
name = "simulated_array"
sounds = { name = "folder" }
per_sound = 12                  # of the 72 azimuths, drawn for each sound
snr_db = 30.0                   # of the microphones' own noise
duration_s = 1.0
sample_rate = 16000

[split]
scheme = "stratified"           # over sounds: all directions of one are on the same side
fractions = { train = 0.7, val = 0.1, test = 0.2 }

[array]                         # metres: x front, y left, z up
positions_m = [[0.032, 0.0, 0.0], [0.0, 0.032, 0.0], [-0.032, 0.0, 0.0], [0.0, -0.032, 0.0]]

[audio]
sample_rate = 16000
channels = 4

[segment]
length_s = 1.0

[features.gcc_phat]
window_length = 1024
hop_length = 512
max_lag = 25

[features.log_mel]
window_length = 1024
hop_length = 512
n_mels = 51
f_min_hz = 250.0

[shards]
examples = 256
"""


def run(folder: Path, processes: tuple[str, ...], seed: int) -> None:
    """Run the chain; see `pipelines.demo.run_demo`."""
    count = write_sounds(folder / "sounds", PER_KIND, seed)
    catalog, cache, comparison = folder / "catalog.toml", folder / "cache", folder / "comparison"
    catalog.write_text(CATALOG, encoding="utf-8")
    out.print(f"made {count} sound files in {folder / 'sounds'}, four of them broken on purpose")
    step("pipelines", "simulate", catalog, "--data", folder, *processes, allowed=(0, FILES_FAILED))
    step("pipelines", "build", catalog, "--data", folder, "--out", cache, *processes, allowed=(0, FILES_FAILED))
    step("audiodata", "verify", cache)
    step("models", "compare", NETWORK, *OTHERS, "--cache", cache, "--out", comparison, "--epochs", EPOCHS, "--seed", seed, *TRAINING)
    shutil.copytree(comparison / NETWORK, folder / "run")
    step("audiodata", "report", cache, "--run", folder / "run", "--out", folder / "report.html")
