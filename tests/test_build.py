"""The build: same bytes whatever happens, only what has changed is made again, and every clip's fate is known."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiodata import audio
from audiodata.catalog import parse_catalog
from audiodata.errors import AudioDataError, CatalogError, MetadataError
from audiodata.features import extract
from audiodata.fingerprint import hash_file
from audiodata.inspections import InspectionStore
from audiodata.layout import clip_hashes, shard_numbers
from audiodata.shards import open_cache, verify_cache
from pipelines import build
from pipelines.cluster import connect
from pipelines.demo_sounds import write_sounds

ROOT = Path(__file__).resolve().parents[1]
MEL = {"window_length": 512, "hop_length": 256, "n_mels": 32}
CATALOG = {
    "dataset": {"name": "folder"},
    "split": {"scheme": "grouped", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
    "audio": {"sample_rate": 8000},
    "segment": {"length_s": 1.0},
    "features": {"mfcc": MEL | {"n_mfcc": 13}, "log_mel": MEL},
    "shards": {"examples": 8},
}
TOML = """
[dataset]
name = "folder"
[split]
scheme = "grouped"
fractions = { train = 0.6, val = 0.2, test = 0.2 }
[audio]
sample_rate = 8000
[segment]
length_s = 1.0
[features.mfcc]
window_length = 512
hop_length = 256
n_mels = 32
n_mfcc = 13
[features.log_mel]
window_length = 512
hop_length = 256
n_mels = 32
[shards]
examples = 8
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sounds"
    write_sounds(folder, per_kind=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def catalog_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("catalog") / "small.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="module")
def reference(sounds, tmp_path_factory):
    """A cache that was built in one go, in this process."""
    return make(sounds, tmp_path_factory.mktemp("reference") / "cache")


def make(root, out, client=None, limit=None, **tables):
    catalog = parse_catalog(CATALOG | tables, "small", "small.toml")
    build.build(catalog, root, out, client, limit)
    return out


def hashes(folder):
    return {path.name: hash_file(path) for path in sorted(folder.rglob("*"))}


def command(*words):
    return [sys.executable, "-m", *map(str, words)]


def test_every_clip_is_in_the_ledger_with_its_reason(reference, sounds):
    cache = open_cache(reference)
    fate = cache.ledger.set_index("clip_id")
    assert len(fate) == sum(1 for path in sounds.rglob("*") if path.is_file())
    bad = fate[fate["status"] != "ok"]
    assert dict(zip(bad["reason"], bad["status"], strict=True)) == {
        "silent": "rejected", "duplicate": "rejected", "truncated": "failed", "undecodable": "failed",
    }
    assert len(bad) == 4 and (bad["detail"].str.len() > 10).all()
    assert bad[bad["reason"] == "truncated"].index.tolist() == [cid for cid in fate.index if "half" in cid]


def test_the_cache_is_what_verify_expects_and_holds_what_extract_gives(reference, sounds):
    assert verify_cache(reference) == []
    cache = open_cache(reference)
    clips = cache.examples.merge(cache.ledger, on="clip_id")
    assert (clips["status"] == "ok").all()
    row = cache.examples[cache.examples["clip_id"].str.contains("rain")].iloc[0]
    path = next(sounds.rglob("rain-" + row.clip_id.split("rain-")[1][:3] + ".wav"))
    waveform, rate = audio.decode(path)
    prepared = audio.prepare(waveform, rate, sample_rate=8000, channels=1)
    start = round(row.start_s * 8000)
    segment = audio.fill(prepared[:, start : start + 8000], 8000, "zero")
    catalog = parse_catalog(CATALOG, "small", "small.toml")
    for name, expected in extract(segment, 8000, catalog.features).items():
        np.testing.assert_array_equal(cache.read(row.example_id)[name], expected)


def test_groups_stay_on_one_side(reference):
    examples = open_cache(reference).examples
    assert examples.groupby("group_id")["split"].nunique().max() == 1
    assert set(examples["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_do_not_depend_on_the_number_of_workers(sounds, reference, tmp_path, workers):
    with connect(workers) as client:
        made = make(sounds, tmp_path / "cache", client)
    assert hashes(made) == hashes(reference)


def test_one_pass_and_two_give_the_same_bytes(sounds, reference, tmp_path):
    """A dry run inspects first, so that the shards are made from the plan; without it they are made while the clips are inspected."""
    catalog = parse_catalog(CATALOG, "small", "small.toml")
    assert build.build(catalog, sounds, tmp_path / "cache", dry_run=True) is None
    assert not (tmp_path / "cache").exists()
    assert hashes(make(sounds, tmp_path / "cache")) == hashes(reference)


def test_bytes_survive_a_killed_worker(sounds, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CLIPS_PER_TASK", 2)
    with connect(2) as client:
        pids = client.run(os.getpid)
        timer = threading.Timer(0.15, lambda: os.kill(next(iter(pids.values())), signal.SIGKILL))
        timer.start()
        made = make(sounds, tmp_path / "cache", client)
        timer.cancel()
    assert hashes(made) == hashes(reference)


def test_bytes_survive_kill_9_of_everything_at_ten_random_moments(sounds, catalog_file, reference, tmp_path):
    out = tmp_path / "cache"
    words = command("pipelines", "build", catalog_file, "--data", sounds, "--out", out, "--workers", 2)
    rng = random.Random(3)
    started = time.monotonic()
    subprocess.run([*words[:-1], "0", "--dry-run"], cwd=ROOT, check=True, capture_output=True)
    start_up = time.monotonic() - started
    for _ in range(10):
        process = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.6) * start_up)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "manifest.json").exists() or verify_cache(out) == []  # a manifest is never ahead of its shards
        for path in out.glob("*.h5"):
            assert hash_file(path) == hash_file(reference / path.name), f"{path.name}: a final name on something else"
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # finished, and two files in the folder can't be decoded
    assert hashes(out) == hashes(reference)


def shard_times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}


