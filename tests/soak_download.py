"""A download from a server that refuses, breaks off, cuts short and lacks as it is told, to be killed."""

import json
import time
from pathlib import Path
from typing import NamedTuple

from made_audioset import CLASSES, published, write_ontology
from made_sounds import chirp, encode
from media_server import MediaServer, cut_after, good, page, status
from soak_parts import Stage, children, command_of

from audiodata.fingerprint import hash_file
from audiodata.ledger import Ledger

RATE, START_S, LENGTH_S, PAUSE_S = 44100, 2.0, 3.0, 0.1


def slowly(answer):
    """Answer as told, but after a moment, as servers do."""
    def late(handler, body):
        time.sleep(PAUSE_S)
        answer(handler, body)
    return late


class Fate(NamedTuple):
    """What a video serves, what is scripted, and what has to become of its clip."""

    body: str | None
    answers: tuple
    reason: str = ""
    is_media: bool = True
    start_s: float = START_S


FATES = {
    "good_m4a": Fate("m4a", (good,)),
    "good_ogg": Fate("ogg", (good,)),
    "403_once": Fate("m4a", (status(403), good)),
    "fine_m4a": Fate("m4a", (good,)),
    "503_once": Fate("ogg", (status(503), good)),
    "403_ever": Fate("m4a", (status(403),), "forbidden"),
    "well_ogg": Fate("ogg", (good,)),
    "cut_once": Fate("m4a", (cut_after(20_000), good)),
    "cut_ever": Fate("m4a", (cut_after(20_000),), "network"),
    "also_m4a": Fate("m4a", (good,)),
    "no_media": Fate("m4a", (status(404),), "not_found"),
    "no_video": Fate(None, (), "not_found"),
    "half_m4a": Fate("half", (good,), "truncated", start_s=7.0),
    "nil_byte": Fate("empty", (good,), "empty"),
    "too_late": Fate("ogg", (good,), "past_end", start_s=30.0),
    "web_page": Fate("m4a", (page("<html><body>no sound</body></html>"),), "bad_id", is_media=False),
    "more_ogg": Fate("ogg", (good,)),
}


