"""Look at a cache of two million clips: what `info`, `report` and one example take when the tables have that length.

    python tests/benchmarks/bench_report.py [--rows 2041789] [--folder DIR]

The tables are made up; all examples lie in one real shard, as no step reads more than a few of them. A tenth of the clips are lost, each
with a message of its own. Prints wall and processor seconds and peak memory of each command, and what Python with pandas and
matplotlib takes for a cache of a thousandth of the length.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

ROWS_IN_SHARD, CLASSES = 512, [f"class {number}" for number in range(20)]
SHARD = "train-00000.h5"
READ_ONE = "from audiodata.shards import open_cache; cache = open_cache({!r}); cache.read(cache.examples['example_id'].iloc[-1])"


def make(folder: Path, rows: int) -> None:
    """Write a cache whose tables have so many rows."""
    from audiodata.fingerprint import hash_json
    from audiodata.shards import (
        EXAMPLES_FILE,
        LEDGER_FILE,
        MANIFEST_FILE,
        Layout,
        ShardWriter,
        ledger_counts,
        split_counts,
        write_examples,
        write_ledger,
        write_manifest,
    )

    folder.mkdir()
    features = {"log_mel": Layout((1, 101, 40), "float32", ("channel", "frame", "mel"), "dB")}
    targets = {"label": Layout((), "int64", (), "class index")}
    rng = np.random.default_rng(0)
    with ShardWriter(folder / SHARD, fingerprint="f" * 64, split="train", examples=ROWS_IN_SHARD, features=features, targets=targets) as writer:
        for row in range(ROWS_IN_SHARD):
            writer.add(f"{row}", {"log_mel": rng.normal(size=(1, 101, 40)).astype(np.float32)}, {"label": 0})
    examples, ledger = tables(rows, rng)
    written = {EXAMPLES_FILE: write_examples(folder / EXAMPLES_FILE, examples), LEDGER_FILE: write_ledger(folder / LEDGER_FILE, ledger)}
    catalog = {"name": "long", "about": dict.fromkeys(("title", "summary", "homepage", "licence", "citation"), ""), "dataset": {"name": "folder"}}
    write_manifest(folder / MANIFEST_FILE, {
        "format": "audiodata-cache", "format_version": 1, "catalog": catalog | {"split": {"scheme": "grouped"}},
        "catalog_fingerprint": hash_json({}), "classes": CLASSES, "audio": {"sample_rate": 16000, "channels": 1, "segment_samples": 16000},
        "features": {name: layout.record() | {"version": 1} for name, layout in features.items()},
        "targets": {name: layout.record() for name, layout in targets.items()},
        "splits": split_counts(examples, CLASSES), "shards": [writer.record._asdict()], "versions": {}, "counts": ledger_counts(ledger),
        "tables": written,
    })


def tables(rows: int, rng: np.random.Generator):
    import pandas as pd

    ids = pd.Series([f"Y{number * 2654435761 % 2**32:010d}_{number % 600 * 1000}" for number in range(rows)], dtype="str")
    lost = rng.random(rows) < 0.1
    detail = pd.Series([f"[youtube] {clip_id}: Private video" if is_lost else "" for clip_id, is_lost in zip(ids, lost, strict=True)], dtype="str")
    ledger = pd.DataFrame({
        "clip_id": ids, "status": np.where(lost, "failed", "ok"), "reason": np.where(lost, "private", ""), "detail": detail,
    })
    kept = ids[~lost].reset_index(drop=True)
    numbers = rng.integers(0, len(CLASSES), len(kept))
    examples = pd.DataFrame({
        "example_id": kept + "#0", "clip_id": kept, "group_id": kept, "split": np.where(numbers % 5, "train", "test"), "shard": SHARD,
        "row": np.arange(len(kept)) % ROWS_IN_SHARD, "start_s": 0.0, "duration_s": 10.0, "label": np.array(CLASSES)[numbers],
        "label_index": numbers, "labels": np.array(CLASSES)[numbers],
    })
    return examples, ledger


def measure(name: str, *words: str) -> None:
    """Run Python with words and print what that takes."""
    program = (
        "import json, resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True, cwd=ROOT)
    cpu_s, peak = json.loads(done.stdout)
    print(f"{name:28}{time.perf_counter() - started:7.2f} s{cpu_s:7.2f} s{peak * 1024 / 1e9:11.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_041_789)
    parser.add_argument("--folder", type=Path, help="where the folder for the files is made; default: the system's")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make(arguments.make, arguments.rows)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for rows in (arguments.rows // 1000, arguments.rows):
            cache = f"{folder}/{rows}"
            print(f"{f'{rows} clips':28}{'wall':>9}{'cpu':>9}{'peak memory':>14}")
            measure("make the tables", __file__, "--rows", str(rows), "--make", cache)
            measure("info", "-m", "audiodata", "info", cache)
            measure("report", "-m", "audiodata", "report", cache, "--out", f"{folder}/report.html")
            measure("one example by its id", "-c", READ_ONE.format(cache))


if __name__ == "__main__":
    main()
