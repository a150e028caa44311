"""Events: made digits -> simulated retina and cochlea -> pairs -> shards -> the multimodal network beside others -> table -> report."""

import shutil
from pathlib import Path

from audiodata.console import out
from pipelines.demo_digits import write_images, write_voices
from pipelines.demo_steps import step

IMAGES_PER_DIGIT = 50
SPEAKERS = 6
TIMES_SPOKEN = 8
NETWORK = "multimodal"
OTHERS = ("v_network", "a_network", "multimodal_fc")
EPOCHS = 7
TRAINING = ("--set", "batch_size=16")  # 350 training examples are few: small batches, so that there are steps enough
CATALOG = """\
[about]
title = "Demo: made digits, seen by a simulated retina and heard by a simulated cochlea"
licence = "CC0-1.0; made by pipelines/demo_digits.py"

[dataset]
name = "joint_events"

[dataset.visual]                # images, moved before a retina
name = "simulated_events"
sensor = "retina"
source = { name = "idx_images", path = "images" }
split = { scheme = "stratified", fractions = { train = 0.7, val = 0.1, test = 0.2 } }

[dataset.auditory]              # voices, through a cochlea
name = "simulated_events"
sensor = "cochlea"
source = { name = "folder", path = "voices", pattern = "(?P<class>[0-9])_(?P<group>[a-z0-9]+)_[0-9]+[.]wav" }
split = { scheme = "held_out", held_out = { val = ["speaker4"], test = ["speaker5"] } }

[split]
scheme = "published"            # each side was divided above, before anything was paired

[segment]
length_s = 0.5
short = "repeat"

[features.visual_frames]
time_steps = 20

[features.auditory_frames]
time_steps = 20

[shards]
examples = 256
"""


def run(folder: Path, processes: tuple[str, ...], seed: int) -> None:
    """Run the chain; see `pipelines.demo.run_demo`."""
    images = write_images(folder / "images", IMAGES_PER_DIGIT, seed)
    voices = write_voices(folder / "voices", SPEAKERS, TIMES_SPOKEN, seed)
    catalog, cache, comparison = folder / "catalog.toml", folder / "cache", folder / "comparison"
    catalog.write_text(CATALOG, encoding="utf-8")
    out.print(f"made {images} images of digits in {folder / 'images'} and {voices} sounds in {folder / 'voices'}")
    step("pipelines", "build", catalog, "--data", folder, "--out", cache, *processes)
    step("audiodata", "verify", cache)
    step("models", "compare", NETWORK, *OTHERS, "--cache", cache, "--out", comparison, "--epochs", EPOCHS, "--seed", seed, *TRAINING)
    shutil.copytree(comparison / NETWORK, folder / "run")
    step("audiodata", "report", cache, "--run", folder / "run", "--out", folder / "report.html")
