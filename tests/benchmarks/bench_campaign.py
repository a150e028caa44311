"""Simulate a download of AudioSet's size under a fake clock: list, plan, driver, limiter, circuit breaker and ledger are the real ones.

    python tests/benchmarks/bench_campaign.py [--rows 2041789] [--interval 12] [--folder DIR]

Only the platform is made: it refuses an identity that asks for more than 300 videos in an hour, loses 10 to 21 % of the clips for good,
by class, drops one connection in a hundred, and halfway asks whether this is a robot, which ends the run; a person lets 8 hours pass and
starts it again. Prints the simulated time, the driver's processor time per 1000 clips (without the platform's), peak memory, the
ledger's size, and how long a resume takes to know what is left. Each file is an empty one in the folder; a folder in memory (/dev/shm)
leaves out what the disk takes to sync the ledger after each video.
"""

import argparse
import concurrent.futures
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype="S1")
LIST = "unbalanced_train_segments.csv"
CLASSES = 100
FEATURES = {"log_mel": {"window_length": 1024, "hop_length": 512, "n_mels": 64}}
AN_HOUR_S, PER_HOUR = 3600.0, 300
FOR_GOOD = {
    "unavailable": 0.4, "private": 0.25, "removed": 0.12, "account_terminated": 0.12, "copyright_geo": 0.06, "age_gated": 0.03, "past_end": 0.02,
}
NETWORK_SHARE = 0.01
BREAK_S = 8 * 3600.0
TIMED_EVERY = 50  # requests; asking for the processor time takes as long as an answer on some machines


def make_list(folder: Path, rows: int) -> None:
    """Write an ontology without levels and a list of random videos, a class each, some classes far more frequent than others."""
    rng = np.random.default_rng(0)
    nodes = [{"id": f"/m/{number:04d}", "name": f"class {number}", "child_ids": []} for number in range(CLASSES)]
    (folder / "ontology.json").write_text(json.dumps(nodes))
    weights = 1.0 / np.arange(5, CLASSES + 5)
    with (folder / LIST).open("w") as file:
        file.write("# Segments csv\n# made\n# YTID, start_seconds, end_seconds, positive_labels\n")
        for at in range(0, rows, 100_000):
            count = min(100_000, rows - at)
            videos = LETTERS[rng.integers(0, 64, (count, 11))].view("S11").ravel().astype(str)
            starts, labels = rng.integers(0, 60, count) * 10, rng.choice(CLASSES, count, p=weights / weights.sum())
            rows_of = zip(videos, starts, labels, strict=True)
            file.writelines(f'{video}, {start}.000, {start + 10}.000, "/m/{label:04d}"\n' for video, start, label in rows_of)


class Platform:
    """A client whose executor answers as a platform would, in simulated time."""

    def __init__(self, root: Path, stop_after: int):
        self.now, self.asked, self.cpu_s = 0.0, 0, 0.0
        self._root, self._stop_after, self._rng = root, stop_after, np.random.default_rng(1)
        self._recent: deque[float] = deque()
        self._reasons, self._shares = list(FOR_GOOD), np.cumsum(list(FOR_GOOD.values()))
        self.reasons = dict.fromkeys(["ok", "network", "rate_limited", "bot_check", *FOR_GOOD], 0)

    def get_executor(self, pure: bool) -> "Platform":
        return self

    def submit(self, function, call) -> concurrent.futures.Future:
        from audiodata.worker import Answer

        is_timed = self.asked % TIMED_EVERY == 0
        started = time.process_time() if is_timed else 0.0
        future = concurrent.futures.Future()
        future.set_result(Answer(self._answer(pickle.loads(call.task)), "platform", 0.0, ()))
        if is_timed:
            self.cpu_s += (time.process_time() - started) * TIMED_EVERY
        return future

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _answer(self, task) -> list:
        from audiodata.ledger import ClipRow

        self.asked += 1
        reason = self._reason(task.recording_id)
        self.reasons[reason or "ok"] += len(task.clips)
        self.now += 2.0 + 4.0 * self._rng.random()
        if reason:
            return [ClipRow(clip.clip_id, "failed", reason, f"[youtube] {task.recording_id}: {reason}") for clip in task.clips]
        return [self._fetched(clip) for clip in task.clips]

    def _reason(self, video: str) -> str:
        while self._recent and self._recent[0] < self.now - AN_HOUR_S:
            self._recent.popleft()
        if self._stop_after < self.asked <= self._stop_after + 3:
            return "bot_check"
        if len(self._recent) >= PER_HOUR:
            return "rate_limited"
        self._recent.append(self.now)
        draw = self._rng.random()
        if draw < NETWORK_SHARE:
            return "network"
        fate = zlib.crc32(video.encode()) / 2**32  # the same whenever it is asked for
        lost = 0.10 + 0.11 * (video.encode()[0] % 8) / 7
        return self._reasons[int(np.searchsorted(self._shares, fate / lost))] if fate < lost * self._shares[-1] else ""

    def _fetched(self, clip):
        from audiodata.ledger import ClipRow

        path = f"{self._root}/{clip.path}"
        try:
            os.close(os.open(path, os.O_CREAT))
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True)
            os.close(os.open(path, os.O_CREAT))
        digest = f"{abs(hash(clip.clip_id)):064x}"
        measured = {"duration_s": 10.0, "level_db": -20.123, "peak_db": -1.5, "clipped_share": 0.0, "dc_offset": 0.0001, "bandwidth_hz": 7000.0}
        return ClipRow(clip.clip_id, "ok", "", "", clip.path, digest, digest, measured | {"finite": True, "yt_dlp": "2026.10.26"})


