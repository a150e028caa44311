"""Plan two million clips: read an AudioSet list of that length, choose, split, and lay out the shards.

    python tests/benchmarks/bench_planning.py [--rows 2000000] [--ontology ontology.json]

The list is made by another process before the clock starts: random video ids, starts and label sets, in the form in
which AudioSet publishes its lists. Without an ontology file a made one of the same size is used (632 classes, 7 roots).
Each step prints its wall and processor seconds and the peak memory of the process so far. Aim: under 20 s and 2 GB.
"""

import argparse
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


def lay_out(table: pd.DataFrame) -> pd.DataFrame:
    """Cut the candidates into examples and give each its shard."""
    from audiodata.layout import cut_segments, place

    clips = table.loc[table["reason"] == "", ["clip_id", "start_s", "split"]].reset_index(drop=True)
    clips["samples"] = SAMPLES
    examples = cut_segments(clips, length=SAMPLES, hop=SAMPLES, min_fill=0.5, sample_rate=16_000)
    return place(examples, 512)


def measure(folder: Path) -> None:
    clock = Clock()
    from audiodata.datasets import read_clips
    from audiodata.splits import assign_splits, check_leakage

    clock.step("import")
    classes = ("Music", "Animal", "Sounds of things")
    table = read_clips({"name": "audioset", "segments": [LIST]}, folder, classes=classes)
    clock.step("parse and choose")
    table["split"] = assign_splits(table, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    clock.step("split")
    check_leakage(table)
    clock.step("check for leakage")
    placed = lay_out(table)
    clock.step("shard plan")
    clock.total()
    counts = table["reason"].value_counts().to_dict()
    print(f"{len(table)} clips, {len(placed)} examples in {placed['shard'].nunique()} shards; left out: {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--ontology", type=Path, default=REAL_ONTOLOGY)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make_list(arguments.make, arguments.rows, arguments.ontology)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--rows", str(arguments.rows), "--make", folder]
        subprocess.run([*command, "--ontology", str(arguments.ontology)], check=True)
        measure(Path(folder))


if __name__ == "__main__":
    main()
