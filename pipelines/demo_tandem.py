"""Tandem learning: made digits -> shards -> a network without spikes -> the same network, converted layer by layer -> report -> NIR file."""

from pathlib import Path

from audiodata.console import out
from pipelines.demo_digits import write_images
from pipelines.demo_steps import step

IMAGES_PER_DIGIT = 120
NETWORK = "mnist_cnn"
EPOCHS = 6
TIME_STEPS = 8
PATIENCE = 2
TANDEM_EPOCHS = 15  # three for each layer
# 960 training examples are few: small batches, so that there are steps enough
TRAINING = ("--set", "batch_size=16")
CATALOG = """\
[about]
title = "Demo: drawn digits for networks that become spiking ones"
licence = "CC0-1.0; made by pipelines/demo_digits.py"

[dataset]
name = "idx_images"
path = "images"

[split]
scheme = "stratified"
fractions = { train = 0.8, val = 0.1, test = 0.1 }

[features.image]

[shards]
examples = 256
"""


def run(folder: Path, processes: tuple[str, ...], seed: int) -> None:
    """Run the chain; see `pipelines.demo.run_demo`."""
    count = write_images(folder / "images", IMAGES_PER_DIGIT, seed)
    catalog, cache, ann, spiking = folder / "catalog.toml", folder / "cache", folder / "ann", folder / "run"
    catalog.write_text(CATALOG, encoding="utf-8")
    out.print(f"made {count} images of digits in {folder / 'images'}")
    settings = ("--set", f"time_steps={TIME_STEPS}")
    tandem = ("--epochs", TANDEM_EPOCHS, "--seed", seed, *settings, "--set", f"patience={PATIENCE}", *TRAINING)
    step("pipelines", "build", catalog, "--data", folder, "--out", cache, *processes)
    step("audiodata", "verify", cache)
    step("models", "train", NETWORK, "--cache", cache, "--out", ann, "--epochs", EPOCHS, "--seed", seed, *TRAINING)
    step("models", "convert", ann, "--cache", cache, "--out", folder / "primitive", *settings)
    step("models", "tandem", ann, "--cache", cache, "--out", spiking, *tandem)
    step("models", "windows", ann, "--cache", cache, "--out", folder / "windows")
    step("models", "export", spiking, "--out", folder / "network.nir")
    step("audiodata", "report", cache, "--run", spiking, "--out", folder / "report.html")
