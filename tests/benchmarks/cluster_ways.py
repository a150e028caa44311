"""One way to turn a folder of sound files into stored log-mel features, in a process of its own; `bench_cluster.py` runs it.

A way gets ready, says so, waits for a line on its standard input, works, and says how long that took: one line of JSON each.
Ours does all that ``python -m pipelines build`` does: hash, decode, clean, plan, features, compressed shards that are read back and
compared, fsync, tables, manifest; `fast` is the same with ``[compute] fft = "mkl"`` in the catalog. The peers decode, compute and store,
and are given what suits them:

- lhotse: `CutSet.compute_and_store_features`, its extractor Fbank (in torch, one thread), float32 in one HDF5 archive a job,
  and an executor whose processes have started and imported it before the clock starts.
- datasets: `Dataset.map` with `num_proc`, reading by soundfile (faster than `librosa.load`) and computing by librosa's STFT with mel
  filters that are made once (faster than `melspectrogram`); float32 arrays of known shape in Arrow files. Its processes are forks, made
  while the clock runs, as `map` itself does it.
- mapped: the same `Dataset.map`, computing by this package's own `log_mel`. No peer, but what all that a build does besides costs.
"""

import argparse
import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

RATE, SECONDS = 16_000, 5
WINDOW, HOP, BANDS = 1024, 256, 64
EXAMPLES = 128  # a shard: pieces enough that both workers are busy to the end
TABLES = {
    "dataset": {"name": "folder"},
    "audio": {"sample_rate": RATE},
    "clean": {"duplicates": "keep", "min_level_db": -120.0},
    "segment": {"length_s": float(SECONDS)},
    "features": {"log_mel": {"window_length": WINDOW, "hop_length": HOP, "n_mels": BANDS}},
    "shards": {"examples": EXAMPLES},
}
Work = Callable[[], dict[str, float]]


@contextlib.contextmanager
def build_with(workers: int, files: Path, out: Path, fft: str = "scipy") -> Iterator[Work]:
    """Ours, with so many Dask workers; 0 = in this process."""
    from audiodata.catalog import parse_catalog
    from pipelines.cluster import connect

    catalog = parse_catalog(TABLES | {"compute": {"fft": fft}}, "bench", "bench.toml")
    with connect(workers) as client:
        warm_up(catalog, client, files, out)
        yield lambda: build_in_stages(catalog, client, files, out / "cache")


def build_fast_with(workers: int, files: Path, out: Path) -> contextlib.AbstractContextManager[Work]:
    """Ours, with the FFT of MKL, as the extra `fast` has it."""
    return build_with(workers, files, out, "mkl")


def warm_up(catalog: Any, client: Any, files: Path, out: Path) -> None:
    """Make a shard of a few clips in each worker, or here, so that everything is imported and machine code loaded."""
    import numpy as np

    from audiodata import jobs
    from audiodata.planning import draft_plan, shard_drafts
    from pipelines.build import read_table

    out.mkdir(parents=True)
    table = read_table(catalog, files, 3)
    draft = next(shard_drafts(draft_plan(catalog, table, np.ones(len(table), bool)), str(files), str(out)))
    if client is None:
        jobs.build_ahead(draft)
    else:
        client.run(jobs.build_ahead, draft)


def build_in_stages(catalog: Any, client: Any, files: Path, out: Path) -> dict[str, float]:
    """Build; return the seconds of the stage in which clips become features, which workers do, and of the whole."""
    from pipelines import build

    stages, made_ahead = {}, build.build_ahead

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        found = made_ahead(*arguments)
        stages["features_s"] = time.perf_counter() - started
        return found

    build.build_ahead = timed
    manifest = build.build(catalog, files, out, client)
    made = sum(shard["examples"] for shard in manifest["shards"])
    return stages | {"clips": made, "megabytes": sum(shard["bytes"] for shard in manifest["shards"]) / 1e6}


