"""Recordings of several channels: picked, put together from several files, with the direction of their sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiodata import datasets
from audiodata.catalog import parse_catalog
from audiodata.clips import clips_table
from audiodata.errors import CatalogError, MetadataError
from audiodata.features import extract
from audiodata.features.spectral import LogMelConfig
from audiodata.settings import Settings
from audiodata.shards import open_cache, verify_cache
from audiodata.torch_dataset import ShardDataset
from pipelines import build

RATE = 16000
MEL = {"window_length": 512, "hop_length": 256, "n_mels": 16}
SQUARE = [[0.03, 0.03, 0], [-0.03, 0.03, 0], [-0.03, -0.03, 0], [0.03, -0.03, 0]]


class NoSettings(Settings):
    """None."""


def sound(channels, seed, samples=RATE):
    return (0.1 * np.random.default_rng(seed).standard_normal((samples, channels))).astype(np.float32)


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, subtype="FLOAT")


@pytest.fixture
def made_set(monkeypatch):
    """Register a data set whose clips table a test writes itself."""

    def register(**columns):
        table = clips_table(columns)
        entry = datasets.DataSet(NoSettings, lambda settings, root, classes, quality: table.copy(), "audio", "made by a test")
        monkeypatch.setitem(datasets.DATASETS, "made", entry)

    return register


def catalog(**tables):
    base = {
        "dataset": {"name": "made"},
        "split": {"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}},
        "audio": {"sample_rate": RATE, "channels": 4},
        "features": {"log_mel": MEL},
    }
    return parse_catalog(base | tables, "made", "made")


def built(root, **tables):
    build.build(catalog(**tables), root, root / "cache")
    assert verify_cache(root / "cache") == []
    return open_cache(root / "cache")


def levels(waveform):
    return extract(np.ascontiguousarray(waveform.T), RATE, {"log_mel": LogMelConfig(**MEL)})["log_mel"]


def test_channels_are_picked_in_the_order_asked_for(tmp_path, made_set):
    six = sound(6, 1)
    write(tmp_path / "six.wav", six)
    made_set(clip_id=["six"], path=["six.wav"], label=["bell"], channels=["4,1,2,3"])
    assert np.array_equal(built(tmp_path).read("six#0")["log_mel"], levels(six[:, [4, 1, 2, 3]]))


def test_four_files_are_one_clip(tmp_path, made_set):
    four = sound(4, 2)
    paths = [f"mic{number}.wav" for number in range(4)]
    for number, path in enumerate(paths):
        write(tmp_path / path, four[:, number])
    made_set(clip_id=["four"], path=[paths[0]], label=["bell"], more_paths=["|".join(paths[1:])], azimuth_deg=[350.0])
    cache = built(tmp_path)
    assert np.array_equal(cache.read("four#0")["log_mel"], levels(four))
    before = cache.manifest["shards"][0]["sha256"]
    write(tmp_path / paths[3], sound(1, 3))
    assert built(tmp_path).manifest["shards"][0]["sha256"] != before, "a change in the last file is a change of the clip"


@pytest.mark.parametrize(("last", "rate", "found"), [(sound(1, 4, RATE - 1), RATE, "15999 samples"), (sound(1, 4), 8000, "8000 Hz")])
def test_files_that_differ_end_in_the_ledger(tmp_path, made_set, last, rate, found):
    write(tmp_path / "whole.wav", sound(4, 5))
    write(tmp_path / "a.wav", sound(3, 6))
    write(tmp_path / "b.wav", last, rate)
    made_set(clip_id=["whole", "parts"], path=["whole.wav", "a.wav"], label=["x", "x"], more_paths=["", "b.wav"])
    row = built(tmp_path).ledger.set_index("clip_id").loc["parts"]
    assert (row.status, row.reason) == ("failed", "channels_differ")
    assert found in row.detail


@pytest.mark.parametrize(("channels", "picked", "status"), [(1, "", "rejected"), (4, "1,2,3,4", "failed"), (6, "", "rejected")])
def test_a_wrong_number_of_channels_ends_in_the_ledger(tmp_path, made_set, channels, picked, status):
    write(tmp_path / "right.wav", sound(4, 7))
    write(tmp_path / "wrong.wav", sound(channels, 8))
    made_set(clip_id=["right", "wrong"], path=["right.wav", "wrong.wav"], label=["x", "x"], channels=["", picked])
    row = built(tmp_path).ledger.set_index("clip_id").loc["wrong"]
    assert (row.status, row.reason) == (status, "wrong_channels")


def test_a_silent_channel_leaves_the_features_finite(tmp_path, made_set):
    four = sound(4, 9)
    four[:, 2] = 0
    write(tmp_path / "four.wav", four)
    made_set(clip_id=["four"], path=["four.wav"], label=["x"])
    features = built(tmp_path, features={"log_mel": MEL, "gcc_phat": {"window_length": 512, "hop_length": 256}}).read("four#0")
    assert all(np.isfinite(features[name]).all() for name in ("log_mel", "gcc_phat"))


def test_azimuths_are_targets_where_there_are_some(tmp_path, made_set):
    names = ["left", "unknown", "right"]
    for seed, name in enumerate(names):
        write(tmp_path / f"{name}.wav", sound(4, 10 + seed, 3 * RATE))
    made_set(clip_id=names, path=[f"{name}.wav" for name in names], label=["x", "x", "y"], azimuth_deg=[90.0, np.nan, 270.0])
    cache = built(tmp_path, segment={"length_s": 1.0}, array={"positions_m": SQUARE})
    azimuths = cache.examples.set_index("example_id")["azimuth_deg"]
    assert azimuths["left#2"] == 90.0
    assert np.isnan(azimuths["unknown#0"])
    assert cache.read("right#1")["azimuth_deg"] == np.float32(270.0)
    assert cache.manifest["targets"]["azimuth_deg"]["unit"] == "degrees"
    dataset = ShardDataset(cache, split="train")
    directions = sorted(float(dataset[row]["azimuth_deg"]) for row in range(len(dataset)))
    assert directions[:6] == [90.0] * 3 + [270.0] * 3


def test_caches_without_directions_have_no_such_target(tmp_path, made_set):
    write(tmp_path / "four.wav", sound(4, 13))
    made_set(clip_id=["four"], path=["four.wav"], label=["x"])
    cache = built(tmp_path)
    assert set(cache.read("four#0")) == {"log_mel", "label", "length"}
    assert "azimuth_deg" not in cache.examples


def test_another_direction_makes_another_shard(tmp_path, made_set):
    write(tmp_path / "four.wav", sound(4, 14))
    fingerprints = set()
    for azimuth_deg in (0.0, 5.0):
        made_set(clip_id=["four"], path=["four.wav"], label=["x"], azimuth_deg=[azimuth_deg])
        fingerprints.add(built(tmp_path).manifest["shards"][0]["fingerprint"])
    assert len(fingerprints) == 2


def test_one_and_two_passes_give_the_same_bytes(tmp_path, made_set):
    """With a segment length the shards are made ahead of the plan; without the inspections' memory they are not."""
    names = [f"clip{number}" for number in range(6)]
    for seed, name in enumerate(names):
        write(tmp_path / f"{name}.wav", sound(6, 20 + seed))
    made_set(clip_id=names, path=[f"{name}.wav" for name in names], label=["x"] * 6, channels=["1,2,3,4"] * 6, azimuth_deg=np.arange(6) * 60.0)
    hashes = []
    for wanted in ({"length_s": 1.0}, {}):
        manifest = built(tmp_path, segment=wanted).manifest
        hashes.append([shard["content_sha256"] for shard in manifest["shards"]])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("array", "message"), [
    (SQUARE[:3], "3 positions, the clips have 4 channels"),
    ([SQUARE[0], SQUARE[0], *SQUARE[2:]], "no two of them equal"),
    ([[3000.0, 0, 0], *SQUARE[1:]], "in metres"),
    ([[0.03, 0.03], *SQUARE[1:]], "positions_m"),
])
def test_a_geometry_that_does_not_fit_is_one_line(tmp_path, made_set, array, message):
    write(tmp_path / "four.wav", sound(4, 15))
    made_set(clip_id=["four"], path=["four.wav"], label=["x"])
    with pytest.raises(CatalogError, match=message) as error:
        built(tmp_path, array={"positions_m": array})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("columns", "message"), [
    ({"azimuth_deg": [400.0]}, "azimuth_deg = .*400.* must be at least 0 and below 360"),
    ({"azimuth_deg": [-5.0]}, "azimuth_deg"),
    ({"channels": ["1;2"]}, "channels = '1;2' must be numbers joined by commas"),
    ({"channels": ["1,"]}, "channels"),
    ({"more_paths": ["b.wav|../c.wav"]}, "more_paths"),
    ({"more_paths": ["|b.wav"]}, "more_paths"),
])
def test_bad_columns_name_the_row(columns, message):
    with pytest.raises(MetadataError, match=message) as error:
        clips_table({"clip_id": ["a"], "path": ["a.wav"]} | columns)
    assert "row 0" in str(error.value)


def test_paths_of_more_files_are_checked_before_reading(tmp_path):
    from audiodata.records import ClipSpan
    from audiodata.sources import inspect

    found, _ = inspect("audio", Path(tmp_path), ClipSpan("a", "a.wav", more_paths=("/etc/passwd",)))
    assert found.reason == "missing_file"