def make_media(folder):
    """Make what videos hold: 12 s of sound, whole, cut off and empty."""
    folder.mkdir()
    m4a = encode(folder / "a.m4a", chirp(RATE, 12.0, 0), RATE, ["-c:a", "aac", "-movflags", "+faststart"]).read_bytes()
    ogg = encode(folder / "b.ogg", chirp(RATE, 12.0, 1), RATE, ["-c:a", "libvorbis"]).read_bytes()
    return {"m4a": m4a, "ogg": ogg, "half": m4a[: len(m4a) // 2], "empty": b""}


class Download(Stage):
    """A download by two workers from a server that refuses, breaks off and lacks as it is told."""

    name, kinds, done_line = "download", {"driver": 0.5, "worker": 0.5}, "attrition per class"
    promised = ("can't be started",)

    def __init__(self, folder, programs, rng, videos):
        super().__init__(folder, programs, rng)
        self.root, self.server, self.videos, self._batch = folder / "root", MediaServer(), {}, videos
        self.server.__enter__()
        self.media = make_media(folder / "media")
        self.root.mkdir()
        write_ontology(self.root)
        features = "[features.mfcc]\nwindow_length = 1024\nhop_length = 512\nn_mels = 64\nn_mfcc = 20\n"
        dataset = f'[dataset]\nname = "audioset"\nsegments = ["segments.csv"]\n[select]\nclasses = {json.dumps(list(CLASSES))}\n'
        pace = "[download]\nretries = 1\ntimeout_s = 30.0\nsample_rate = 16000\n"
        (folder / "soak.toml").write_text(dataset + pace + features)
        self._add_videos()

    def words(self, root=None, workers=2):
        own = ["--url-template", self.server.template, "--workers", workers, "--interval", 0]
        return [self.folder / "soak.toml", "--data", root or self.root, *own]

    def victim(self, kind, draw):
        driver = self.driver.pid if self.driver is not None and self.driver.poll() is None else None
        workers = sorted(pid for server in children(driver) if "forkserver" in command_of(server) for pid in children(server))
        return workers[int(draw * len(workers))] if workers else None

    def change(self):
        """The list grows, or files are lost."""
        if self.rng.random() < 0.7 or not self.complete:
            self._add_videos()
        else:
            files = sorted((self.root / "clips").rglob("*.flac"))
            for at in self.rng.choice(len(files), min(3, len(files)), replace=False):
                files[at].unlink()

    def _add_videos(self):
        fates = list(FATES)
        for number in range(len(self.videos), len(self.videos) + self._batch):
            fate = fates[number % len(fates)]
            self._serve(f"{number:03d}{fate}", FATES[fate])
        self.write_list(self.root, self.videos)

    def _serve(self, video, fate):
        self.videos[video] = fate
        if fate.body is not None:
            self.server.files[video] = self.media[fate.body]
        self.server.script(video, *map(slowly, fate.answers), media=fate.is_media, repeat=True)

    def write_list(self, root, videos):
        labels = ("/m/dog", "/m/bell", "/m/flute")
        rows = [(video, fate.start_s, fate.start_s + LENGTH_S, [labels[number % 3]]) for number, (video, fate) in enumerate(videos.items())]
        (root / "segments.csv").write_text(published(rows))

    def close(self):
        super().close()
        self.server.__exit__()

    def clips(self):
        return len(self.videos)

    def look(self):
        """As `Build.look`; the bytes are those of the files."""
        asked = len(self.server.requests)
        self.programs.start("again", "pipelines", "download", *self.words(workers=0)).wait()  # nothing is left to do, and nothing is asked for
        problems = [f"{len(self.server.requests) - asked} requests though all was done"] * (len(self.server.requests) > asked)
        there = set(self.root.iterdir())
        rows = ledger_rows(self.root)
        found = {row.clip_id: row for row in rows}
        wrong = [line for video, fate in self.videos.items() if (line := self._wrong(video, fate, found))]
        same = self._are_undisturbed(found)
        twice = len(rows) - len(found)
        return len(wrong), twice, same, wrong + problems + self._litter(there, found.values())

    def _wrong(self, video, fate, found):
        row = found.get(clip_id(video, fate))
        expected = ("failed" if fate.reason else "ok", fate.reason)
        if row is None:
            return f"{video}: not in the ledger"
        return "" if (row.status, row.reason) == expected else f"{video}: {row.status} {row.reason}, expected {expected}: {row.detail}"

    def _are_undisturbed(self, found):
        """Whether each file has the bytes that a download of its kind without any trouble gives."""
        calm, firsts = self.folder / "undisturbed", {fate.body: video for video, fate in reversed(self.videos.items()) if not fate.reason}
        calm.mkdir()
        write_ontology(calm)
        self.write_list(calm, {video: self.videos[video] for video in firsts.values()})
        self.programs.start("undisturbed", "pipelines", "download", *self.words(calm, workers=0)).wait()
        expected = {row.clip_id[:11]: row.sha256 for row in ledger_rows(calm)}
        kept = {path.name: digest for path, digest in hashes_below(self.root / "clips").items()}
        good_ones = {video: fate for video, fate in self.videos.items() if not fate.reason}
        return all(
            expected[firsts[fate.body]] == found[clip_id(video, fate)].sha256 == kept.get(Path(found[clip_id(video, fate)].path).name)
            for video, fate in good_ones.items()
        )

    def _litter(self, there, rows):
        wanted = {self.root / row.path for row in rows if row.status == "ok"}
        files = {path for path in (self.root / "clips").rglob("*") if path.is_file()}
        known = {"ontology.json", "segments.csv", "clips", "lists", "ledger.sqlite", "ledger.sqlite.lock"}
        found = [*(files ^ wanted), *(path for path in there if path.name not in known)]
        return [f"{path} {'was left' if path.exists() else 'is not there'}" for path in sorted(found)]


def clip_id(video, fate):
    return f"{video}_{round(fate.start_s * 1000)}"


def ledger_rows(root):
    with Ledger(root / "ledger.sqlite", read_only=True) as ledger:
        return ledger.rows()


def hashes_below(folder):
    return {path: hash_file(path) for path in folder.rglob("*.flac")}
