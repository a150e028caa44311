"""The clips that a simulation makes of sounds: names, places, groups, and what is refused."""

import numpy as np
import pytest

from audiodata.catalog import load_catalog
from audiodata.datasets import dataset_settings, read_clips
from audiodata.datasets.simulated_array import SimulatedArraySettings, azimuths_of, placed_clips, read_sounds
from audiodata.errors import CatalogError, MetadataError
from audiodata.splits import assign_splits, check_leakage


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def settings_of(**keys):
    return dataset_settings({"name": "simulated_array", **keys})[1]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "simulated").mkdir()
    return touch(tmp_path, "sounds/dog/a.wav", "sounds/dog/b.wav", "sounds/rain/a.wav")


def test_every_sound_has_a_file_at_every_azimuth(root):
    table = read_clips({"name": "simulated_array", "azimuth_step_deg": 90}, root)
    assert len(table) == 3 * 4
    assert table["azimuth_deg"].tolist() == [0.0, 90.0, 180.0, 270.0] * 3
    assert table["clip_id"].tolist()[:4] == ["dog/a.wav@0", "dog/a.wav@90", "dog/a.wav@180", "dog/a.wav@270"]
    assert table["label"].tolist() == ["dog"] * 8 + ["rain"] * 4
    assert table["path"].str.fullmatch(r"simulated/(dog|rain)/(0|90|180|270)/[ab]-[0-9a-f]{16}\.wav").all()
    assert table["path"].is_unique
    assert table["duration_s"].isna().all()


def test_what_is_made_of_a_sound_keeps_its_group_and_split(tmp_path):
    (tmp_path / "simulated").mkdir()
    touch(tmp_path, "sounds/a.wav", "sounds/b.wav", "sounds/c.wav")
    (tmp_path / "sounds" / "list.csv").write_text("file,class,group,split\na.wav,dog,g1,train\nb.wav,dog,g1,train\nc.wav,dog,g2,test\n")
    table = read_clips({"name": "simulated_array", "sounds": {"name": "folder", "csv": "list.csv"}, "azimuth_step_deg": 5}, tmp_path)
    assert table.groupby("group_id").size().to_dict() == {"g1": 144, "g2": 72}
    assert table["recording_id"].unique().tolist() == ["a", "b", "c"]
    assert set(table.loc[table["group_id"] == "g2", "published"]) == {"test"}
    table["split"] = assign_splits(table, scheme="stratified", fractions={"train": 0.5, "val": 0.0, "test": 0.5})
    check_leakage(table)
    assert table.groupby("group_id")["split"].nunique().max() == 1


def test_the_same_file_name_in_two_classes_is_two_files(root):
    table = read_clips({"name": "simulated_array", "azimuths_deg": [0.0]}, root)
    assert table["path"].str.split("/").str[-1].is_unique


def test_azimuths_are_drawn_for_each_sound_alone():
    settings = settings_of(per_sound=4, seed=3)
    drawn = {name: azimuths_of(settings, name) for name in ("a", "b", "c")}
    assert all(len(set(azimuths)) == 4 and azimuths == sorted(azimuths) for azimuths in drawn.values())
    assert drawn["a"] != drawn["b"]
    assert azimuths_of(settings_of(per_sound=4, seed=4), "a") != drawn["a"]
    assert set(drawn["a"]) < set(azimuths_of(settings_of(per_sound=6, seed=3), "a"))
    every = [azimuth for number in range(400) for azimuth in azimuths_of(settings, str(number))]
    counts = np.bincount(np.round(np.array(every) / 5).astype(int), minlength=72)
    assert counts.min() > 0 and counts.max() < 60  # 22 each on average


def test_a_sound_that_is_left_out_stays_one_row(root):
    table = read_clips({"name": "simulated_array", "azimuth_step_deg": 90}, root, classes=("dog",))
    left_out = table[table["reason"] != ""]
    assert left_out[["clip_id", "path", "reason"]].to_numpy().tolist() == [["rain/a.wav", "sounds/rain/a.wav", "other_class"]]
    assert left_out["azimuth_deg"].isna().all()
    assert (table["reason"] == "").sum() == 8


def test_before_the_simulation_it_is_advised(tmp_path):
    touch(tmp_path, "sounds/dog/a.wav")
    with pytest.raises(MetadataError, match=r"simulated: missing_file: nothing is simulated yet; run `python -m pipelines simulate CATALOG --data"):
        read_clips({"name": "simulated_array"}, tmp_path)


def test_sounds_may_lie_in_several_files_below_their_folder(root):
    settings = settings_of(sounds_folder="sounds/dog", sounds={"name": "folder", "pattern": "(?P<class>[a-z])[.]wav"}, azimuths_deg=[1.5])
    table = placed_clips(settings, read_sounds(settings, root, (), None))
    assert table["path"].str.startswith(("simulated/a/1.5/a-", "simulated/b/1.5/b-")).all()
    assert table["source_id"].tolist() == ["a.wav", "b.wav"]