def changed_shards(before, after):
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_one_changed_file_rebuilds_one_shard(sounds, tmp_path):
    root = tmp_path / "sounds"
    shutil.copytree(sounds, root)
    out = make(root, tmp_path / "cache")
    before = shard_times(out)
    make(root, out)
    assert changed_shards(before, shard_times(out)) == set()
    path = next(root.rglob("wind-001.wav"))
    waveform, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, waveform * 0.5, rate, "PCM_16")
    make(root, out)
    examples = open_cache(out).examples
    assert changed_shards(before, shard_times(out)) == set(examples[examples["clip_id"].str.contains("wind-001")]["shard"])
    assert hashes(out) == hashes(make(root, tmp_path / "fresh"))


def test_a_removed_file_leaves_and_a_new_file_joins_without_touching_other_shards(sounds, tmp_path):
    root = tmp_path / "sounds"
    shutil.copytree(sounds, root)
    out = make(root, tmp_path / "cache")
    before, first = shard_times(out), open_cache(out).examples
    next(root.rglob("motor-002.wav")).unlink()
    make(root, out)
    gone = set(first["clip_id"]) - set(open_cache(out).examples["clip_id"])
    assert len(gone) == 1
    assert changed_shards(before, shard_times(out)) == set(first[first["clip_id"].isin(gone)]["shard"])


def test_a_changed_setting_rebuilds_what_it_touches(sounds, tmp_path):
    out = make(sounds, tmp_path / "cache")
    before = shard_times(out)
    make(sounds, out, about={"title": "another title"})
    assert changed_shards(before, shard_times(out)) == set()
    make(sounds, out, features={"mfcc": MEL | {"n_mfcc": 12}})
    assert changed_shards(before, shard_times(out)) == set(before)
    assert verify_cache(out) == []


