"""The whole chain on real recordings: AudioSet's lists and ontology, videos behind HTTP, clips, shards, a trained network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_sounds import encode
from media_server import MediaServer

from audiodata import audio
from audiodata.shards import open_cache

pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (extra `youtube`)")

ROOT = Path(__file__).resolve().parents[1]
RATE, CLIP_S, CLIPS_PER_VIDEO, VIDEOS = 44100, 5, 4, 6
CLASSES = {"Dog": ("001 - Dog bark", "/m/05tny_"), "Rain": ("002 - Rain", "/m/06mb1"), "Helicopter": ("007 - Helicopter", "/m/09ct_")}
CATALOG = """
[dataset]
name = "audioset"
segments = ["segments.csv"]
[select]
classes = ["Dog", "Rain", "Helicopter"]
[split]
scheme = "stratified"
fractions = { train = 0.5, val = 0.17, test = 0.33 }
[audio]
sample_rate = 16000
[segment]
length_s = 5.0
[features.mfcc]
window_length = 1024
hop_length = 512
n_mels = 64
n_mfcc = 20
[download]
interval_s = 0.0
"""


@pytest.fixture(scope="module")
def videos(shared_data, tmp_path_factory):
    """Clips of one class joined to videos of 20 s, m4a and WebM in turn, with ids that begin with a dash; and their segment list."""
    folder = tmp_path_factory.mktemp("videos")
    bodies, rows = {}, []
    for class_name, (sounds, mid) in CLASSES.items():
        files = sorted((shared_data / "environmental_sounds" / sounds).glob("*.ogg"))
        for number in range(VIDEOS):
            chosen = files[number * CLIPS_PER_VIDEO : (number + 1) * CLIPS_PER_VIDEO]
            joined = np.concatenate([np.resize(audio.decode(path)[0][0], CLIP_S * RATE) for path in chosen])[np.newaxis]
            container, codec = (("m4a", "aac"), ("webm", "libopus"))[number % 2]
            video = f"-{class_name[:3]}_{number:06d}"
            bodies[video] = encode(folder / f"{number}.{container}", joined * 0.9, RATE, ["-c:a", codec]).read_bytes()
            rows += [f'{video}, {start:.3f}, {start + CLIP_S:.3f}, "{mid}"' for start in range(0, CLIP_S * CLIPS_PER_VIDEO, CLIP_S)]
    # AudioSet lists one segment a video; several show that a video is resolved once
    return bodies, "# made\n# num_ytids=18\n# YTID, start_seconds, end_seconds, positive_labels\n" + "\n".join(rows) + "\n"


def run(*words, expected=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def test_lists_to_clips_to_shards_to_a_network(videos, shared_data, tmp_path):
    bodies, segments = videos
    root, cache, trained = tmp_path / "root", tmp_path / "cache", tmp_path / "run"
    root.mkdir()
    (root / "segments.csv").write_text(segments)
    (root / "ontology.json").write_bytes((shared_data / "audioset" / "ontology.json").read_bytes())
    catalog = tmp_path / "three.toml"
    catalog.write_text(CATALOG)
    with MediaServer(bodies) as server:
        run("pipelines", "download", catalog, "--data", root, "--url-template", server.template)
        asked = len(server.requests)
        run("pipelines", "download", catalog, "--data", root, "--url-template", server.template)
        assert len(server.requests) == asked  # a second run has nothing left to do
    run("pipelines", "build", catalog, "--data", root, "--out", cache, "--workers", 2)
    run("audiodata", "verify", cache)
    made = open_cache(cache)
    assert len(made.examples) == len(CLASSES) * VIDEOS * CLIPS_PER_VIDEO
    assert made.examples.groupby("group_id")["split"].nunique().max() == 1
    assert (made.examples["duration_s"] == CLIP_S).all()
    run("models", "train", "csnn", "--cache", cache, "--out", trained, "--epochs", 2)
    run("models", "evaluate", trained, "--cache", cache)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert np.sum(metrics["confusion_matrix"]) == metrics["examples"] == (made.examples["split"] == "test").sum()
