"""Mixtures are made while a cache is built: the sum of their sources, the same bytes every time, and nothing lost."""

import copy
import json
import math
import shutil

import numpy as np
import pytest
import soundfile
from made_speech import PITCHES_HZ, RATE, utterance, write, write_librimix, write_speakers, write_wsj0
from test_speech_mixing import active_rms, decibels

from audiodata.audio import decode
from audiodata.catalog import parse_catalog
from audiodata.errors import CatalogError
from audiodata.fingerprint import hash_file
from audiodata.originals import Originals
from audiodata.report import write_report
from audiodata.shards import open_cache, verify_cache
from audiodata.torch_dataset import ShardDataset
from pipelines import build
from pipelines.cluster import connect

THIRDS = {"scheme": "stratified", "fractions": {"train": 0.34, "val": 0.33, "test": 0.33}}
BASE = {
    "dataset": {"name": "mixtures", "per_utterance": 2, "speaker_table": "speakers.csv", "utterances": {"name": "folder", "split": THIRDS}},
    "split": {"scheme": "published"},
    "features": {"waveform": {}},
    "shards": {"examples": 8},
}


def catalog_of(dataset=None, **tables):
    made = copy.deepcopy(BASE) | tables
    made["dataset"] = dataset if dataset and "name" in dataset else made["dataset"] | (dataset or {})
    return parse_catalog(made, "speech", "speech.toml")


def built(root, out, dataset=None, client=None, limit=None, **tables):
    build.build(catalog_of(dataset, **tables), root, out, client, limit)
    assert verify_cache(out) == []
    return open_cache(out)


def hashes(folder):
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


def waveforms(cache):
    """The part of every example that its clip fills, by id."""
    for example_id in cache.examples["example_id"]:
        example = cache.read(example_id)
        yield example_id, example["waveform"][:, : int(example["length"])]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_speakers(tmp_path_factory.mktemp("speakers"))


@pytest.fixture(scope="module")
def cache(root, tmp_path_factory):
    return built(root, tmp_path_factory.mktemp("caches") / "speech")


def test_every_example_is_the_sum_of_its_sources_at_the_ratio_that_was_drawn(root, cache):
    table = build.read_table(catalog_of(), root).set_index("clip_id")
    for example_id, waveform in waveforms(cache):
        recipe = json.loads(table.loc[example_id.removesuffix("#0"), "reader"])
        assert waveform.shape[0] == 3 and np.abs(waveform).max() <= 0.9 + 1e-6
        assert np.array_equal(waveform[0], waveform[1] + waveform[2])
        drawn_db = recipe["levels_db"][0] - recipe["levels_db"][1]
        assert decibels(active_rms(waveform[1]) / active_rms(waveform[2])) == pytest.approx(drawn_db, abs=1e-4)


def test_every_source_is_its_utterance(root, cache):
    table = build.read_table(catalog_of(), root).set_index("clip_id")
    for example_id, waveform in waveforms(cache):
        row = table.loc[example_id.removesuffix("#0")]
        for source, path in zip(waveform[1:], [row["path"], row["more_paths"]], strict=True):
            heard = decode(root / path)[0][0, : waveform.shape[1]]
            assert np.corrcoef(source, heard)[0, 1] > 1 - 1e-9
        assert waveform.shape[1] == min(soundfile.info(root / path).frames for path in (row["path"], row["more_paths"]))


def test_the_cache_says_what_it_holds(cache):
    manifest, longest = cache.manifest, max(waveform.shape[1] for _, waveform in waveforms(cache))
    assert manifest["features"]["waveform"] | {"version": 1} == {
        "shape": [3, longest], "dtype": "float32", "axes": ["channel", "sample"], "unit": "full scale", "version": 1,
    }
    assert manifest["audio"]["channels"] == manifest["catalog"]["audio"]["channels"] == 3
    assert manifest["classes"] == ["different sex"] or set(manifest["classes"]) == {"different sex", "same sex"}
    speakers = cache.examples.groupby("split")["labels"].agg(lambda labels: {name for text in labels for name in text.split(";")})
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 6


def test_bytes_do_not_depend_on_the_number_of_workers(root, cache, tmp_path):
    with connect(workers=2) as client:
        built(root, tmp_path / "cache", client=client)
    assert hashes(tmp_path / "cache") == hashes(cache.path)