def test_a_damaged_shard_is_made_again(sounds, reference, tmp_path):
    out = tmp_path / "cache"
    shutil.copytree(reference, out)
    victim = sorted(out.glob("train-*.h5"))[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    assert any(victim.name in problem for problem in verify_cache(out))
    make(sounds, out)
    assert hashes(out) == hashes(reference)


def test_limit_is_balanced_and_the_rest_is_accounted_for(sounds, tmp_path):
    cache = open_cache(make(sounds, tmp_path / "cache", limit=8))
    reasons = cache.ledger["reason"].value_counts()
    assert reasons["over_limit"] == len(cache.ledger) - 8


def test_rates_that_differ_need_a_word_from_the_catalog(sounds, tmp_path):
    root = tmp_path / "sounds"
    shutil.copytree(sounds, root)
    soundfile.write(root / "bird" / "other.wav", np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1, 22050)
    with pytest.raises(CatalogError, match=r"differ in sample_rate: .*22050 .*other.*set \[audio\] sample_rate"):
        make(root, tmp_path / "cache", audio={})


def test_without_a_segment_table_an_example_is_as_long_as_the_longest_clip(sounds, tmp_path):
    cache = open_cache(make(sounds, tmp_path / "cache", segment={}))
    longest = cache.examples["duration_s"].max()
    assert cache.manifest["audio"]["segment_samples"] == round(longest * 8000)
    assert (cache.examples["start_s"] == 0).all()


def test_drop_rejects_what_is_short_and_says_so(sounds, tmp_path):
    cache = open_cache(make(sounds, tmp_path / "cache", segment={"length_s": 2.0, "short": "drop"}))
    short = cache.ledger[cache.ledger["reason"] == "too_short"]
    assert len(short) > 0 and (short["status"] == "rejected").all()
    assert short["detail"].str.contains("shorter than a segment of 2 s").all()
    assert (cache.examples["duration_s"] == 2.0).all()


def test_nothing_fit_for_use_names_the_reasons(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_text("not a sound")
    with pytest.raises(MetadataError, match=r"no clip is fit for use .*1 failed undecodable"):
        make(tmp_path, tmp_path / "cache", split={"fractions": {"train": 1.0}})


def test_a_second_build_of_the_same_cache_is_turned_away(sounds, tmp_path):
    with InspectionStore.beside(tmp_path / "cache"), pytest.raises(AudioDataError, match="another run"):
        make(sounds, tmp_path / "cache")


def test_a_file_that_changes_during_the_build_fails_it_and_the_next_build_repairs_it(sounds, tmp_path):
    root, out = tmp_path / "sounds", tmp_path / "cache"
    shutil.copytree(sounds, root)
    catalog = parse_catalog(CATALOG, "small", "small.toml")
    with InspectionStore.beside(out) as store:
        planned = build.plan(catalog, build.read_table(catalog, root), root, store)
    path = next(root.rglob("surf-000.wav"))
    waveform, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, waveform[::-1], rate, "PCM_16")
    with pytest.raises(AudioDataError, match="changed while the cache was being built"):
        build.run(planned, root, out)
    assert not (out / "manifest.json").exists()
    make(root, out)
    assert verify_cache(out) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none", "--out", "x"], "no such folder"),
        (["--data", ".", "--out", "x", "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"], "exclude each other"),
    ],
)
def test_bad_calls_are_one_line_and_exit_with_2(catalog_file, tmp_path, words, message):
    done = subprocess.run(
        command("pipelines", "build", catalog_file, *words),
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_a_full_disk_is_one_line_and_leaves_no_half_shard(sounds, catalog_file, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        words = command("pipelines", "build", catalog_file, "--data", sounds, "--out", small / "cache", "--workers", 0)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr and "error:" in done.stderr
        assert not list((small / "cache").glob(".*.tmp")) and not (small / "cache" / "manifest.json").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_more_segments_than_expected_move_examples_to_other_shards(tmp_path):
    """A shard made ahead may hold the very examples of a planned one that has another name, as there are more shards than was guessed."""
    names = [f"noise/sound{number}.wav" for number in range(40)]
    quarters = shard_numbers(clip_hashes(names), 4)
    chosen = [name for quarter, count in ((1, 2), (2, 3), (3, 3)) for name in np.array(names)[quarters == quarter][:count]]
    (tmp_path / "sounds" / "noise").mkdir(parents=True)
    for seed, name in enumerate(chosen):
        soundfile.write(tmp_path / "sounds" / name, np.random.default_rng(seed).uniform(-0.1, 0.1, 8000), 8000)
    tables = CATALOG | {"segment": {"length_s": 0.5}, "shards": {"examples": 4}, "split": {"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}}}
    build.build(parse_catalog(tables, "segments", "segments"), tmp_path / "sounds", tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert verify_cache(tmp_path / "cache") == []
    assert set(cache.examples["shard"]) == {shard["file"] for shard in cache.manifest["shards"]}
    assert len([cache.read(example_id) for example_id in cache.examples["example_id"]]) == 16
