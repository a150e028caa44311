"""Shards against the usual file: one HDF5 file, one gzip data set per clip and feature.

Both hold the same numbers (MFCC with 20 and log-mel with 128 coefficients of 10 s at 16 kHz, float32, of synthesized
sounds) and both lie in the page cache. Passes over one shuffled order take turns; the figure is the median of all
reads.

Usage: python tests/benchmarks/bench_shards.py [--clips 400] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import librosa
import numpy as np
import pandas as pd

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from audiodata.shards import (
    CACHE_FORMAT,
    CACHE_FORMAT_VERSION,
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    Layout,
    ShardWriter,
    ledger_counts,
    open_cache,
    split_counts,
    verify_cache,
    write_examples,
    write_ledger,
    write_manifest,
)

SAMPLE_RATE = 16000
DIFFERENT_CLIPS = 100
BATCH = 32
TARGETS = {"label": Layout((), "int64"), "length": Layout((), "int32", (), "samples")}


def synthesize(rng: np.random.Generator) -> np.ndarray:
    """Ten seconds of coloured noise under a few gliding tones that come and go."""
    time_s = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.cumsum(rng.normal(size=time_s.size)) * 0.002
    waveform = noise - np.convolve(noise, np.ones(400) / 400, "same") + 0.002 * rng.normal(size=time_s.size)
    for _ in range(4):
        start, stop = rng.uniform(100, 6000, size=2)
        envelope = np.clip(np.sin(2 * np.pi * rng.uniform(0.1, 1.5) * time_s + rng.uniform(0, 6)), 0, 1)
        waveform += 0.1 * envelope * np.sin(2 * np.pi * (start + (stop - start) * time_s / 20) * time_s)
    return waveform.astype(np.float32)


def make_features(clips: int) -> list[dict[str, np.ndarray]]:
    """Return ``mfcc`` [20, 313] and ``log_mel`` [128, 313] of each clip; some clips share a sound."""
    rng = np.random.default_rng(0)
    different = []
    for _ in range(min(clips, DIFFERENT_CLIPS)):
        power = librosa.feature.melspectrogram(y=synthesize(rng), sr=SAMPLE_RATE, n_fft=2048, hop_length=512)
        log_mel = librosa.power_to_db(power, top_db=None)
        different.append({"mfcc": librosa.feature.mfcc(S=log_mel, n_mfcc=20), "log_mel": log_mel})
    return [different[number % len(different)] for number in range(clips)]


def identifier(number: int) -> str:
    return f"Y{number:08d}#0"


def write_usual(path: Path, features: list[dict[str, np.ndarray]]) -> None:
    with h5py.File(path, "w") as file:
        for number, arrays in enumerate(features):
            group = file.create_group(identifier(number))
            for name, array in arrays.items():
                group.create_dataset(name, data=array, compression="gzip")
            group.attrs["label"] = number % 3


def as_ours(array: np.ndarray) -> np.ndarray:
    """[coefficient, frame] to [channel, frame, coefficient]."""
    return np.ascontiguousarray(array.T[np.newaxis])


def layouts_of(features: dict[str, np.ndarray]) -> dict[str, Layout]:
    axes = ("channel", "frame", "coefficient")
    return {name: Layout(as_ours(array).shape, "float32", axes, "dB") for name, array in features.items()}


def write_ours(folder: Path, features: list[dict[str, np.ndarray]], per_shard: int) -> None:
    """Write a whole cache: shards, fsynced and verified, tables, manifest."""
    folder.mkdir()
    layouts = layouts_of(features[0])
    records, rows = [], []
    for first in range(0, len(features), per_shard):
        path = folder / f"train-{first // per_shard:04d}.h5"
        with ShardWriter(path, fingerprint="", split="train", features=layouts, targets=TARGETS) as writer:
            for number in range(first, min(first + per_shard, len(features))):
                arrays = {name: as_ours(array) for name, array in features[number].items()}
                writer.add(identifier(number), arrays, {"label": number % 3, "length": 10 * SAMPLE_RATE})
                rows.append((identifier(number), path.name, number - first, "abc"[number % 3], number % 3))
        records.append(writer.record)
    finish_cache(folder, layouts, records, pd.DataFrame(rows, columns=["example_id", "shard", "row", "label", "index"]))


def finish_cache(folder: Path, layouts: dict[str, Layout], records: list, rows: pd.DataFrame) -> None:
    examples = rows.rename(columns={"index": "label_index"}).assign(
        clip_id=rows["example_id"], group_id=rows["example_id"], split="train", start_s=0.0, duration_s=10.0, labels=""
    )
    ledger = pd.DataFrame({"clip_id": rows["example_id"], "status": "ok", "reason": "", "detail": ""})
    write_examples(folder / EXAMPLES_FILE, examples)
    write_ledger(folder / LEDGER_FILE, ledger)
    manifest = {
        "format": CACHE_FORMAT,
        "format_version": CACHE_FORMAT_VERSION,
        "catalog": {},
        "catalog_fingerprint": "",
        "classes": list("abc"),
        "audio": {},
        "features": {name: layout.record() for name, layout in layouts.items()},
        "targets": {name: layout.record() for name, layout in TARGETS.items()},
        "splits": split_counts(examples, list("abc")),
        "shards": [record._asdict() for record in records],
        "versions": {},
        "counts": ledger_counts(ledger),
    }
    write_manifest(folder / MANIFEST_FILE, manifest)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare_reads(what: str, usual: Callable, ours: Callable, order: list, rounds: int, aim: float = 0.0) -> None:
    """Print the median time of one read for both and the ratio; passes over the whole order take turns."""
    times = [], []
    for _ in range(rounds):
        for reader, taken in zip((usual, ours), times, strict=True):
            for item in order:
                start = time.perf_counter()
                reader(item)
                taken.append(time.perf_counter() - start)
    theirs_us, ours_us = (1e6 * statistics.median(taken) for taken in times)
    aimed = f" (aim: {aim:.0f}x)" if aim else ""
    print(f"{what:46s} usual {theirs_us:8.0f} us   ours {ours_us:7.0f} us   {theirs_us / ours_us:5.1f}x{aimed}")


def bench_writes(folder: Path, features: list[dict[str, np.ndarray]], per_shard: int, rounds: int) -> None:
    """Print the time per clip of writing; ours is fsynced, decoded again and compared, the usual one is not."""
    theirs, ours = [], []
    for number in range(rounds):
        theirs.append(seconds(lambda number=number: write_usual(folder / f"usual-{number}.h5", features)))
        ours.append(seconds(lambda number=number: write_ours(folder / f"cache-{number}", features, per_shard)))
    theirs_ms, ours_ms = (1e3 * statistics.median(taken) / len(features) for taken in (theirs, ours))
    sizes = [sum(path.stat().st_size for path in paths) for paths in sizes_of(folder)]
    print(f"{'write one clip':46s} usual {theirs_ms:8.2f} ms   ours {ours_ms:7.2f} ms   {theirs_ms / ours_ms:5.1f}x")
    print(f"{'size':46s} usual {sizes[0] / 1e6:8.1f} MB   ours {sizes[1] / 1e6:7.1f} MB   {sizes[0] / sizes[1]:5.2f}x")


def sizes_of(folder: Path) -> tuple[list[Path], list[Path]]:
    return [folder / "usual-0.h5"], list((folder / "cache-0").iterdir())


def check_same(file: h5py.File, cache, clips: int) -> None:
    for number in range(clips):
        found = cache.read(identifier(number))
        for name in ("mfcc", "log_mel"):
            np.testing.assert_array_equal(found[name], as_ours(file[identifier(number)][name][:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--per-shard", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    features = make_features(options.clips)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_writes(folder, features, options.per_shard, options.rounds)
        bench_all_reads(folder, options.clips, options.rounds)
        taken = seconds(lambda: verify_cache(folder / "cache-0"))
        print(f"{'verify one clip':46s} {'':17s}   ours {1e3 * taken / options.clips:7.2f} ms")


def bench_all_reads(folder: Path, clips: int, rounds: int) -> None:
    cache = open_cache(folder / "cache-0")
    order = [int(number) for number in np.random.default_rng(1).permutation(clips)]
    batches = [order[first : first + BATCH] for first in range(0, clips - BATCH + 1, BATCH)]
    with h5py.File(folder / "usual-0.h5", "r") as file:
        check_same(file, cache, clips)

        def usual(number: int) -> dict[str, np.ndarray]:
            group = file[identifier(number)]
            return {"mfcc": group["mfcc"][:], "log_mel": group["log_mel"][:], "label": group.attrs["label"]}

        def usual_batch(numbers: list[int]) -> dict[str, np.ndarray]:
            arrays = [usual(number) for number in numbers]
            return {name: np.stack([array[name] for array in arrays]) for name in arrays[0]}

        def places(numbers: list[int]) -> list[tuple[str, int]]:
            return [cache.place(number) for number in numbers]

        compare_reads(
            "one example at random, mfcc + log_mel + label",
            usual,
            lambda number: cache.read(identifier(number)),
            order,
            rounds,
            aim=12,
        )
        compare_reads(
            "one example at random, mfcc alone",
            lambda number: file[identifier(number)]["mfcc"][:],
            lambda number: cache.read_row(*cache.place(number), ["mfcc"]),
            order,
            rounds,
            aim=12,
        )
        compare_reads(
            f"{BATCH} examples at random as one array",
            usual_batch,
            lambda numbers: cache.read_rows(places(numbers)),
            batches,
            rounds,
        )


if __name__ == "__main__":
    main()