def test_two_passes_give_the_same_bytes_as_one_whatever_the_root_is_called(root, cache, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere")
    out, catalog = tmp_path / "cache", catalog_of()
    with build.InspectionStore.beside(out) as store:
        planned = build.plan(catalog, build.read_table(catalog, tmp_path / "elsewhere"), tmp_path / "elsewhere", store)
    build.run(planned, tmp_path / "elsewhere", out)
    assert hashes(out) == hashes(cache.path)


@pytest.fixture(scope="module")
def cut(root, tmp_path_factory):
    """Examples of one length, so that a change of one mixture leaves those of others as they are."""
    return built(root, tmp_path_factory.mktemp("caches") / "cut", segment={"length_s": 0.8})


@pytest.mark.parametrize("dataset", [{"seed": 1}, {"snr_high_db": 6.0}, {"mode": "max"}, {"level": "rms"}])
def test_what_changes_a_mixture_changes_the_shards(root, cut, tmp_path, dataset):
    after = built(root, tmp_path / "cache", dataset, segment={"length_s": 0.8})
    for what in ("fingerprint", "content_sha256"):
        assert not {shard[what] for shard in cut.manifest["shards"]} & {shard[what] for shard in after.manifest["shards"]}


def test_a_changed_utterance_touches_the_shards_that_it_is_heard_in(root, cut, tmp_path):
    shutil.copytree(root, tmp_path / "root")
    write(tmp_path / "root" / "anna" / "0.wav", utterance(230.0, 77, 0.9))
    after = built(tmp_path / "root", tmp_path / "cache", segment={"length_s": 0.8})
    old, new = ({shard["file"]: shard["fingerprint"] for shard in one.manifest["shards"]} for one in (cut, after))
    changed = {file for file in old if old[file] != new[file]}
    heard = after.examples[after.examples["clip_id"].str.contains("anna/0.wav", regex=False)]
    assert changed == set(heard["shard"]) and changed < set(old)


def test_resampling_keeps_the_sum(root, tmp_path):
    cache = built(root, tmp_path / "cache", audio={"sample_rate": 6000})
    for _, waveform in waveforms(cache):
        np.testing.assert_allclose(waveform[0], waveform[1:].sum(axis=0), atol=1e-6)


def test_three_at_once_have_four_channels(tmp_path):
    root = write_speakers(tmp_path / "root", ("anna", "bert", "carl", "dora"), count=2)
    everyone = {"name": "folder", "split": {"fractions": {"train": 1.0}}}
    cache = built(root, tmp_path / "cache", {"name": "mixtures", "speakers": 3, "utterances": everyone}, segment={"length_s": 0.8})
    for _, waveform in waveforms(cache):
        assert np.array_equal(waveform[0], waveform[1:].astype(np.float64).sum(axis=0).astype(np.float32)) and len(waveform) == 4
    assert cache.manifest["classes"] == []
    assert ShardDataset(cache, "train", ["waveform"])[0]["label"] == -1


def write_odd_ones(root):
    """One speaker's files are all odd: another rate, silent, too short, missing, two channels."""
    write_speakers(root, ("anna", "bert"), count=1)
    odd = root / "carl"
    write(odd / "fast.wav", utterance(100.0, 1, 1.0, 2 * RATE), 2 * RATE)
    write(odd / "short.wav", utterance(100.0, 2, 0.3))
    write(odd / "silent.wav", np.zeros(RATE, np.float32))
    write(odd / "stereo.wav", np.stack([utterance(100.0, 3)] * 2, axis=1))
    rows = [f"{path.relative_to(root).as_posix()},{path.parent.name}" for path in sorted(root.rglob("*.wav"))]
    (root / "clips.csv").write_text("\n".join(["file,speaker", *rows, "carl/gone.wav,carl"]))
    return {"name": "folder", "csv": "clips.csv", "class_column": "speaker", "split": {"fractions": {"train": 1.0}}}


def test_every_mixture_is_in_the_ledger_with_its_reason(tmp_path):
    utterances = write_odd_ones(tmp_path / "root")
    cache = built(tmp_path / "root", tmp_path / "cache", {"name": "mixtures", "utterances": utterances, "per_utterance": 2},
                  segment={"length_s": 0.5, "short": "drop"})
    ledger = cache.ledger
    expected = {"fast": "channels_differ", "short": "too_short", "silent": "silent", "gone": "missing_file", "stereo": ""}
    for name, reason in expected.items():
        rows = ledger[ledger["clip_id"].str.contains(name)]
        assert len(rows) and set(rows["reason"]) == {reason}, name
    details = dict(zip(ledger["reason"], ledger["detail"], strict=True))
    assert "Hz; resample one of them" in details["channels_differ"]
    assert details["too_short"] == "0.3 s is shorter than a segment of 0.5 s"
    assert "carl/gone.wav: no such file" in details["missing_file"] or details["missing_file"] == "no such file"
    assert "\n" not in "".join(ledger["detail"])


def test_limit_and_dry_run(root, tmp_path):
    shown = []
    assert build.build(catalog_of(), root, tmp_path / "cache", limit=6, on_plan=shown.append, dry_run=True) is None
    assert shown[0].ledger["reason"].value_counts().to_dict() == {"over_limit": 30, "": 6}
    assert set(shown[0].examples["split"]) == {"train", "val", "test"} and not (tmp_path / "cache").exists()


def test_originals_are_mixed_again(root, cache):
    example_id = cache.examples["example_id"][0]
    assert np.array_equal(Originals(cache, root).waveform(example_id), cache.read(example_id)["waveform"])


@pytest.mark.parametrize("dataset", [{}, {"speaker_table": None}])
def test_a_report_shows_the_waveforms(root, tmp_path, dataset):
    built(root, tmp_path / "cache", dataset)
    write_report(tmp_path / "cache", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "waveform" in text and "full scale" in text


@pytest.mark.parametrize(("tables", "message"), [
    ({"audio": {"channels": 1}}, r"\[audio\] channels = 1, but a clip of `mixtures` has 3, a mixture and 2 of what is in it; leave the key out"),
    ({"audio": {"channels": 4}}, r"channels = 4, but a clip of `mixtures` has 3"),
    ({"noise": {"kind": "white", "snr_db": 3.0}}, r"\[noise\]: would lie over the sources of a mixture"),
])
def test_channels_are_told_by_the_data_set_and_nothing_lies_over_them(tables, message):
    with pytest.raises(CatalogError, match=message):
        catalog_of(**tables)
    assert catalog_of(audio={"channels": 3}) == catalog_of() and catalog_of({"speakers": 3}).audio.channels == 4


def test_files_of_mixtures_are_built_as_they_are(tmp_path):
    base = write_wsj0(tmp_path / "wsj0")
    cache = built(tmp_path / "wsj0", tmp_path / "c1", {"name": "wsj0_2mix"}, segment={"length_s": 0.5, "short": "drop"})
    assert cache.examples.groupby("split").size().to_dict() == {"test": 4, "train": 6, "val": 4}
    first = cache.examples.iloc[0]
    stem = first["clip_id"]
    files = [base / stem.split("/")[0] / kind / f"{stem.split('/')[1]}.wav" for kind in ("mix", "s1", "s2")]
    read = np.concatenate([decode(file)[0] for file in files])
    start = round(first["start_s"] * RATE)
    assert np.array_equal(cache.read(first["example_id"])["waveform"], read[:, start : start + RATE // 2])


def test_unequal_files_of_a_mixture_are_named(tmp_path):
    base = write_librimix(tmp_path / "root", mini=True, tables=False)
    name = sorted((base / "train" / "s2").iterdir())[0]
    write(name, utterance(PITCHES_HZ["anna"], 0, 1.5))
    cache = built(tmp_path / "root", tmp_path / "cache", {"name": "librimix", "tree": "minilibrimix"})
    row = cache.ledger[cache.ledger["reason"] != ""].iloc[0]
    assert row["reason"] == "channels_differ" and "has 12000 samples at 8000 Hz" in row["detail"]


def test_published_recipes_whose_utterances_are_not_there_are_rows_of_the_ledger(shared_data, tmp_path):
    metadata = shared_data / "speech" / "librimix_metadata" / "libri2mix_dev-clean.csv"
    head, *rows = metadata.read_text().splitlines()
    (tmp_path / "recipes.csv").write_text("\n".join([head, *rows[:40]]))
    for row in rows[:2]:
        fields = row.split(",")
        for number, path in enumerate((fields[1], fields[3])):
            write(tmp_path / path, 0.1 * utterance(100.0 + 50 * number, number, 1.0 + number, 16000), 16000)
    cache = built(tmp_path, tmp_path / "cache", {"name": "mixtures", "recipes": {"train": "recipes.csv"}})
    assert cache.manifest["counts"]["reason"] == {"": 2, "missing_file": 38}
    for example_id, waveform in waveforms(cache):
        fields = next(row for row in rows if row.startswith(example_id.removesuffix("#0"))).split(",")
        utterances = [decode(tmp_path / path)[0][0, :16000].astype(np.float64) for path in (fields[1], fields[3])]
        expected = [float(gain) * samples for gain, samples in zip((fields[2], fields[4]), utterances, strict=True)]
        np.testing.assert_allclose(waveform[1:], expected, atol=1e-7)
        assert not math.isclose(float(fields[2]), float(fields[4]))