@contextlib.contextmanager
def lhotse_with(workers: int, files: Path, out: Path) -> Iterator[Work]:
    """CutSet.compute_and_store_features with a pool of processes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import lhotse
    import torch

    torch.set_num_threads(1)
    extractor = lhotse.Fbank(
        lhotse.FbankConfig(frame_length=WINDOW / RATE, frame_shift=HOP / RATE, num_filters=BANDS, low_freq=0.0, high_freq=0.0, window_type="hanning")
    )
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_import_lhotse) as pool:
        list(pool.map(time.sleep, [0.5] * workers))
        yield lambda: _lhotse_features(lhotse, extractor, pool, workers, files, out)


def _import_lhotse() -> None:
    import lhotse  # noqa: F401
    import torch

    torch.set_num_threads(1)


def _lhotse_features(lhotse: Any, extractor: Any, pool: Any, workers: int, files: Path, out: Path) -> dict[str, float]:
    recordings = [lhotse.Recording.from_file(path) for path in _paths(files)]
    cuts = lhotse.CutSet.from_cuts(recording.to_cut() for recording in recordings)
    done = cuts.compute_and_store_features(extractor, out, workers, storage_type=lhotse.NumpyHdf5Writer, executor=pool)
    done.to_file(out / "cuts.jsonl.gz")
    return {"clips": len(done), "megabytes": _megabytes(out)}


def _librosa_log_mel() -> Callable[[str], Any]:
    import librosa
    import numpy as np
    import soundfile

    filters = librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS)

    def log_mel(path: str) -> Any:
        waveform, _ = soundfile.read(path, dtype="float32")
        power = np.abs(librosa.stft(waveform, n_fft=WINDOW, hop_length=HOP)) ** 2
        return librosa.power_to_db(filters @ power, top_db=None)

    return log_mel


def _own_log_mel() -> Callable[[str], Any]:
    import soundfile

    from audiodata.features.spectral import LogMelConfig, log_mel

    config = LogMelConfig(window_length=WINDOW, hop_length=HOP, n_mels=BANDS, sample_rate=RATE)
    return lambda path: log_mel(soundfile.read(path, dtype="float32")[0], config)[0]


@contextlib.contextmanager
def datasets_with(workers: int, files: Path, out: Path, function: Callable[[], Callable[[str], Any]] = _librosa_log_mel) -> Iterator[Work]:
    """Dataset.map."""
    import datasets

    datasets.disable_progress_bars()
    out.mkdir(parents=True)
    log_mel, paths = function(), [str(path) for path in _paths(files)]
    shape = log_mel(paths[0]).shape  # and compile, and load

    def work() -> dict[str, float]:
        told = datasets.Features({"path": datasets.Value("string"), "log_mel": datasets.Array2D(shape, "float32")})
        given = datasets.Dataset.from_dict({"path": paths})
        done = given.map(lambda row: {"log_mel": log_mel(row["path"])}, num_proc=workers, features=told, cache_file_name=str(out / "map.arrow"))
        return {"clips": len(done), "megabytes": _megabytes(out)}

    yield work


def mapped_with(workers: int, files: Path, out: Path) -> contextlib.AbstractContextManager[Work]:
    """Dataset.map with our own function."""
    return datasets_with(workers, files, out, _own_log_mel)


def _paths(files: Path) -> list[Path]:
    return sorted(files.rglob("*.flac"))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


WAYS = {"ours": build_with, "fast": build_fast_with, "lhotse": lhotse_with, "datasets": datasets_with, "mapped": mapped_with}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("workers", type=int)
    parser.add_argument("files", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")  # whatever else writes to the standard output
    with WAYS[arguments.way](arguments.workers, arguments.files, arguments.out) as work:
        print(json.dumps({"cpu_s": time.process_time()}), file=answers, flush=True)
        sys.stdin.readline()
        started, cpu = time.perf_counter(), time.process_time()
        found = work()
        found |= {"work_s": time.perf_counter() - started, "driver_cpu_s": time.process_time() - cpu}
        print(json.dumps(found), file=answers, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
