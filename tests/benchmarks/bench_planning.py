"""Plan two million clips: read an AudioSet list of that length, choose, split, recall what is known of the files, and plan the shards.

    python tests/benchmarks/bench_planning.py [--rows 2000000] [--ontology ontology.json]

The list, and the memory of a build that has inspected every clip, are made by another process before the clock starts (minutes): random
video ids, starts and label sets, in the form in which AudioSet publishes its lists. Without an
ontology file a made one of the same size is used (632 classes, 7 roots).
Each step prints its wall and processor seconds and the peak memory of the process so far.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

REAL_ONTOLOGY = ROOT.parent / "shared" / "data" / "audioset" / "ontology.json"
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype="S1")
LIST = "unbalanced_train_segments.csv"
SAMPLES = 160_000  # of a clip of 10 s at 16 kHz
CLASSES = ("Music", "Animal", "Sounds of things")
CATALOG = {
    "dataset": {"name": "audioset", "segments": [LIST]},
    "select": {"classes": list(CLASSES)},
    "audio": {"sample_rate": 16_000},
    "segment": {"length_s": 10.0},
    "features": {"log_mel": {"window_length": 1024, "hop_length": 512, "n_mels": 64}},
}


def make_ontology(path: Path, rng: np.random.Generator) -> None:
    """Write 7 roots with chains and second parents below them."""
    nodes = [{"id": f"/m/{number:04d}", "name": f"class {number}", "child_ids": []} for number in range(632)]
    nodes[0]["name"], nodes[1]["name"], nodes[2]["name"] = "Music", "Animal", "Sounds of things"
    for number in range(7, 632):
        for parent in {int(rng.integers(0, number)) for _ in range(1 + (number % 17 == 0))}:
            nodes[parent]["child_ids"].append(nodes[number]["id"])
    path.write_text(json.dumps(nodes))


def make_list(folder: Path, rows: int, ontology: Path | None) -> None:
    """Write the list; label sets have 1 to 6 labels, a few labels being far more frequent than the rest."""
    rng = np.random.default_rng(0)
    target = folder / "ontology.json"
    if ontology is not None and ontology.is_file():
        target.write_bytes(ontology.read_bytes())
    else:
        make_ontology(target, rng)
    mids = np.array([node["id"] for node in json.loads(target.read_text())])
    weights = 1.0 / np.arange(5, len(mids) + 5)
    rng.shuffle(mids)
    with (folder / LIST).open("w") as file:
        file.write("# Segments csv\n# made\n# YTID, start_seconds, end_seconds, positive_labels\n")
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            file.writelines(_lines(rng, count, mids, weights / weights.sum()))


def _lines(rng: np.random.Generator, count: int, mids: np.ndarray, weights: np.ndarray) -> list[str]:
    videos = LETTERS[rng.integers(0, 64, (count, 11))].view("S11").ravel().astype(str)
    starts = rng.integers(0, 60, count) * 10
    sizes = rng.choice(6, count, p=[0.35, 0.3, 0.15, 0.1, 0.06, 0.04]) + 1
    drawn = np.split(rng.choice(mids, sizes.sum(), p=weights), np.cumsum(sizes)[:-1])
    return [
        f'{video}, {start}.000, {start + 10}.000, "{",".join(dict.fromkeys(labels))}"\n'
        for video, start, labels in zip(videos, starts, drawn, strict=True)
    ]


class Clock:
    """Print what each step costs."""

    def __init__(self):
        self.first = self.wall = time.perf_counter()
        self.cpu = time.process_time()
        print(f"{'step':28}{'wall':>9}{'cpu':>9}{'peak memory':>14}")

    def step(self, name: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        print(f"{name:28}{wall - self.wall:7.2f} s{cpu - self.cpu:7.2f} s{peak_gb():11.2f} GB", flush=True)
        self.wall, self.cpu = wall, cpu

    def total(self) -> None:
        print(f"{'all':28}{self.wall - self.first:7.2f} s{self.cpu:7.2f} s{peak_gb():11.2f} GB")


def peak_gb() -> float:
    """Peak resident memory of this process in GB (Linux counts in units of 1024 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def made_inspections(clips) -> list:
    """What inspection would find: sound of 10 s that is fit for use, no two alike."""
    from audiodata.records import Inspection

    measured = {"duration_s": 10.0, "level_db": -20.0, "peak_db": -1.0, "clipped_share": 0.0, "dc_offset": 0.0, "bandwidth_hz": 7e3, "finite": True}
    hashes = [hashlib.sha256(clip.clip_id.encode()).hexdigest() for clip in clips]
    return [
        Inspection(clip.clip_id, sha256=sha256, content_sha256=sha256, sample_rate=16_000, channels=1, samples=SAMPLES, measured=measured)
        for clip, sha256 in zip(clips, hashes, strict=True)
    ]


def remember(folder: Path) -> None:
    """Fill the memory of a build, as if every clip had been inspected (and no file was there, now as then)."""
    from audiodata.inspections import InspectionStore
    from audiodata.planning import spans_at

    table = read(folder)
    order = np.argsort(table["clip_id"].to_numpy(dtype=object))
    candidates = order[(table["reason"] == "").to_numpy(dtype=bool)[order]]
    with InspectionStore.beside(folder / "cache") as store:
        for at in range(0, len(candidates), 50_000):
            clips = list(spans_at(table, candidates[at : at + 50_000]))
            store.remember(clips, made_inspections(clips))


def read(folder: Path) -> pd.DataFrame:
    from audiodata.datasets import read_clips

    return read_clips({"name": "audioset", "segments": [LIST]}, folder, classes=CLASSES)


def measure(folder: Path) -> None:
    clock = Clock()
    from audiodata.catalog import parse_catalog
    from audiodata.inspections import InspectionStore
    from audiodata.planning import plan_cache, shard_tasks
    from audiodata.splits import assign_splits, check_leakage
    from audiodata.verdicts import judge
    from pipelines.build import recall

    catalog = parse_catalog(CATALOG, "planning", "planning.toml")
    clock.step("import")
    table = read(folder)
    clock.step("parse and choose")
    table["split"] = assign_splits(table, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    clock.step("split")
    check_leakage(table)
    clock.step("check for leakage")
    with InspectionStore.beside(folder / "cache") as store:
        findings = recall(catalog, table, folder, store)
        clock.step("what is left to inspect")
        verdicts = judge(table, findings, catalog.clean)
        clock.step("judge")
        store.settle(verdicts)
        clock.step("write verdicts down")
    planned = plan_cache(catalog, table, findings, verdicts)
    clock.step("plan")
    shards = sum(1 for _ in shard_tasks(planned, str(folder), str(folder / "cache")))
    clock.step("shard tasks, fingerprints")
    clock.total()
    counts = table["reason"].value_counts().to_dict()
    print(f"{len(table)} clips ({table.memory_usage(deep=True).sum() / 1e9:.2f} GB), {findings.left().sum()} left to inspect, left out: {counts}")
    print(f"{len(planned.examples)} examples in {shards} shards")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--ontology", type=Path, default=REAL_ONTOLOGY)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make_list(arguments.make, arguments.rows, arguments.ontology)
        remember(arguments.make)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--rows", str(arguments.rows), "--make", folder]
        subprocess.run([*command, "--ontology", str(arguments.ontology)], check=True)
        measure(Path(folder))


if __name__ == "__main__":
    main()
