"""The whole chain on real recordings: AudioSet's lists and ontology, videos behind HTTP, clips, shards, a trained network."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cluster_sets import hashes
from made_sounds import encode
from media_server import MediaServer
from slurm_cluster import wait_until

from audiodata import audio
from audiodata.errors import CacheError
from audiodata.ledger import Ledger
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


@pytest.fixture
def given(videos, shared_data, tmp_path):
    """A data root with its lists, and the catalog's file."""
    root, catalog = tmp_path / "root", tmp_path / "three.toml"
    root.mkdir()
    (root / "segments.csv").write_text(videos[1])
    (root / "ontology.json").write_bytes((shared_data / "audioset" / "ontology.json").read_bytes())
    catalog.write_text(CATALOG)
    return root, catalog


def run(*words, expected=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def test_lists_to_clips_to_shards_to_a_network(videos, given, tmp_path):
    (bodies, _), (root, catalog) = videos, given
    cache, trained = tmp_path / "cache", tmp_path / "run"
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


def test_a_cache_is_built_while_the_download_goes_on(videos, given, tmp_path):
    (bodies, _), (root, catalog) = videos, given
    at_first, allowed = 6, threading.Semaphore(6)

    def wait_for_a_turn(handler, body):
        allowed.acquire()
        handler.serve(body)

    def downloaded():
        with contextlib.suppress(CacheError), Ledger(root / "ledger.sqlite", read_only=True) as ledger:  # not there yet
            return ledger.counts().get(("ok", ""), 0)

    catalog.write_text(f"{CATALOG}timeout_s = 3000.0\n")
    build = ["pipelines", "build", catalog, "--data", root, "--workers", 0, "--out"]
    with MediaServer(bodies) as server:
        for video in bodies:
            server.script(video, wait_for_a_turn, media=False)
        words = ["pipelines", "download", catalog, "--data", root, "--url-template", server.template]
        download = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: downloaded() == at_first * CLIPS_PER_VIDEO, "the first videos")
        run(*build, tmp_path / "cache", expected=1)  # what is not there yet counts as failed
        run("audiodata", "verify", tmp_path / "cache")
        assert download.poll() is None and len(open_cache(tmp_path / "cache").examples) == at_first * CLIPS_PER_VIDEO
        allowed.release(len(bodies))
        assert download.wait() == 0
    run(*build, tmp_path / "cache")
    run(*build, tmp_path / "fresh")
    assert len(open_cache(tmp_path / "cache").examples) == len(bodies) * CLIPS_PER_VIDEO
    assert hashes(tmp_path / "cache") == hashes(tmp_path / "fresh")