def measure(root: Path, rows: int, interval_s: float) -> None:
    from audiodata.catalog import parse_catalog
    from audiodata.errors import EnvironmentFault
    from audiodata.ledger import Ledger
    from audiodata.resolve import DownloadOptions
    from pipelines.download import run
    from pipelines.pacing import Time

    names = [f"class {number}" for number in range(CLASSES)]
    tables = {"dataset": {"name": "audioset", "segments": [LIST]}, "select": {"classes": names}, "features": FEATURES}
    catalog = parse_catalog(tables | {"download": {"interval_s": interval_s}}, "campaign", "campaign.toml")
    platform = Platform(root, rows // 2)
    clock = Time(lambda: platform.now, platform.sleep)
    driver_s, stops = 0.0, 0
    while True:
        before = platform.asked
        with Ledger(root / "ledger.sqlite") as ledger:
            planned = known_left(catalog, ledger, root)
            if planned.clips.empty:
                break
            started, made_s = time.process_time(), platform.cpu_s
            try:
                run(planned, ledger, root, DownloadOptions(), catalog.download, platform, time=clock)
            except EnvironmentFault as error:
                stops += 1
                print(f"day {platform.now / 86_400:.1f}: {error}")
                platform.now += BREAK_S
            driver_s += time.process_time() - started - (platform.cpu_s - made_s)
        print(f"run of {platform.asked - before} requests ends on day {platform.now / 86_400:.1f}, peak {peak_gb():.2f} GB", flush=True)
    report(root, rows, platform, driver_s, stops)


def known_left(catalog, ledger, root: Path):
    """Decide what is left, as the command does, and print what that takes."""
    from audiodata.resolve import DownloadOptions
    from pipelines.download import settle_files
    from pipelines.download_plan import plan, read_candidates

    wall, cpu = time.perf_counter(), time.process_time()
    candidates = read_candidates(catalog, root)
    status = settle_files(ledger, candidates, root, (), DownloadOptions(), None)
    planned = plan(candidates, status, interval_s=catalog.download.interval_s)
    spent = f"{time.perf_counter() - wall:.1f} s (cpu {time.process_time() - cpu:.1f} s)"
    print(f"what is left: {len(planned.clips)} of {len(candidates)} clips, known after {spent}, peak {peak_gb():.2f} GB", flush=True)
    return planned


def report(root: Path, rows: int, platform: Platform, driver_s: float, stops: int) -> None:
    from audiodata.ledger import Ledger

    with Ledger(root / "ledger.sqlite", read_only=True) as ledger:
        counts = ledger.counts()
    lost = sum(count for (status, _), count in counts.items() if status == "failed")
    accounted = sum(counts.values())
    size = sum(path.stat().st_size for path in root.glob("ledger.sqlite*"))
    print(f"simulated: {platform.now / 86_400:.1f} days, {platform.asked} requests, {stops} stop(s) that needed a person")
    print(f"refused as too many: {platform.reasons['rate_limited']} requests; network faults: {platform.reasons['network']}")
    print(f"clips: {accounted} in the ledger of {rows} in the list, {lost} lost ({lost / accounted:.1%}), {rows - accounted} unaccounted for")
    per_1000_s = driver_s / rows * 1000
    print(f"driver: {per_1000_s:.3f} s of processor time per 1000 clips; ledger {size / 1e6:.0f} MB; peak memory {peak_gb():.2f} GB")


def peak_gb() -> float:
    """Peak resident memory of this process in GB (Linux counts in units of 1024 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_041_789)
    parser.add_argument("--interval", type=float, default=12.0, help="mean seconds between two videos")
    parser.add_argument("--folder", type=Path, help="where the folder for the files is made; default: the system's")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make_list(arguments.make, arguments.rows)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        subprocess.run([sys.executable, __file__, "--rows", str(arguments.rows), "--make", folder], check=True)
        measure(Path(folder), arguments.rows, arguments.interval)


if __name__ == "__main__":
    main()
