"""SLoClas: what paths tell, which channels are microphones, what stays together, what becomes of what is wrong."""

import logging
from itertools import product

import numpy as np
import pytest
from array_recordings import MEL, RATE, built, write

from audiodata.datasets import read_clips
from audiodata.datasets.sloclas import NOISES
from audiodata.errors import CatalogError, LeakageError, MetadataError
from audiodata.features import extract
from audiodata.features.spectral import LogMelConfig
from audiodata.splits import assign_splits, check_leakage

NO_DIRECTION = {"noise_pattern": r"noises/(?P<cls>[a-z]+)_(?P<id>[0-9]+)[.]wav"}


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def clips(root, classes=(), **keys):
    return read_clips({"name": "sloclas"} | keys, root, classes=classes)


def by_id(table):
    return table.set_index("clip_id")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Two classes, five sounds each, from six azimuths, and a noise from four; on four channels."""
    root = tmp_path_factory.mktemp("sloclas")
    for seed, (cls, azimuth, number) in enumerate(product(("bells", "horn"), range(5, 361, 71), range(5))):
        write(root / cls / str(azimuth) / f"{number:04d}.wav", seed=1000 + seed)
    for azimuth in (90, 180, 270, 360):
        write(root / "crowd" / str(azimuth) / "0001.wav", seed=azimuth)
    return root


# what paths tell


def test_class_azimuth_and_sound_are_read_from_folders(collection):
    table = by_id(clips(collection, classes=("horn", "bells")))
    row = table.loc["bells/76/0003.wav"]
    assert (row.path, row.label, row.labels, row.azimuth_deg) == ("bells/76/0003.wav", "bells", "bells", 76.0)
    assert (row.group_id, row.recording_id, row.reason, row.channels, row.more_paths) == ("bells/0003", "bells/76/0003.wav", "", "", "")
    assert table.loc["horn/360/0000.wav"].azimuth_deg == 0.0
    assert (table["reason"] == "").sum() == 60


@pytest.mark.parametrize(("file", "told"), [
    ("bells/5/1.wav", ("bells", 5, "bells/1")),
    ("SLoClas/wav/Bells/005deg/a_b_3_4.WAV", ("bells", 5, "bells/a_b_3_4")),
    ("metal/azi_355/x.flac", ("metal", 355, "metal/x")),
    ("set_1/phone_120_0042.wav", ("phone", 120, "phone/0042")),
    ("x_45/class3_45_0012.wav", ("class3", 45, "class3/0012")),
    ("dog/7.5/x.wav", ("dog", 7.5, "dog/x")),
    ("dog/-90/x.wav", ("dog", 270, "dog/x")),
    ("cymbals_300_17_2.wav", ("cymbals", 300, "cymbals/17_2")),
])
def test_the_known_layouts(tmp_path, file, told):
    row = clips(touch(tmp_path, file)).iloc[0]
    assert (row.label, row.azimuth_deg, row.group_id) == told


def test_a_pattern_of_ones_own(tmp_path):
    pattern = r"d(?P<azi>\d+)/(?P<cls>[a-z]+)-(?P<id>\d+)[.]wav"
    table = by_id(clips(touch(tmp_path, "in/d10/ring-7.wav", "in/d10/readme.wav", "ring/5/1.wav"), pattern=pattern, path="in/"))
    assert table.loc["d10/ring-7.wav", ["path", "label", "group_id"]].tolist() == ["in/d10/ring-7.wav", "ring", "ring/7"]
    left = table.loc["d10/readme.wav"]
    assert (left.reason, left.label, left.labels) == ("other_class", "", "")
    assert np.isnan(left.azimuth_deg)
    assert len(table) == 2


def test_classes_can_be_renamed(tmp_path):
    root = touch(tmp_path, "class1/5/a.wav", "class2/5/a.wav", "class3/5/a.wav")
    table = clips(root, classes=("horn", "bells"), class_names={"class1": "bells", "class2": "Horn", "class3": "wind"})
    assert table["label"].tolist() == ["bells", "horn", ""]
    assert table["labels"].tolist() == ["bells", "horn", "noise:wind"]


@pytest.mark.parametrize(("keys", "message"), [
    ({"pattern": "("}, "`pattern` = '\\(': not a regular expression"),
    ({"pattern": "(?P<cls>.)(?P<azi>.)"}, r"no named group `id`; write \(\?P<id>"),
    ({"pattern": "(?P<class>.)"}, "unknown named group `class`; did you mean `cls`"),
    ({"noise_pattern": "(?P<clas>.)"}, "unknown named group `clas`"),
    ({"mic_order": [0, 0]}, "each microphone once"),
    ({"mic_order": [1, 2, 3, 4]}, "counted from 0"),
    ({"path": "../elsewhere"}, "below the data root"),
    ({"grouping": "sound"}, "grouping"),
])
def test_wrong_settings_are_one_line(tmp_path, keys, message):
    with pytest.raises(CatalogError, match=message) as caught:
        clips(tmp_path, **keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("file", "message"), [
    ("bells/400/a.wav", r"bells/400/a.wav: azimuth 400 is outside -180 to 360 degrees"),
    ("bells/a.wav", r"none of 1 paths; the first is bells/a.wav; say by `pattern`"),
    ("bells/notes.txt", "no sound files in it or below"),
])
def test_wrong_files_are_one_line(tmp_path, file, message):
    with pytest.raises(MetadataError, match=message) as caught:
        clips(touch(tmp_path, file))
    assert "\n" not in str(caught.value)


def test_an_azimuth_that_is_no_number_is_one_line(tmp_path):
    with pytest.raises(MetadataError, match=r"bells/left/a.wav: azimuth 'left' is not a number"):
        clips(touch(tmp_path, "bells/left/a.wav"), pattern="(?P<cls>.+)/(?P<azi>.+)/(?P<id>.+)")


def test_ratings_are_not_there(tmp_path):
    with pytest.raises(CatalogError, match="no ratings"):
        read_clips({"name": "sloclas"}, touch(tmp_path, "bells/5/a.wav"), quality=0.5)


# directions


@pytest.mark.parametrize(("clockwise", "zero", "expected"), [
    (False, 0.0, [5.0, 90.0, 0.0]), (True, 0.0, [355.0, 270.0, 0.0]), (True, 90.0, [85.0, 0.0, 90.0]), (False, -10.0, [355.0, 80.0, 350.0]),
])
def test_azimuths_are_brought_to_the_front_and_counter_clockwise(tmp_path, clockwise, zero, expected):
    root = touch(tmp_path, "bells/5/a.wav", "bells/90/a.wav", "horn/360/a.wav")
    assert clips(root, clockwise=clockwise, azimuth_zero_deg=zero)["azimuth_deg"].tolist() == expected


# noises and classes that are not chosen


def test_noises_are_listed_for_mixing_and_belong_to_no_class(collection):
    table = by_id(clips(collection))
    noise = table.loc["crowd/90/0001.wav"]
    assert (noise.label, noise.labels, noise.reason, noise.azimuth_deg) == ("", "noise:crowd", "other_class", 90.0)
    assert (table["labels"] == "noise:crowd").sum() == 4
    assert set(table["label"]) == {"", "bells", "horn"}


@pytest.mark.parametrize("folder", ["Traffic and car", "traffic_and_car", "WIND", "water"])
def test_noises_are_known_however_they_are_spelt(tmp_path, folder):
    table = by_id(clips(touch(tmp_path, f"{folder}/90/a.wav", "bells/5/a.wav")))
    name = " ".join(folder.lower().split("_"))
    assert name in NOISES
    assert table.loc[f"{folder}/90/a.wav", "labels"] == f"noise:{name}"


def test_a_pattern_for_noises(tmp_path):
    table = by_id(clips(touch(tmp_path, "noises/crowd_01.wav", "bells/5/a.wav"), **NO_DIRECTION))
    noise = table.loc["noises/crowd_01.wav"]
    assert (noise.labels, noise.group_id, noise.reason) == ("noise:crowd", "noise:crowd/01", "other_class")
    assert np.isnan(noise.azimuth_deg)


def test_a_chosen_class_is_no_noise(tmp_path):
    root = touch(tmp_path, "animal/5/a.wav", "bells/5/a.wav")
    assert clips(root, classes=("animal", "bells"))["label"].tolist() == ["animal", "bells"]
    assert clips(root, noises=[])["label"].tolist() == ["animal", "bells"]


def test_classes_that_are_not_chosen_are_named_in_one_line(tmp_path, caplog):
    root = touch(tmp_path, "bells/5/a.wav", "bels/5/a.wav", "bels/5/b.wav", "water/90/a.wav")
    with caplog.at_level(logging.WARNING):
        table = clips(root, classes=("bells",))
    assert table["reason"].tolist() == ["", "other_class", "other_class", "other_class"]
    assert caplog.records[0].getMessage() == "2 recordings are of classes that are not chosen, and left out: bels"


def test_an_unknown_class_is_named(collection):
    with pytest.raises(CatalogError, match="no clip is of the class `bell`; did you mean `bells`"):
        clips(collection, classes=("bell", "horn"))


# splits


def test_a_sound_stays_on_one_side(collection):
    table = clips(collection)
    for seed in range(5):
        table["split"] = assign_splits(table, scheme="stratified", fractions={"train": 0.6, "val": 0.2, "test": 0.2}, seed=seed)
        check_leakage(table)
        sides = table[table["reason"] == ""].groupby("group_id")["split"].nunique()
        assert (sides == 1).all() and len(sides) == 10


def test_the_papers_split_is_one_of_segments_and_leaks(collection):
    table = clips(collection, grouping="segment")
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)
    chosen = table[table["reason"] == ""]
    assert 0.5 < (chosen["split"] == "train").mean() < 0.9
    sounds = chosen.assign(sound=chosen["label"] + chosen["path"].str[-8:]).groupby("sound")["split"].nunique()
    assert (sounds == 2).any(), "the same sound is on both sides, which is what the other grouping is for"
    by_source = clips(collection)
    by_source["split"] = assign_splits(by_source, scheme="published")
    assert by_source["split"].tolist() == table["split"].tolist()
    with pytest.raises(LeakageError):
        check_leakage(by_source)


def test_a_pattern_that_keeps_nothing_together_is_remarked(tmp_path, caplog):
    root = touch(tmp_path, "bells/5/bells_5_1.wav", "bells/10/bells_10_1.wav")
    clips(root)
    assert "does `id` in `pattern` stand for the sound alone?" in caplog.text
    caplog.clear()
    clips(root, grouping="segment")
    clips(touch(tmp_path, "ring/5/1.wav", "ring/10/1.wav"))
    assert caplog.text == ""


# channels


def test_six_channels_hold_four_microphones(tmp_path):
    write(tmp_path / "bells/5/four.wav", 4)
    write(tmp_path / "bells/5/six.wav", 6)
    write(tmp_path / "bells/5/mono.wav", 1)
    (tmp_path / "bells/5/broken.wav").write_bytes(b"RIFF")
    channels = by_id(clips(tmp_path))["channels"].to_dict()
    assert channels == {"bells/5/four.wav": "", "bells/5/six.wav": "1,2,3,4", "bells/5/mono.wav": "", "bells/5/broken.wav": ""}
    ordered = by_id(clips(tmp_path, mic_order=[3, 0, 1, 2]))["channels"].to_dict()
    assert by_id(clips(tmp_path))["duration_s"].dropna().to_dict() == dict.fromkeys(ordered.keys() - {"bells/5/broken.wav"}, 0.1)
    assert ordered == {"bells/5/four.wav": "3,0,1,2", "bells/5/six.wav": "4,1,2,3", "bells/5/mono.wav": "", "bells/5/broken.wav": ""}


@pytest.mark.parametrize("layout", ["bells/5/1_mic{mic}.wav", "f_5/bells_5_1_mic{mic}.wav"])
def test_four_files_of_a_microphone_each_are_one_clip(tmp_path, layout):
    root = touch(tmp_path, *(layout.format(mic=mic) for mic in (2, 1, 4, 3)))
    table = clips(root)
    assert table["clip_id"].tolist() == [layout.format(mic="*")]
    row = table.iloc[0]
    assert [row.path, *row.more_paths.split("|")] == [layout.format(mic=mic) for mic in (1, 2, 3, 4)]
    assert (row.group_id, row.azimuth_deg, row.channels) == ("bells/1", 5.0, "")
    assert clips(root, mic_order=[1, 2, 3, 0])["channels"].tolist() == ["1,2,3,0"]


def test_a_missing_microphone_is_named_by_the_file_that_should_be_there(tmp_path):
    root = touch(tmp_path, *(f"bells/5/1_mic{mic}.wav" for mic in (1, 2, 3, 4)), *(f"bells/5/2_mic{mic}.wav" for mic in (1, 2, 4)))
    more = by_id(clips(root))["more_paths"]
    assert more["bells/5/2_mic*.wav"] == "bells/5/2_mic2.wav|bells/5/2_mic3.wav|bells/5/2_mic4.wav"


def test_microphones_in_folders_of_their_own(tmp_path):
    pattern = r"m(?P<mic>\d+)/(?P<cls>\w+)/(?P<azi>\d+)/(?P<id>\w+)[.]wav"
    table = clips(touch(tmp_path, *(f"m{mic}/bells/5/1.wav" for mic in (10, 9))), pattern=pattern)
    assert (table["path"][0], table["more_paths"][0]) == ("m9/bells/5/1.wav", "m10/bells/5/1.wav")


# builds


def levels(waveform):
    return extract(np.ascontiguousarray(waveform.T), RATE, {"log_mel": LogMelConfig(**MEL)})["log_mel"]


def test_a_build_takes_the_microphones_and_the_ledger_the_rest(tmp_path):
    six = write(tmp_path / "bells/5/six.wav", 6, seed=1)
    for mic in (1, 2, 3, 4):
        write(tmp_path / f"bells/10/parts_mic{mic}.wav", 1, seed=10 + mic)
        write(tmp_path / f"bells/10/gap_mic{mic}.wav", 1, seed=20 + mic)
        write(tmp_path / f"bells/10/uneven_mic{mic}.wav", 1, seed=30 + mic, samples=1600 + (mic == 4))
    (tmp_path / "bells/10/gap_mic3.wav").unlink()
    write(tmp_path / "bells/10/mono.wav", 1, seed=2)
    write(tmp_path / "bells/10/five.wav", 5, seed=3)
    write(tmp_path / "bells/10/slow.wav", 4, seed=4, rate=8000)
    write(tmp_path / "water/90/noise.wav", 4, seed=5)
    cache = built(tmp_path, {"name": "sloclas", "mic_order": [1, 0, 2, 3]})
    fate = {row.clip_id.split("/")[-1].split(".")[0]: (row.status, row.reason) for row in cache.ledger.itertuples()}
    assert fate == {
        "six": ("ok", ""), "parts_mic*": ("ok", ""), "slow": ("ok", ""),
        "gap_mic*": ("failed", "missing_file"), "uneven_mic*": ("failed", "channels_differ"),
        "mono": ("rejected", "wrong_channels"), "five": ("rejected", "wrong_channels"), "noise": ("not_selected", "other_class"),
    }
    details = cache.ledger.set_index("clip_id")["detail"]
    assert "gap_mic3.wav" in details["bells/10/gap_mic*.wav"]
    assert np.array_equal(cache.read("bells/5/six.wav#0")["log_mel"], levels(six[:, [2, 1, 3, 4]]))
    assert cache.read("bells/5/six.wav#0")["azimuth_deg"] == 5.0


def test_files_that_differ_in_rate_are_one_line_where_the_catalog_has_none(tmp_path):
    write(tmp_path / "bells/5/a.wav", 4, seed=1)
    write(tmp_path / "bells/5/b.wav", 4, seed=2, rate=8000)
    with pytest.raises(CatalogError, match=r"clips differ in sample_rate.*16000 .*8000 .*set \[audio\] sample_rate"):
        built(tmp_path, {"name": "sloclas"}, audio={"channels": 4})


def test_a_silent_channel_is_used_and_a_silent_file_is_not(tmp_path):
    import soundfile

    one = write(tmp_path / "bells/5/one.wav", 4, seed=1)
    one[:, 2] = 0
    soundfile.write(tmp_path / "bells/5/one.wav", one, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "bells/5/all.wav", 0 * one, RATE, subtype="FLOAT")
    cache = built(tmp_path, {"name": "sloclas"})
    assert np.isfinite(cache.read("bells/5/one.wav#0")["log_mel"]).all()
    assert cache.ledger.set_index("clip_id").loc["bells/5/all.wav", "reason"] == "silent"
