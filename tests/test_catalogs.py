"""Every catalog that is shipped loads, says where its data come from, and fits the data it is written for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_audioset import STRONG_HEADER
from made_speech import LIBRI, write_librimix, write_wsj0

from audiodata.catalog import load_catalog, shipped_catalogs
from audiodata.datasets import dataset_settings, read_clips
from audiodata.geometry import direction
from audiodata.splits import assign_splits, check_leakage

NAMES = sorted(shipped_catalogs())


def table_of(catalog, root, **keys):
    """Read and split as a build does."""
    select = catalog.select.model_dump() | keys
    table = read_clips(catalog.dataset, root, **select)
    table["split"] = assign_splits(table, **catalog.split.model_dump())
    check_leakage(table)
    return table


def test_catalogs_are_shipped():
    assert {"audioset-music-animal-things", "environmental-sounds", "spoken-digits", "digit-images"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_loads_and_its_data_set_takes_its_keys(name):
    catalog = load_catalog(name)
    assert catalog.name == name
    dataset_settings(catalog.dataset)


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_says_what_it_is_and_who_may_use_it(name):
    about = load_catalog(name).about
    assert about.title and about.summary and about.licence
    if not name.endswith("-template"):
        assert about.homepage.startswith("http") and about.citation


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_the_zoo_can_learn_from_it_in_minutes(name):
    """20 coefficients over 100 to 450 frames: large enough for two convolutions, small enough for two cores."""
    catalog = load_catalog(name)
    if "mfcc" in catalog.features:
        mfcc, rate = catalog.features["mfcc"], catalog.audio.sample_rate
        assert mfcc.n_mfcc == 20
        assert 0.060 <= mfcc.window_length / rate <= 0.068
        assert 100 <= 1 + catalog.segment.length_s * rate // mfcc.hop_length <= 450
        assert mfcc.f_max_hz == min(8000, rate / 2)


def test_environmental_sounds(shared_data):
    table = table_of(load_catalog("environmental-sounds"), shared_data / "environmental_sounds")
    assert table["split"].value_counts().to_dict()["test"] == 80
    assert set(table.loc[table["split"] == "test", "published"]) == {"3"}
    counts = table.groupby(["split", "label"]).size().unstack()
    assert counts.shape == (3, 10) and (counts > 0).sum().sum() >= 28


def test_spoken_digits(shared_data):
    table = table_of(load_catalog("spoken-digits"), shared_data / "spoken_digits")
    assert table.groupby("split")["group_id"].nunique().to_dict() == {"test": 1, "train": 3}
    assert sorted(table["label"].unique()) == list("0123456789")


def test_digit_images(shared_data):
    table = table_of(load_catalog("digit-images"), shared_data / "digit_images")
    counts = table.groupby(["label", "split"]).size().unstack()
    assert counts.sum().to_dict() == pytest.approx({"train": 8000, "val": 1000, "test": 1000}, abs=10)
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert shares["train"].between(0.799, 0.801).all()


def test_music_animal_things(shared_data, tmp_path):
    for name in ("ontology.json", "balanced_train_segments.csv", "eval_segments.csv", "class_labels_indices.csv"):
        shutil.copy(shared_data / "audioset" / name, tmp_path)
    labels = Path(tmp_path / "class_labels_indices.csv").read_text().splitlines()[1:]
    rated = "".join(f"{line.split(',')[1]},10,9\n" for line in labels)
    (tmp_path / "qa_true_counts.csv").write_text("label_id,num_rated,num_true\n" + rated)
    table = table_of(load_catalog("audioset-music-animal-things"), tmp_path)
    fine = table[table["reason"] == ""]
    assert fine["label"].value_counts().to_dict() == {"Music": 1000, "Animal": 1000, "Sounds of things": 1000}
    assert set(fine["split"]) == {"train", "val", "test"}


def test_strong_baby_cry_gun(shared_data, tmp_path):
    folder = shared_data / "audioset"
    for name in ("ontology.json", "mid_to_display_name.tsv"):
        shutil.copy(folder / name, tmp_path)
    for part in ("train", "eval"):
        rows = [
            line
            for path in sorted((folder / "strong_subset").glob(f"*{part}_strong.tsv"))
            for line in path.read_text().splitlines()[1:]
        ]
        (tmp_path / f"audioset_{part}_strong.tsv").write_text(STRONG_HEADER + "\n".join(rows) + "\n")
    table = table_of(load_catalog("audioset-strong-baby-cry-gun"), tmp_path, per_class=None)
    assert set(table["label"]) == {"Baby cry, infant cry", "Gunshot, gunfire"}
    assert set(table.loc[table["published"] == "eval", "split"]) == {"test"}


def test_the_template_builds_from_folders(tmp_path):
    for label in ("dog", "rain"):
        (tmp_path / label).mkdir()
        for number in range(10):
            (tmp_path / label / f"{number}.wav").touch()
    table = table_of(load_catalog("folder-template"), tmp_path)
    assert table.groupby(["label", "split"]).size().tolist() == [1, 8, 1] * 2


def test_the_array_template_builds_from_a_table(tmp_path):
    rows = [f"{label}/{number}.wav,{number * 10},{label}" for label in ("dog", "rain") for number in range(10)]
    (tmp_path / "clips.csv").write_text("\n".join(["file,azimuth,class", *rows]))
    table = table_of(load_catalog("array-folder-template"), tmp_path)
    assert table.groupby(["label", "split"]).size().tolist() == [1, 8, 1] * 2
    assert table["azimuth_deg"].max() == 90.0


@pytest.fixture(scope="module")
def sloclas(tmp_path_factory):
    """Twenty sounds of each class from four azimuths, and two noises; empty files, since only their paths are read."""
    root = tmp_path_factory.mktemp("sloclas")
    for label in [*load_catalog("sloclas").select.classes, "crowd", "wind"]:
        for azimuth in (5, 95, 185, 360):
            (root / label / str(azimuth)).mkdir(parents=True)
            for number in range(20 if len(label) > 4 else 2):
                (root / label / str(azimuth) / f"{number:04d}.wav").touch()
    return root


def test_sloclas(sloclas):
    table = table_of(load_catalog("sloclas"), sloclas)
    assert set(table.loc[table["split"] == "", "labels"]) == {"noise:crowd", "noise:wind"}
    chosen = table[table["split"] != ""]
    assert chosen["label"].nunique() == 10
    assert (chosen.groupby("group_id")["split"].nunique() == 1).all()
    assert set(chosen.groupby(["label", "split"]).size().unstack().columns) == {"train", "val", "test"}


def test_sloclas_as_published_has_its_sounds_on_both_sides(sloclas):
    table = table_of(load_catalog("sloclas-published"), sloclas)
    shares = table.loc[table["split"] != "", "split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.3, abs=0.06)
    of_source = read_clips({"name": "sloclas"}, sloclas, classes=load_catalog("sloclas").select.classes)
    assert table.groupby(of_source["group_id"])["split"].nunique().max() > 1


@pytest.mark.parametrize("form", ["mic", "foa"])
def test_dcase2019_part(tmp_path, form):
    (tmp_path / "metadata_dev").mkdir()
    (tmp_path / f"{form}_dev").mkdir()
    catalog = load_catalog(f"dcase2019-part-{form}")
    rows = [f"{label},{number},{number + 0.9},0,{10 * number},1" for number, label in enumerate(catalog.select.classes)]
    for split in (1, 2, 3, 4):
        text = "\n".join(["sound_event_recording,start_time,end_time,ele,azi,dist", *rows, "cough,0.5,1.5,0,0,1"])
        (tmp_path / "metadata_dev" / f"split{split}_ir0_ov2_1.csv").write_text(text)
    table = table_of(catalog, tmp_path)
    assert table["split"].value_counts().to_dict() == {"train": 18, "": 12, "val": 9, "test": 9}
    assert set(table.loc[table["split"] == "test", "published"]) == {"1"}
    assert set(table.loc[table["split"] == "", "reason"]) == {"overlapping"}


def test_arrays_have_the_geometry_of_their_makers():
    ring = np.array(load_catalog("sloclas").array.positions_m)
    assert np.linalg.norm(ring[0] - ring[2]) == pytest.approx(0.064) == np.linalg.norm(ring[1] - ring[3])
    assert load_catalog("sloclas-published").array == load_catalog("sloclas").array
    eigenmike = 0.042 * direction(np.array([45, -45, 135, -135]), np.array([35, -35, -35, 35]))
    assert np.array(load_catalog("dcase2019-part-mic").array.positions_m) == pytest.approx(eigenmike, abs=1e-4)
    assert load_catalog("dcase2019-part-foa").array.positions_m is None


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_with_an_array_has_a_channel_for_each_microphone_and_lags_enough(name):
    catalog = load_catalog(name)
    if catalog.array.positions_m:
        positions = np.array(catalog.array.positions_m)
        assert catalog.audio.channels == len(positions)
        longest = np.linalg.norm(positions[:, None] - positions, axis=-1).max() / catalog.array.speed_of_sound_m_s
        assert catalog.features["gcc_phat"].max_lag >= longest * catalog.audio.sample_rate


def test_wsj0_2mix(tmp_path):
    write_wsj0(tmp_path)
    table = table_of(load_catalog("wsj0-2mix"), tmp_path)
    assert table["split"].value_counts().to_dict() == {"train": 3, "val": 2, "test": 2}


def test_librimix(tmp_path):
    write_librimix(tmp_path)
    speakers = sorted({name.partition("-")[0] for names in LIBRI.values() for both in names for name in both.split("_")})
    rows = [f"{name:5}| {'FM'[number % 2]} | any | 8.0 | Somebody" for number, name in enumerate(speakers)]
    (tmp_path / "SPEAKERS.TXT").write_text("\n".join(["; about", ";ID  |SEX| SUBSET |MINUTES| NAME", *rows]))
    table = table_of(load_catalog("librimix"), tmp_path)
    assert table["split"].value_counts().to_dict() == {"train": 3, "val": 2, "test": 1}
    assert set(table["label"]) <= {"same sex", "different sex"}


def test_mini_librimix(tmp_path):
    write_librimix(tmp_path, mini=True)
    assert table_of(load_catalog("mini-librimix"), tmp_path)["split"].value_counts().to_dict() == {"train": 3, "val": 2}


def test_speech_mixtures(shared_data):
    table = table_of(load_catalog("speech-mixtures"), shared_data / "speech")
    assert table["split"].value_counts().to_dict() == {"train": 120, "test": 36}
    heard = {split: {name for text in rows["labels"] for name in text.split(";")} for split, rows in table.groupby("split")}
    assert heard == {"train": {"367", "1688", "2414", "2412", "2609"}, "test": {"533", "3005"}}
    assert table.groupby("split")["label"].agg(set).to_dict() == {"train": {"same sex", "different sex"}, "test": {"different sex"}}


def test_the_template_of_mixtures_builds_from_a_folder_for_each_speaker(tmp_path):
    names = [f"speaker{number}" for number in range(20)]
    for name in names:
        for take in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{take}.wav").touch()
    table = table_of(load_catalog("mixtures-template"), tmp_path)
    assert table["split"].value_counts().to_dict() == {"train": 4 * 32, "val": 8, "test": 8}


@pytest.mark.parametrize("name", NAMES)
def test_clips_that_are_mixtures_keep_their_channels(name):
    catalog = load_catalog(name)
    if "waveform" in catalog.features:
        assert catalog.audio.channels == 3 and catalog.audio.sample_rate == 8000
