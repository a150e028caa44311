"""Back from a cache to waveforms: exactly those that the build computed features from."""

import shutil

import numpy as np
import pytest
import soundfile as sf
from test_build_images import write_idx

from audiodata import audio
from audiodata.catalog import parse_catalog
from audiodata.errors import AudioDataError, CacheError, ClipError
from audiodata.originals import Originals
from pipelines import build

RATE = 16000
FRAMES = {"window_length": 512, "hop_length": 256}
TABLES = {
    "dataset": {"name": "folder"},
    "split": {"scheme": "grouped", "fractions": {"train": 0.5, "val": 0.0, "test": 0.5}},
    "audio": {"sample_rate": 8000, "channels": 2},
    "segment": {"length_s": 0.5, "hop_s": 0.25, "short": "repeat", "min_fill": 0.3},
    "features": {"log_mel": FRAMES | {"n_mels": 20}, "mfcc": FRAMES | {"n_mels": 20, "n_mfcc": 8}},
    "shards": {"examples": 8},
}


def write_data(root):
    generator = np.random.default_rng(0)
    for label in ("hum", "hiss"):
        (root / label).mkdir(parents=True)
        for number, seconds in enumerate((1.3, 0.4, 0.5, 2.0)):
            waveform = 0.1 * generator.standard_normal((round(seconds * RATE), 2))
            sf.write(root / label / f"{label}{number}.wav", waveform, RATE, subtype="PCM_16")
    return root


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = write_data(tmp_path_factory.mktemp("data") / "sounds")
    cache = tmp_path_factory.mktemp("out") / "cache"
    build.build(parse_catalog(TABLES, "two", "two"), root, cache)
    return cache, root


def test_features_of_the_waveforms_are_those_of_the_cache(built):
    originals = Originals(*built)
    examples = originals.cache.examples["example_id"].tolist()
    assert len(examples) > 20
    for example, waveform in originals.waveforms(examples):
        assert waveform.shape == (2, 4000)
        again = originals.features(waveform)
        cached = originals.cache.read(example.example_id)
        assert cached["length"] == example.valid
        assert again.keys() == {"log_mel", "mfcc"}
        for name, values in again.items():
            assert np.array_equal(values, cached[name]), f"{name} of {example.example_id}"


def test_one_waveform_is_that_stretch_of_its_file(built):
    originals = Originals(*built)
    table = originals.cache.examples
    example_id = next(name for name in table["example_id"] if name.endswith("#2"))
    clip_id = example_id.partition("#")[0]
    path = next(built[1].rglob(f"{clip_id.rpartition('/')[2].partition('.')[0]}*"))
    whole, rate = audio.decode(path)
    expected = audio.resample(whole, rate, 8000)[:, 4000 : 4000 + 4000]
    found = originals.waveform(example_id)
    assert np.array_equal(found[:, : expected.shape[1]], expected)


def test_only_the_features_asked_for(built):
    originals = Originals(*built)
    waveform = originals.waveform(originals.cache.examples["example_id"].iloc[0])
    assert originals.features(waveform, ["mfcc"]).keys() == {"mfcc"}


def test_catalog_of_the_manifest_is_the_one_that_was_built(built):
    originals = Originals(*built)
    assert originals.catalog.fingerprint() == originals.cache.manifest["catalog_fingerprint"]
    assert originals.sample_rate == 8000


def test_changed_files_are_refused(built, tmp_path):
    cache, root = built
    changed = shutil.copytree(root, tmp_path / "changed")
    waveform, rate = sf.read(changed / "hum" / "hum3.wav")
    sf.write(changed / "hum" / "hum3.wav", waveform * 0.9, rate, subtype="PCM_16")
    originals = Originals(cache, changed)
    table = originals.cache.examples
    shard = table.loc[table["clip_id"].str.contains("hum3"), "shard"].iloc[0]
    with pytest.raises(CacheError, match="not those that"):
        originals.waveform(table.loc[table["shard"] == shard, "example_id"].iloc[0])


def test_missing_files_and_examples_are_explained(built, tmp_path):
    cache, root = built
    fewer = shutil.copytree(root, tmp_path / "fewer")
    shutil.rmtree(fewer / "hum")
    originals = Originals(cache, fewer)
    hum = next(name for name in originals.cache.examples["example_id"] if "hum" in name)
    with pytest.raises(CacheError, match="has no clip"):
        originals.waveform(hum)
    with pytest.raises(CacheError, match="no example 'nothing'"):
        originals.waveform("nothing")
    with pytest.raises(AudioDataError):
        Originals(cache, tmp_path / "nowhere")


def test_a_file_that_vanishes_is_a_clip_that_failed(built, tmp_path):
    cache, root = built
    copied = shutil.copytree(root, tmp_path / "copied")
    originals = Originals(cache, copied)
    shutil.rmtree(copied / "hum")
    hum = next(name for name in originals.cache.examples["example_id"] if "hum" in name)
    with pytest.raises(ClipError, match="missing_file"):
        originals.waveform(hum)


def test_other_versions_are_said_and_not_refused(built, caplog):
    originals = Originals(*built)
    originals.cache.manifest["versions"]["numpy"] = "1.0"
    for entry in originals.cache.manifest["shards"]:
        entry["fingerprint"] = "0" * 64
    originals.waveform(originals.cache.examples["example_id"].iloc[0])
    assert "another numpy" in caplog.text


def test_images_have_no_waveform(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    write_idx(tmp_path, images, np.arange(20, dtype=np.uint8) % 2)
    tables = {"dataset": {"name": "idx_images"}, "features": {"image": {}}}
    build.build(parse_catalog(tables, "images", "images"), tmp_path, tmp_path / "cache")
    with pytest.raises(CacheError, match="images"):
        Originals(tmp_path / "cache", tmp_path)
