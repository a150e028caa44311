"""Resume a build of two million clips: read an AudioSet list of that length, choose, split, see what is left to inspect and to make.

    python tests/benchmarks/bench_planning.py [--rows 2041789] [--new 1000] [--folder DIR]

The list (random video ids, starts and label sets, in AudioSet's form, over a made ontology of AudioSet's size), an empty file for each
clip, and the memory of a build that has inspected every clip and made every shard are made by another process before the clock starts
(minutes). Then the same build is resumed with nothing left, and once more after new clips have come, up to the point where workers
would begin; nothing is decoded. Each step prints its wall and processor seconds and the peak memory of the process so far.
"""

import argparse
import hashlib
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype="S1")
LIST = "unbalanced_train_segments.csv"
SAMPLES = 160_000  # of a clip of 10 s at 16 kHz
NODES, CLASSES = 632, tuple(f"class {number}" for number in range(7))
CATALOG = {
    "dataset": {"name": "audioset", "segments": [LIST]},
    "select": {"classes": list(CLASSES)},
    "audio": {"sample_rate": 16_000},
    "segment": {"length_s": 10.0},
    "features": {"log_mel": {"window_length": 1024, "hop_length": 512, "n_mels": 64}},
}
AT_ONCE = 50_000


def make_ontology(path: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """Write a tree below each class; return the mids below each."""
    nodes = [{"id": f"/m/{number:04d}", "name": f"class {number}", "child_ids": []} for number in range(NODES)]
    root_of = list(range(len(CLASSES)))
    for number in range(len(CLASSES), NODES):
        parent = int(rng.integers(0, number))
        nodes[parent]["child_ids"].append(nodes[number]["id"])
        root_of.append(root_of[parent])
    path.write_text(json.dumps(nodes))
    return [np.array([node["id"] for node, root in zip(nodes, root_of, strict=True) if root == number]) for number in range(len(CLASSES))]


def make_list(folder: Path, rows: int) -> None:
    """Write the list; each clip is of one class and has 1 to 6 labels, a few labels being far more frequent than the rest."""
    rng = np.random.default_rng(0)
    below = make_ontology(folder / "ontology.json", rng)
    (folder / LIST).write_text("# Segments csv\n# made\n# YTID, start_seconds, end_seconds, positive_labels\n")
    for at in range(0, rows, AT_ONCE):
        add_lines(folder, rng, min(AT_ONCE, rows - at), below)


def add_lines(folder: Path, rng: np.random.Generator, count: int, below: list[np.ndarray]) -> None:
    videos = LETTERS[rng.integers(0, 64, (count, 11))].view("S11").ravel().astype(str)
    starts = rng.integers(0, 60, count) * 10
    sizes = rng.choice(6, count, p=[0.35, 0.3, 0.15, 0.1, 0.06, 0.04]) + 1
    with (folder / LIST).open("a") as file:
        for some, mids in zip(np.array_split(np.arange(count), len(below)), below, strict=True):
            weights = 1.0 / np.arange(5, len(mids) + 5)
            drawn = np.split(rng.choice(mids, sizes[some].sum(), p=weights / weights.sum()), np.cumsum(sizes[some])[:-1])
            rows = zip(videos[some], starts[some], drawn, strict=True)
            file.writelines(f'{video}, {start}.000, {start + 10}.000, "{",".join(dict.fromkeys(labels))}"\n' for video, start, labels in rows)


class Clock:
    """Print what each step costs."""

    def __init__(self):
        self.first = self.wall = time.perf_counter()
        self.first_cpu = self.cpu = time.process_time()
        print(f"{'step':28}{'wall':>9}{'cpu':>9}{'peak memory':>14}")

    def step(self, name: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        print(f"{name:28}{wall - self.wall:7.2f} s{cpu - self.cpu:7.2f} s{peak_gb():11.2f} GB", flush=True)
        self.wall, self.cpu = wall, cpu

    def total(self, name: str) -> None:
        print(f"{name:28}{self.wall - self.first:7.2f} s{self.cpu - self.first_cpu:7.2f} s{peak_gb():11.2f} GB", flush=True)


def peak_gb() -> float:
    """Peak resident memory of this process in GB (Linux counts in units of 1024 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def made_inspections(root: Path, clips) -> list:
    """What inspection would find: sound of 10 s that is fit for use, no two alike."""
    from audiodata.clip_files import clip_stamp
    from audiodata.records import Inspection

    measured = {"duration_s": 10.0, "level_db": -20.0, "peak_db": -1.0, "clipped_share": 0.0, "dc_offset": 0.0, "bandwidth_hz": 7e3, "finite": True}
    hashes = [hashlib.sha256(clip.clip_id.encode()).hexdigest() for clip in clips]
    return [
        Inspection(clip.clip_id, "", "", clip_stamp(root, clip), sha256, sha256, sample_rate=16_000, channels=1, samples=SAMPLES, measured=measured)
        for clip, sha256 in zip(clips, hashes, strict=True)
    ]


def make(folder: Path, rows: int) -> None:
    """Make the list, the files, and the memory of a build that has inspected every clip and made every shard."""
    from audiodata.inspections import InspectionStore
    from audiodata.planning import clip_spans
    from pipelines.build import CLIPS_PER_TASK

    make_list(folder, rows)
    for number in range(256):
        (folder / "clips" / f"{number:02x}").mkdir(parents=True)
    left = clip_spans(read(folder))
    with InspectionStore.beside(folder / "cache") as store:
        while clips := list(itertools.islice(left, CLIPS_PER_TASK)):
            for clip in clips:
                (folder / clip.path).touch()
            store.remember(clips, made_inspections(folder, clips))
    make_shards(folder)


def make_shards(folder: Path) -> None:
    """Put an empty file in the place of each shard, and note it as made."""
    from audiodata.shards import ShardRecord

    (folder / "cache").mkdir()
    with Resumed(folder) as build:
        for shard in build.shards():
            (folder / "cache" / shard.file).touch()
            build.memory.remember(ShardRecord(shard.file, shard.split, len(shard.rows), 0, "0" * 64, "0" * 64, {}, shard.fingerprint))


def read(folder: Path):
    from audiodata.datasets import read_clips

    return read_clips(CATALOG["dataset"], folder, classes=CLASSES)


class Resumed:
    """Every step of a build up to its first shard, as `pipelines.build` takes them; a context manager."""

    def __init__(self, folder: Path, on_step=lambda name: None):
        from audiodata.catalog import parse_catalog
        from audiodata.inspections import InspectionStore
        from audiodata.splits import assign_splits, check_leakage
        from pipelines.build import recall

        self.folder, self.on_step = folder, on_step
        self.catalog = parse_catalog(CATALOG, "planning", "planning.toml")
        on_step("import")
        self.table = read(folder)
        on_step("parse and choose")
        self.table["split"] = assign_splits(self.table, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
        check_leakage(self.table)
        on_step("split")
        self.store = InspectionStore.beside(folder / "cache")
        self.findings = recall(self.catalog, self.table, folder, self.store)
        on_step("what is left to inspect")
        self.memory = self.store.shards_of(folder / "cache")

    def __enter__(self) -> "Resumed":
        return self

    def __exit__(self, *error: object) -> None:
        self.store.__exit__()

    def shards(self):
        """Decide on every clip, and yield the shards of the plan."""
        from audiodata.planning import plan_cache
        from audiodata.shard_inputs import planned_shards
        from audiodata.verdicts import judge

        verdicts = judge(self.table, self.findings, self.catalog.clean)
        self.store.settle(verdicts)
        self.on_step("judge, write verdicts down")
        self.planned = plan_cache(self.catalog, self.table, self.findings, verdicts)
        self.on_step("plan")
        return planned_shards(self.planned.examples, self.planned.settings)


def resume(folder: Path) -> None:
    """Find out what is left."""
    clock = Clock()
    with Resumed(folder, clock.step) as build:
        left = [shard for shard in build.shards() if build.memory.recall(shard.file, shard.fingerprint) is None]
        clock.step("what is left to make")
        clock.total("all")
        size = build.table.memory_usage(deep=True).sum() / 1e9
        print(f"{len(build.table)} clips ({size:.2f} GB), {len(build.planned.examples)} examples; left: {len(left)} shards")


def come(folder: Path, new: int) -> None:
    """Let new clips come, inspect them as if they had been decoded, and see which shards that concerns."""
    from audiodata.planning import draft_plan, spans_at

    rng = np.random.default_rng(1)
    nodes = json.loads((folder / "ontology.json").read_text())
    add_lines(folder, rng, new, [np.array([node["id"] for node in nodes[: len(CLASSES)]])[number : number + 1] for number in range(len(CLASSES))])
    clock = Clock()
    with Resumed(folder, clock.step) as build:
        fresh = build.findings.left()
        drafted = draft_plan(build.catalog, build.table, fresh)
        clock.step("draft")
        clips = list(spans_at(build.table, np.flatnonzero(fresh)))
        build.findings.put(made_inspections(folder, clips))
        left = [shard for shard in build.shards() if build.memory.recall(shard.file, shard.fingerprint) is None]
        clock.step("what is left to make")
        clock.total("all")
    names = {clip.clip_id for clip in clips}
    own = sum(1 for shard in left if not names.isdisjoint(shard.rows["clip_id"]))
    print(f"{len(clips)} new clips, {len(drafted.clips)} of them in shards of their own; shards to make: {len(left)}, {own} with new clips")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_041_789)
    parser.add_argument("--new", type=int, default=1000, help="clips that come later")
    parser.add_argument("--folder", type=Path, help="where the folder for the files is made; default: the system's")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--come", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make(arguments.make, arguments.rows)
        return
    if arguments.resume is not None:
        resume(arguments.resume)
    elif arguments.come is not None:
        come(arguments.come, arguments.new)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for step in ("--make", "--resume", "--come"):
                subprocess.run([sys.executable, __file__, "--rows", str(arguments.rows), "--new", str(arguments.new), step, folder], check=True)


if __name__ == "__main__":
    main()
