"""The real chain: AudioSet-form lists, yt-dlp's generic extractor, ffmpeg, a server that misbehaves as it is told."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import SHARED_DATA
from made_audioset import CLASSES, published, write_ontology
from made_sounds import chirp, delay, encode
from media_server import MediaServer, cut_after, endless, good, page, status

from audiodata import audio
from audiodata.catalog import parse_catalog
from audiodata.console import run_door
from audiodata.errors import AudioDataError, EnvironmentFault
from audiodata.ledger import Ledger
from pipelines.__main__ import app
from pipelines.cluster import connect
from pipelines.download import download

pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (extra `youtube`)")

ROOT = Path(__file__).resolve().parents[1]
DOG, BELL, FLUTE = "/m/dog", "/m/bell", "/m/flute"
RATE = 44100


def catalog(**download_settings):
    return parse_catalog({
        "dataset": {"name": "audioset", "segments": ["segments.csv"]},
        "select": {"classes": list(CLASSES)},
        "features": {"mfcc": {"window_length": 1024, "hop_length": 512, "n_mels": 64, "n_mfcc": 20}},
        "download": {"interval_s": 0.0, "timeout_s": 30.0, "retries": 1, "sample_rate": 16000, **download_settings},
    }, "chain", "chain")


def data_root(folder, rows):
    folder.mkdir(exist_ok=True)
    write_ontology(folder)
    (folder / "segments.csv").write_text(published(rows))
    return folder


def ledger_of(root):
    with Ledger(root / "ledger.sqlite", read_only=True) as ledger:
        return {row.clip_id: row for row in ledger.rows()}


def files_below(root):
    return sorted(path for path in (root / "clips").rglob("*") if path.is_file()) if (root / "clips").is_dir() else []


@pytest.fixture(scope="module")
def waveforms():
    """Recordings of 24 s, float32 [channel, sample]: real ones joined where there are some, else made."""
    folder = SHARED_DATA / "environmental_sounds"
    sounds = sorted(folder.glob("*/*.ogg"))
    if not sounds:
        return [chirp(RATE, 24.0, seed) for seed in range(2)]
    picked = [sounds[(number * 37) % len(sounds)] for number in range(12)]
    pieces = [audio.decode(path)[0] for path in picked]
    return [np.concatenate(pieces[half : half + 6], axis=1)[:, : 24 * RATE] for half in (0, 6)]


@pytest.fixture(scope="module")
def media(waveforms, tmp_path_factory):
    """One recording as m4a with its index first, the other as WebM with a cue point every 10 s."""
    folder = tmp_path_factory.mktemp("media")
    m4a = encode(folder / "a.m4a", waveforms[0], RATE, ["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"])
    opus = ["-c:a", "libopus", "-b:a", "96k", "-cluster_time_limit", "10000"]
    webm = encode(folder / "b.webm", waveforms[1], RATE, opus)
    return {"m4a": m4a.read_bytes(), "webm": webm.read_bytes()}


FAULTS = {
    # video id -> what it serves, what is scripted, span start, expected status, reason, attempts
    "-403-always_": ("m4a", [status(403)], 2.0, "failed", "forbidden", 2),
    "_403-once___": ("m4a", [status(403), good], 2.0, "ok", "", 2),
    "-404_______": ("webm", [status(404)], 2.0, "failed", "not_found", 1),
    "429________": ("m4a", [status(429)], 2.0, "pending", "rate_limited", 1),
    "503-then-ok": ("webm", [status(503), good], 2.0, "ok", "", 2),
    "503-always_": ("webm", [status(503)], 2.0, "failed", "network", 2),
    "cut_connect": ("m4a", [cut_after(40_000)], 10.0, "failed", "network", 2),
    "endless_bod": ("webm", [endless], 2.0, "failed", "network", 2),
    "past_the_en": ("webm", [], 30.0, "failed", "past_end", 1),
    "too_short__": ("m4a", [], 21.0, "failed", "too_short", 1),
    "text_as_med": ("text", [], 2.0, "failed", "undecodable", 1),
    "truncated__": ("truncated", [], 17.0, "failed", "truncated", 1),
    "a_web_page_": ("page", [], 2.0, "failed", "bad_id", 1),
}
FAULTS = {video[:11]: fault for video, fault in FAULTS.items()}


@pytest.fixture(scope="module")
def faulty(media, tmp_path_factory):
    """One run over all faults: the root, the server, the exit code and what was printed."""
    starts = {video: start for video, (_, _, start, *_) in FAULTS.items()}
    rows = [(video, start, start + 5.0, [DOG if video < "_" else BELL]) for video, start in starts.items()]
    root = data_root(tmp_path_factory.mktemp("faulty"), rows)
    cut = media["m4a"][: len(media["m4a"]) * 7 // 10]
    bodies = media | {"text": b"no sound in here\n" * 2000, "page": media["m4a"], "truncated": cut}
    with MediaServer({video: bodies[kind] for video, (kind, *_) in FAULTS.items()}) as server:
        for video, (kind, answers, *_) in FAULTS.items():
            server.script(video, *answers, repeat=True)
            if kind == "page":
                server.script(video, page("<html><body>no sound</body></html>"), media=False, repeat=True)
        code = download(catalog(timeout_s=8.0), root, url_template=server.template)
        yield root, server, code


@pytest.mark.parametrize("video", FAULTS)
def test_each_fault_has_its_own_reason_and_no_file(faulty, video):
    root, server, code = faulty
    _, _, start, expected_status, reason, attempts = FAULTS[video]
    row = ledger_of(root)[f"{video}_{round(start * 1000)}"]
    assert (row.status, row.reason, row.attempts) == (expected_status, reason, attempts), row.detail
    assert row.detail or expected_status == "ok", "the original message is kept"
    assert server.count(video, media=False) == attempts, "every try resolves the video again"
    assert code == 1


def test_only_what_is_right_has_a_file(faulty):
    root, _, _ = faulty
    right = {row.path for row in ledger_of(root).values() if row.status == "ok"}
    assert len(right) == 2
    assert {path.relative_to(root).as_posix() for path in files_below(root)} == right


def test_a_second_run_does_only_what_is_left(faulty, media, capsys):
    root, server, _ = faulty
    before = len(server.requests)
    server.script("429________")
    assert download(catalog(), root, url_template=server.template) == 0
    assert {request.path for request in server.requests[before:]} == {"429________"}
    assert ledger_of(root)["429_________2000"].status == "ok"
    before = len(server.requests)
    server.script("503-always_")
    again = catalog(timeout_s=3.0, retries=0)
    assert download(again, root, url_template=server.template, retry=["network"], limit=9) == 1
    asked = {request.path for request in server.requests[before:]}
    assert asked == {"503-always_", "cut_connect", "endless_bod"}
    assert "attrition per class" in capsys.readouterr().out


def test_the_clips_are_the_recordings_spans(media, waveforms, tmp_path):
    """Several clips of one video, at odd times, in both containers; the video is resolved once."""
    starts = (0.0, 3.3, 12.741, 18.5)
    labels = {"-m4a_video_": DOG, "webm-video-": FLUTE}
    rows = [(video, start, start + 5.0, [label]) for video, label in labels.items() for start in starts]
    root = data_root(tmp_path / "root", rows)
    with MediaServer({"-m4a_video_": media["m4a"], "webm-video-": media["webm"]}) as server:
        assert download(catalog(), root, url_template=server.template) == 0
        assert server.count("-m4a_video_", media=False) == server.count("webm-video-", media=False) == 1
    ledger = ledger_of(root)
    for video, waveform in (("-m4a_video_", waveforms[0]), ("webm-video-", waveforms[1])):
        whole = audio.resample(waveform, RATE, 16000)[0]
        for start in starts:
            row = ledger[f"{video}_{round(start * 1000)}"]
            samples, rate = audio.decode(root / row.path)
            assert (rate, samples.shape) == (16000, (1, 80000))
            assert abs(delay(samples[0], whole[round(start * 16000) :][:80000])) <= 8, "half a millisecond"
            assert row.measured["duration_s"] == 5.0 and row.measured["extractor"] == "generic"


def test_after_a_refusal_the_other_clips_of_a_video_are_not_tried(media, tmp_path):
    rows = [("refused_vid", start, start + 2.0, [DOG]) for start in (1.0, 5.0, 9.0)]
    root = data_root(tmp_path / "root", rows)
    with MediaServer({"refused_vid": media["m4a"]}) as server:
        server.script("refused_vid", status(429), repeat=True)
        assert download(catalog(), root, url_template=server.template) == 0, "nothing failed: it is to be asked for later"
        assert server.count("refused_vid", media=True) == 1
    ledger = ledger_of(root)
    assert {(row.status, row.reason) for row in ledger.values()} == {("pending", "rate_limited")}
    assert sorted(row.attempts for row in ledger.values()) == [0, 0, 1]


def test_a_dry_run_and_a_limit(media, tmp_path, capsys):
    rows = [(f"video_{number:05d}", 1.0, 3.0, [(DOG, BELL, FLUTE)[number % 3]]) for number in range(9)]
    root = data_root(tmp_path / "root", rows)
    with MediaServer({video: media["m4a"] for video, *_ in rows}) as server:
        before = sorted(root.rglob("*"))
        assert download(catalog(interval_s=12.0), root, url_template=server.template, dry_run=True, limit=6) == 0
        assert sorted(root.rglob("*")) == before
        assert server.requests == []
        assert "6 clips of 6 videos" in (said := capsys.readouterr().out) and "1 min at least" in said
        assert download(catalog(), root, url_template=server.template, limit=3) == 0
        first = set(ledger_of(root))
        assert len(first) == 3 and len({request.path for request in server.requests}) == 3
        assert download(catalog(), root, url_template=server.template, limit=4) == 0
        assert len(ledger_of(root)) == 7
        assert {request.path + "_1000" for request in server.requests} == set(ledger_of(root))
    classes = {video: labels[0] for video, *_, labels in rows}
    assert len({classes[clip_id[:11]] for clip_id in first}) > 1


def test_files_of_other_tools_are_taken_in_without_asking(media, waveforms, tmp_path):
    theirs = tmp_path / "theirs" / "deep"
    theirs.mkdir(parents=True)
    (theirs / "Y-whole_vid_.m4a").write_bytes(media["m4a"])
    sf.write(theirs / "one_clip_ab_5000.wav", waveforms[1][:, 5 * RATE : 9 * RATE].T, RATE)
    sf.write(theirs / "half_a_clip.wav", waveforms[1][:, : 2 * RATE].T, RATE)
    rows = [("-whole_vid_", 3.3, 7.3, [DOG]), ("-whole_vid_", 11.0, 15.0, [DOG]), ("one_clip_ab", 5.0, 9.0, [BELL]),
            ("half_a_clip", 5.0, 9.0, [FLUTE])]
    root = data_root(tmp_path / "root", rows)
    with MediaServer({"half_a_clip": media["webm"]}) as server:
        assert download(catalog(), root, url_template=server.template, existing=[tmp_path / "theirs"], limit=0) == 0
        assert server.requests == []
        ledger = ledger_of(root)
        half = ledger["half_a_clip_5000"]
        assert (half.status, half.reason) == ("pending", "too_short") and "measured 2.000 s" in half.detail
        assert {row.status for clip_id, row in ledger.items() if clip_id != half.clip_id} == {"ok"}
        assert "Y-whole_vid_.m4a" in ledger["-whole_vid__3300"].detail
        assert download(catalog(), root, url_template=server.template) == 0
        assert {request.path for request in server.requests} == {"half_a_clip"}
    whole = audio.resample(waveforms[0], RATE, 16000)[0]
    samples, _ = audio.decode(root / ledger["-whole_vid__11000"].path)
    assert samples.shape == (1, 64000)
    assert abs(delay(samples[0], whole[11 * 16000 : 15 * 16000])) <= 8


def test_files_and_ledger_are_brought_together(media, tmp_path):
    rows = [(f"video_{number:05d}", 1.0, 3.0, [DOG]) for number in range(3)]
    root = data_root(tmp_path / "root", rows)
    with MediaServer({video: media["m4a"] for video, *_ in rows}) as server:
        assert download(catalog(), root, url_template=server.template) == 0
        first = ledger_of(root)
        (root / first["video_00001_1000"].path).unlink()
        asked = len(server.requests)
        assert download(catalog(), root, url_template=server.template, limit=0) == 0
        gone = ledger_of(root)["video_00001_1000"]
        assert (gone.status, gone.reason) == ("pending", "missing_file")
        assert download(catalog(), root, url_template=server.template) == 0
        assert {request.path for request in server.requests[asked:]} == {"video_00001"}, "a file that is gone"
        (root / "ledger.sqlite").unlink()
        asked = len(server.requests)
        assert download(catalog(), root, url_template=server.template) == 0
        assert len(server.requests) == asked, "a ledger that is gone"
    again = ledger_of(root)
    assert {clip_id: row.content_sha256 for clip_id, row in again.items()} == {
        clip_id: row.content_sha256 for clip_id, row in first.items()}


@pytest.fixture
def many(media, tmp_path):
    rows = [(f"-video_{number:04d}", 1.0, 3.0, [(DOG, BELL)[number % 2]]) for number in range(14)]
    return data_root(tmp_path / "root", rows), {video: media["m4a"] for video, *_ in rows}


def command(root, server, *options):
    """The command as a user calls it, with its catalog in a file."""
    path = root / "chain.toml"
    path.write_text(
        '[dataset]\nname = "audioset"\nsegments = ["segments.csv"]\n[select]\n'
        f"classes = {json.dumps(list(CLASSES))}\n[download]\nretries = 0\ntimeout_s = 30.0\n"
        "[features.mfcc]\nwindow_length = 1024\nhop_length = 512\nn_mels = 64\nn_mfcc = 20\n"
    )
    given = [str(path), "--data", str(root), "--url-template", server.template, *options]
    return [sys.executable, "-m", "pipelines", "download", *given]


def test_kill_9_in_the_middle_and_a_second_driver(many):
    """The driver is killed at some moment; then the rest is done, and nothing that was done is asked for again."""
    root, files = many
    with MediaServer(files) as server:
        child = subprocess.Popen(command(root, server, "--interval", "0.15"), cwd=ROOT, start_new_session=True)
        wait_for(lambda: len({request.path for request in server.requests}) > 3)
        with pytest.raises(AudioDataError, match="another run is writing to it"):
            download(catalog(), root, url_template=server.template)
        time.sleep(random.uniform(0, 0.3))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        done = {clip_id[:11] for clip_id, row in ledger_of(root).items() if row.status == "ok"}
        assert 0 < len(done) < len(files)
        asked = len(server.requests)
        assert download(catalog(), root, url_template=server.template) == 0
        assert not done & {request.path for request in server.requests[asked:]}
    ledger = ledger_of(root)
    assert len(ledger) == len(files) and {row.status for row in ledger.values()} == {"ok"}
    assert [path.relative_to(root).as_posix() for path in files_below(root) if path.suffix == ".flac"] == sorted(
        row.path for row in ledger.values())


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_dask_workers_make_the_same_files(many, tmp_path):
    root, files = many
    other = tmp_path / "other"
    shutil.copytree(root, other)
    with MediaServer(files) as server:
        assert download(catalog(), other, url_template=server.template, limit=6) == 0
        with connect(1) as client:
            assert download(catalog(), root, url_template=server.template, limit=6, client=client, workers=2) == 0
        assert all(server.count(video, media=False) in (0, 2) for video in files)
    one, two = ledger_of(other), ledger_of(root)
    assert len(one) == 6
    assert {name: row.sha256 for name, row in one.items()} == {name: row.sha256 for name, row in two.items()}


def test_a_full_disk_is_one_line_and_nothing_is_lost(media, tmp_path):
    rows = [(f"video_{number:05d}", 1.0, 21.0, [DOG]) for number in range(12)]
    root = tmp_path / "small"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(root)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here (needs root)")
    try:
        data_root(root, rows)
        with MediaServer({video: media["m4a"] for video, *_ in rows}) as server:
            with pytest.raises(EnvironmentFault) as caught:
                download(catalog(sample_rate=None), root, url_template=server.template)
            assert "\n" not in str(caught.value) and "space" in str(caught.value)
            ledger = ledger_of(root)
            done = {root / row.path for row in ledger.values() if row.status == "ok"}
            assert {row.status for row in ledger.values()} <= {"ok", "pending"}
            assert done and set(files_below(root)) >= done
            assert all(audio.decode(path)[0].shape[1] == 20 * RATE for path in files_below(root))
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


@pytest.mark.parametrize(("options", "complaint"), [
    (["--retry", "netwrok"], "did you mean `network`"),
    (["--url-template", "https://example.org/"], "{id}"),
    (["--proxy", "socks5://localhost:1"], "http://host:port"),
    (["--proxy", "http://a:1", "--proxy", "http://a:1"], "given twice"),
])
def test_bad_input_is_one_line_and_exit_code_2(many, options, complaint, monkeypatch, capsys):
    root, files = many
    with MediaServer(files) as server:
        monkeypatch.setattr(sys, "argv", ["pipelines", *command(root, server, *options)[3:]])
        with pytest.raises(SystemExit) as ended:
            run_door(app)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert not (root / "ledger.sqlite").exists()


def test_a_data_set_of_own_files_has_nothing_to_download(tmp_path):
    (tmp_path / "a").mkdir()
    sf.write(tmp_path / "a" / "x.wav", np.zeros(8000), 8000)
    features = {"mfcc": {"window_length": 256, "hop_length": 128}}
    settings = parse_catalog({"dataset": {"name": "folder"}, "features": features}, "own", "own")
    with pytest.raises(AudioDataError, match="nothing to download"):
        download(settings, tmp_path)


def test_several_proxies_share_the_work(many, tmp_path):
    lists, files = many
    root = shutil.copytree(lists, tmp_path / "data")
    with MediaServer(files) as first, MediaServer(files) as second:
        proxies = [server.template.removesuffix("/{id}") for server in (first, second)]
        words = ["--proxy", proxies[0], "--proxy", proxies[1], "--url-template", "http://media.invalid/{id}", "--limit", "6", "--interval", "0.1"]
        done = subprocess.run(command(root, first, *words), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {row.status for row in ledger_of(root).values()} == {"ok"}
    asked = [{request.path for request in server.requests} for server in (first, second)]
    assert all(asked) and not asked[0] & asked[1] and len(asked[0] | asked[1]) == 6
