"""Events take the same way through the house as sounds: same bytes, nothing lost, pairs in one shard."""

import copy
import json

import numpy as np
import pytest
from made_digits import JOINT, write_digits

from audiodata.catalog import parse_catalog
from audiodata.errors import CatalogError, MetadataError
from audiodata.event_sources import load_recordings
from audiodata.features import extract_events
from audiodata.fingerprint import hash_file
from audiodata.originals import Originals
from audiodata.planning import clip_spans
from audiodata.records import ClipSpan, partner_text, read_partner
from audiodata.shards import open_cache, verify_cache
from audiodata.torch_dataset import ShardDataset
from pipelines import build
from pipelines.cluster import connect


def catalog_of(changes=None, **tables):
    made = copy.deepcopy(JOINT) | tables
    made["dataset"] = made["dataset"] | (changes or {})
    return parse_catalog(made, "digits", "digits.toml")


SEEN = {"dataset": JOINT["dataset"]["visual"] | {"split": None}}


def one_sense(sense, **tables):
    """Build one side alone."""
    dataset = {key: value for key, value in JOINT["dataset"][sense].items() if key != "split"}
    split = JOINT["dataset"][sense]["split"]
    features = {f"{sense}_frames": {"time_steps": 12}}
    return parse_catalog({"dataset": dataset, "split": split, "segment": {"length_s": 0.3}, "features": features} | tables, sense, sense)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def cache(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("caches") / "joint"
    build.build(catalog_of(), root, out)
    return out


def files_of(folder):
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


def test_a_cache_of_pairs(cache):
    assert verify_cache(cache) == []
    opened = open_cache(cache)
    assert opened.manifest["counts"]["status"] == {"ok": 30}
    features = opened.manifest["features"]
    assert features["visual_frames"]["shape"] == [12, 1, 28, 28] and features["visual_frames"]["dtype"] == "uint8"
    assert features["auditory_frames"]["shape"] == [12, 1, 64] and features["auditory_frames"]["axes"] == ["time", "polarity", "channel"]
    assert opened.manifest["audio"]["sample_rate"] == 1_000_000 and opened.manifest["audio"]["segment_samples"] == 300_000
    assert opened.manifest["splits"]["train"]["examples"] == 21 and opened.manifest["splits"]["test"]["examples"] == 9
    assert opened.manifest["classes"] == ["0", "1", "2"]


def test_every_example_is_what_its_two_recordings_give(cache, root):
    opened, catalog = open_cache(cache), catalog_of()
    spans = {span.clip_id: span for span in clip_spans(build.read_table(catalog, root))}
    configs = {name: config.model_copy(update={"window_s": 0.3}) for name, config in catalog.features.items()}
    for row in opened.examples.head(6).itertuples():
        recordings = load_recordings(root, spans[row.clip_id])
        assert list(recordings) == ["visual", "auditory"]
        found, again = opened.read(row.example_id), extract_events(recordings, configs)
        assert found["visual_frames"].max() == 1 and found["auditory_frames"].sum() > 20
        # the sounds are shorter than the window: their first part is theirs, the rest its repetition
        steps = int(recordings["auditory"].duration_us / 25_000)
        np.testing.assert_array_equal(found["auditory_frames"][:steps], again["auditory_frames"][:steps])
        assert found["auditory_frames"][steps:].any() and not again["auditory_frames"][steps + 1 :].any()


def test_the_same_bytes_with_any_number_of_workers(cache, root, tmp_path):
    with connect(2) as client:
        build.build(catalog_of(), root, tmp_path / "other", client)
    assert files_of(tmp_path / "other") == files_of(cache)


def test_a_second_build_makes_nothing(cache, root):
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.h5")}
    build.build(catalog_of(), root, cache)
    assert {path.name: path.stat().st_mtime_ns for path in cache.glob("*.h5")} == before


def test_a_damaged_sound_loses_its_pairs_and_nothing_else(tmp_path):
    root = write_digits(tmp_path / "digits")
    broken = next((root / "voices").glob("1_ann_*"))
    broken.write_bytes(b"RIFF")
    build.build(catalog_of(), root, tmp_path / "cache")
    opened = open_cache(tmp_path / "cache")
    lost = opened.ledger[opened.ledger["status"] == "failed"]
    assert 1 <= len(lost) <= 2 and lost["clip_id"].str.contains(broken.name.split(".")[0]).all()
    assert len(opened.examples) == 30 - len(lost)


def test_another_sensor_setting_makes_other_shards(cache, root, tmp_path):
    auditory = JOINT["dataset"]["auditory"] | {"seed": 1}
    build.build(catalog_of({"auditory": auditory}), root, tmp_path / "other")
    mine, other = open_cache(cache), open_cache(tmp_path / "other")
    assert {shard["fingerprint"] for shard in mine.manifest["shards"]}.isdisjoint({shard["fingerprint"] for shard in other.manifest["shards"]})


@pytest.mark.parametrize("sense", ["visual", "auditory"])
def test_one_sense_alone(root, tmp_path, sense):
    build.build(one_sense(sense), root, tmp_path / "cache")
    opened = open_cache(tmp_path / "cache")
    assert list(opened.manifest["audio"]["sensors"]) == [sense]
    assert len(opened.examples) == {"visual": 30, "auditory": 18}[sense]
    assert verify_cache(tmp_path / "cache") == []


def test_a_feature_of_the_other_sense_is_one_clear_line(root, tmp_path):
    with pytest.raises(CatalogError, match=r"\[features.auditory_frames\]: is made of auditory events, the clips have visual"):
        build.build(one_sense("visual", features={"auditory_frames": {}}), root, tmp_path / "cache")


@pytest.mark.parametrize("table", [{"audio": {"sample_rate": 8000}}, {"noise": {"kind": "white", "snr_db": 10.0}}])
def test_tables_about_sound_are_refused(root, tmp_path, table):
    with pytest.raises(CatalogError, match=rf"\[{next(iter(table))}\]: says nothing about recordings of events"):
        build.build(one_sense("auditory", **table), root, tmp_path / "cache")


def test_long_recordings_are_cut_into_windows(root, tmp_path):
    build.build(one_sense("visual", segment={"length_s": 0.1, "min_fill": 0.9}), root, tmp_path / "cache")
    opened = open_cache(tmp_path / "cache")
    counts = opened.examples.groupby("clip_id").size()
    assert set(counts) <= {2, 3} and len(counts) == 30
    assert opened.examples["start_s"].round(6).isin([0.0, 0.1, 0.2]).all()
    whole = tmp_path / "whole"
    build.build(one_sense("visual", segment={"length_s": 0.3}, features={"visual_frames": {"time_steps": 3}}), root, whole)
    parts = one_sense("visual", segment={"length_s": 0.1, "min_fill": 0.9}, features={"visual_frames": {"time_steps": 1}})
    build.build(parts, root, tmp_path / "parts")
    clip = counts.index[0]
    one, many = open_cache(whole), open_cache(tmp_path / "parts")
    cut = [many.read(f"{clip}#{number}")["visual_frames"] for number in range(counts.iloc[0])]
    np.testing.assert_array_equal(one.read(f"{clip}#0")["visual_frames"][: len(cut)], np.concatenate(cut))


def test_clips_can_be_cleaned_by_their_duration(root, tmp_path):
    with pytest.raises(MetadataError, match=r"no clip is fit for use .*too_short"):
        build.build(one_sense("auditory", clean={"min_duration_s": 2.0}), root, tmp_path / "cache")


def test_the_events_of_an_example_are_found_again(cache, root):
    originals = Originals(cache, root)
    example_id = originals.cache.examples["example_id"].iloc[3]
    made = originals.features(originals.waveform(example_id))
    stored = originals.cache.read(example_id)
    for name, values in made.items():
        np.testing.assert_array_equal(values, stored[name])


def test_batches_of_pairs(cache):
    dataset = ShardDataset(cache, split="train")
    batch = dataset.__getitems__([0, 5, 20])
    assert batch[0]["visual_frames"].shape == (12, 1, 28, 28) and str(batch[1]["auditory_frames"].dtype) == "torch.uint8"


def test_a_partner_is_written_down_and_read_back():
    clip = ClipSpan("a#b", "folder/b.npz", 0.5, 1.25, 3, item="train/x", reader=json.dumps({"format": "npz"}))
    assert read_partner(partner_text(clip)) == clip
    pair = ClipSpan("c", "c.npz", partner=clip)
    assert pair.paths == ("c.npz", "folder/b.npz") and pair.recordings == (pair, clip)