@pytest.mark.parametrize("label", ["a/b", "..", "a|b", ".hidden", " x", "x" * 201])
def test_a_class_that_is_no_plain_name_is_refused(tmp_path, label):
    touch(tmp_path, "sounds/a.wav")
    (tmp_path / "sounds" / "list.csv").write_text(f'file,class\na.wav,"{label}"\n')
    settings = settings_of(sounds={"name": "folder", "csv": "list.csv"})
    sounds = read_sounds(settings, tmp_path, (), None)
    sounds["label"] = label
    with pytest.raises(MetadataError, match=r"the class '.*' can't be a folder's name; rename it") as caught:
        placed_clips(settings, sounds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"azimuths_deg": [0, 400]}, "400 is no azimuth: at least 0, below 360, counter-clockwise"),
        ({"azimuths_deg": [-5]}, "-5 is no azimuth"),
        ({"azimuths_deg": [360]}, "360 is no azimuth"),
        ({"azimuths_deg": [10, 10]}, "an azimuth is named twice"),
        ({"azimuths_deg": [10], "azimuth_step_deg": 5}, "`azimuths_deg` or `azimuth_step_deg`, not both"),
        ({"azimuth_step_deg": 7}, "must divide 360"),
        ({"per_sound": 0}, "`per_sound` = 0"),
        ({"distance_m": 0}, "`distance_m` = 0"),
        ({"elevation_deg": 91}, "`elevation_deg` = 91"),
        ({"room": {"size_m": [4, 3, 2.5], "array_m": [2, 1, 1], "rt60_s": -0.3}}, "`room.rt60_s` = -0.3: Input should be greater than 0"),
        ({"room": {"size_m": [4, 3, 2.5], "array_m": [2, 1, 9], "rt60_s": 0.3}}, r"`array_m` = \[2.0, 1.0, 9.0\] lies outside the room"),
        ({"room": {"size_m": [4, 3, -1], "array_m": [2, 1, 1], "rt60_s": 0.3}}, "`size_m` must be over 0 m"),
        ({"room": {"size_m": [4, 3, 2.5], "array_m": [2, 1, 1], "rt60": 0.3}}, "unknown key `room.rt60`|`room.rt60_s` is required"),
        ({"responses": {"path": "../x.sofa"}}, "must lie below the data root"),
        ({"responses": {"path": "x.sofa"}, "distance_m": 1.0}, "`distance_m` says nothing beside `responses`"),
        ({"responses": {"path": "x.sofa"}, "room": {"size_m": [4, 3, 2.5], "array_m": [2, 1, 1], "rt60_s": 0.3}}, "not both"),
        ({"folder": "sounds/made"}, "`folder` must not lie inside `sounds_folder`"),
        ({"folder": "/tmp"}, "must lie below the data root"),
        ({"sounds": {"name": "idx_images"}}, "holds no sounds"),
        ({"sounds": {"name": "simulated_array"}}, "not another simulation"),
        ({"sounds": {"name": "foldr"}}, r"\[dataset.sounds\]: unknown data set `foldr`; did you mean `folder`"),
        ({"sounds": {"name": "folder", "csvs": "a"}}, r"\[dataset.sounds\] folder: unknown key `csvs`; did you mean `csv`"),
        ({"sample_rate": 10}, "`sample_rate` = 10"),
        ({"duration_s": -1}, "`duration_s` = -1"),
    ],
)
def test_bad_settings_are_explained_in_one_line(keys, message):
    with pytest.raises(CatalogError, match=message) as caught:
        settings_of(**keys)
    assert "\n" not in str(caught.value)


def test_all_azimuths():
    assert SimulatedArraySettings().azimuths() == tuple(range(0, 360, 5))
    assert settings_of(azimuth_step_deg=22.5).azimuths()[1:3] == (22.5, 45.0)
    assert settings_of(azimuths_deg=[300, 2.5, 0]).azimuths() == (0.0, 2.5, 300.0)


@pytest.mark.parametrize("scene", ["free-field", "room", "kemar"])
@pytest.mark.parametrize(("kind", "sounds", "folder"), [("sounds", 238, "environmental_sounds"), ("digits", 2000, "spoken_digits")])
def test_shipped_catalogs_fit_the_sounds_they_are_written_for(shared_data, scene, kind, sounds, folder):
    catalog = load_catalog(f"simulated-{kind}-{scene}")
    settings = dataset_settings(catalog.dataset)[1]
    assert settings.sounds_folder == folder
    table = placed_clips(settings, read_sounds(settings, shared_data, (), None))
    assert len(table) == sounds * settings.per_sound
    table["split"] = assign_splits(table, **catalog.split.model_dump())
    check_leakage(table)
    assert {"train", "test"} <= set(table["split"])
    assert set(table["azimuth_deg"]) == set(np.arange(0.0, 360.0, 5.0))
    assert len(catalog.array.positions_m) == catalog.audio.channels
    assert catalog.features["log_mel"].f_max_hz == settings.sample_rate / 2 == catalog.audio.sample_rate / 2
