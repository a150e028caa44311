"""A build on a scheduler that is there already, to be killed."""

import os
import time

import soundfile
from cluster_sets import hashes
from slurm_cluster import free_port
from soak_parts import Stage, end

from audiodata.shards import read_examples, read_ledger, verify_cache
from audiodata.shards.scratch import ORPHAN_S, scratch_file
from pipelines import demo_sounds

CATALOG = """
[dataset]
name = "folder"
[split]
fractions = {{ train = 0.6, val = 0.2, test = 0.2 }}
[audio]
sample_rate = 16000
[segment]
length_s = 1.0
hop_s = 0.25
[features.log_mel]
window_length = 1024
hop_length = 256
n_mels = {n_mels}
[features.mfcc]
window_length = 2048
hop_length = 256
n_mels = 128
n_mfcc = 20
[shards]
examples = 32
"""


class Build(Stage):
    """A build on a scheduler that is there already, with two workers of which one has scratch of its own."""

    name, kinds, done_line = "build", {"driver": 0.4, "worker": 0.4, "scheduler": 0.2}, "\ncache: "
    promised = ("unfinished: ", "scheduler has gone away", "no Dask scheduler answers")

    def __init__(self, folder, programs, rng, per_kind):
        super().__init__(folder, programs, rng)
        self.data, self.scratch, self.caches, self.n_mels = folder / "sounds", folder / "scratch", [folder / "cache-0"], 64
        self.scratch.mkdir()
        demo_sounds.write_sounds(self.data, per_kind, int(rng.integers(1 << 30)))
        self._write_catalog()
        self._address = f"tcp://127.0.0.1:{free_port()}"
        self._file, self.scheduler, self.workers = folder / "scheduler.json", None, [None, None]

    def words(self):
        return [self.folder / "soak.toml", "--data", self.data, "--out", self.caches[-1], "--scheduler", self._file]

    def keep_going(self):
        self._keep_cluster()
        if self._file.is_file():
            super().keep_going()

    def _keep_cluster(self):
        if self.scheduler is None or self.scheduler.poll() is not None:
            port = self._address.rpartition(":")[2]
            words = ["--host", "127.0.0.1", "--port", port, "--scheduler-file", self._file, "--no-dashboard"]
            self.scheduler = self.programs.start("scheduler", "distributed.cli.dask_scheduler", *words)
        for number, worker in enumerate(self.workers):
            if self._file.is_file() and (worker is None or worker.poll() is not None):
                words = [self._address, "--nthreads", 1, "--no-nanny", "--no-dashboard", "--local-directory", self.folder / "dask"]
                own = {"AUDIODATA_SCRATCH": str(self.scratch)} if number == 0 else {}
                self.workers[number] = self.programs.start(f"worker{number}", "distributed.cli.dask_worker", *words, **own)

    def victim(self, kind, draw):
        process = self.scheduler if kind == "scheduler" else self.workers[int(draw * 2)]
        return process.pid if process is not None and process.poll() is None else None

    def change(self):
        """New clips appear, a file has other content, a setting is another one, or a new cache is begun."""
        changes = [self._add_clips, self._replace_clip, self._change_setting] + [self._begin_cache] * self.complete
        changes[int(self.rng.integers(len(changes)))]()

    def _add_clips(self):
        for _ in range(8):
            self._write_clip(f"new-{int(self.rng.integers(1 << 30))}.wav")

    def _replace_clip(self):
        self._write_clip("trill-001.wav")

    def _write_clip(self, name):
        sound = demo_sounds.synthesize(demo_sounds.trill, self.rng)
        soundfile.write(self.data / "bird" / name, sound, demo_sounds.SAMPLE_RATE, "PCM_16")

    def _change_setting(self):
        self.n_mels = 104 - self.n_mels
        self._write_catalog()

    def _begin_cache(self):
        self.caches.append(self.folder / f"cache-{len(self.caches)}")

    def _write_catalog(self):
        (self.folder / "soak.toml").write_text(CATALOG.format(n_mels=self.n_mels))

    def close(self):
        super().close()
        for process in (*self.workers, self.scheduler):
            if process is not None:
                end(process)

    def clips(self):
        return len(list(self.data.rglob("*.wav")))

    def look(self):
        """Return clips lost, rows that are there twice, whether the bytes are those of an undisturbed build, and what else is wrong."""
        cache, reference = self.caches[-1], self.folder / "undisturbed"
        words = [*self.words()[:3], "--out", reference, "--workers", 0]
        self.programs.start("undisturbed", "pipelines", "build", *words).wait()
        ids = [read_ledger(cache / "ledger.parquet")["clip_id"], read_examples(cache / "examples.parquet")["example_id"]]
        lost, twice = self.clips() - ids[0].nunique(), sum(int(some.duplicated().sum()) for some in ids)
        problems = [f"{cache.name}: {problem}" for one in self.caches for problem in verify_cache(one)]
        return abs(lost), twice, hashes(cache) == hashes(reference), problems + self._litter()

    def _litter(self):
        wanted = {cache.name for cache in (*self.caches, self.folder / "undisturbed")}
        beside = {f"{name}{end}" for name in wanted for end in ("", ".ledger.sqlite", ".ledger.sqlite.lock")}
        known = beside | {"sounds", "scratch", "dask", "soak.toml", "scheduler.json"}
        found = [path for path in self.folder.iterdir() if path.name not in known]
        found += [path for cache in self.caches for path in cache.iterdir() if path.name.startswith(".")]
        return [f"{path} was left" for path in found + self._scratch_left()]

    def _scratch_left(self):
        """What is left in scratch when a worker has asked for room there once more, some time later."""
        for path in self.scratch.iterdir():
            os.utime(path, (time.time() - 2 * ORPHAN_S,) * 2)
        with scratch_file(self.scratch) as mine:
            return [path for path in self.scratch.iterdir() if path != mine]
