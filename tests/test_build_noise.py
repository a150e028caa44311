"""Noise that a catalog asks for is in the cache: in the splits that it names, at the level that it names, and in the fingerprints."""

import numpy as np
import pytest
import soundfile

from audiodata import audio
from audiodata.catalog import parse_catalog
from audiodata.errors import CatalogError
from audiodata.features import extract
from audiodata.fingerprint import hash_file
from audiodata.mixing import add_noise
from audiodata.originals import Originals
from audiodata.shards import open_cache
from pipelines import build
from pipelines.cluster import connect

RATE = 16000
SQUARE = [[0.03, 0.03, 0.0], [-0.03, 0.03, 0.0], [-0.03, -0.03, 0.0], [0.03, -0.03, 0.0]]
FRAMES = {"window_length": 512, "hop_length": 256}
TABLES = {
    "dataset": {"name": "array_folder", "csv": "clips.csv"},
    "split": {"scheme": "published"},
    "audio": {"sample_rate": RATE, "channels": 4},
    "segment": {"length_s": 0.5},
    "array": {"positions_m": SQUARE},
    "features": {"log_mel": FRAMES | {"n_mels": 16}, "gcc_phat": FRAMES | {"max_lag": 8}},
    "shards": {"examples": 4},
}
NOISY = {"kind": "directional", "snr_db": [0.0, 10.0], "splits": ["train"], "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve recordings of four channels from known directions, and one of noise."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = ["file,class,azimuth,split"]
    for number in range(12):
        rng = np.random.default_rng(number)
        path = folder / f"sound{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal((RATE, 4)), RATE, subtype="PCM_16")
        lines.append(f"{path.name},{'bell' if number % 2 else 'horn'},{30 * number},{'train' if number < 8 else 'test'}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    (folder / "noise").mkdir()
    soundfile.write(folder / "noise" / "wind.wav", np.random.default_rng(99).standard_normal((3 * RATE, 4)) * 0.05, RATE, subtype="PCM_16")
    return folder


def built(root, out, client=None, **tables):
    build.build(parse_catalog(TABLES | tables, "noisy", "noisy"), root, out, client)
    return open_cache(out)


def test_noise_is_in_the_splits_that_get_it(root, tmp_path):
    clean, noisy = built(root, tmp_path / "clean"), built(root, tmp_path / "noisy", noise=NOISY)
    settings = noisy.manifest["catalog"]["noise"]
    assert settings["kind"] == "directional"
    original = Originals(clean, root)
    for example in noisy.examples.itertuples():
        found, before = noisy.read(example.example_id), clean.read(example.example_id)
        waveform = original.waveform(example.example_id)
        if example.split == "train":
            noise = parse_catalog(TABLES | {"noise": NOISY}, "noisy", "noisy").noise
            waveform = add_noise(
                noise, waveform, example.example_id, RATE, valid=RATE // 2, positions_m=SQUARE, source_azimuth_deg=example.azimuth_deg
            )
        expected = extract(waveform, RATE, original.settings.features)
        for name in ("log_mel", "gcc_phat"):
            assert np.array_equal(found[name], expected[name])
            assert np.array_equal(found[name], before[name]) == (example.split == "test")


def test_originals_have_the_noise(root, tmp_path):
    noisy = built(root, tmp_path / "noisy", noise=NOISY)
    originals = Originals(noisy, root)
    ids = noisy.examples["example_id"].tolist()
    for (_, waveform), example_id in zip(originals.waveforms(ids), ids, strict=True):
        assert np.array_equal(originals.features(waveform)["gcc_phat"], noisy.read(example_id)["gcc_phat"])


def test_the_bytes_do_not_depend_on_workers_or_passes(root, tmp_path):
    hashes = []
    for name, workers in (("here", 0), ("there", 2)):
        with connect(workers) as client:
            cache = built(root, tmp_path / name, client, noise=NOISY)
        hashes.append([hash_file(path) for path in sorted((tmp_path / name).iterdir())])
    assert hashes[0] == hashes[1]
    built(root, tmp_path / "here", noise=NOISY)  # with remembered inspections
    assert [hash_file(path) for path in sorted((tmp_path / "here").iterdir())] == hashes[0]
    assert cache.manifest["splits"]["train"]["examples"] == 16


def test_another_recording_of_noise_makes_other_shards_where_there_is_noise(root, tmp_path):
    noise = {"kind": "recorded", "snr_db": 5.0, "recordings": "noise", "splits": ["train"]}
    before = {shard["file"]: shard["fingerprint"] for shard in built(root, tmp_path / "cache", noise=noise).manifest["shards"]}
    wind = root / "noise" / "wind.wav"
    waveform, rate = audio.decode(wind)
    soundfile.write(wind, 0.5 * waveform.T, rate, subtype="PCM_16")
    after = {shard["file"]: shard["fingerprint"] for shard in built(root, tmp_path / "cache", noise=noise).manifest["shards"]}
    changed = {name.split("-")[0] for name in before if before[name] != after[name]}
    assert changed == {"train"}


@pytest.mark.parametrize("kind", ["diffuse", "directional"])
def test_noise_with_a_place_needs_places(kind):
    tables = {name: table for name, table in TABLES.items() if name != "array"}
    with pytest.raises(CatalogError, match="positions_m"):
        parse_catalog(tables | {"noise": {"kind": kind, "snr_db": 5.0}}, "noisy", "noisy")
