"""TAU Spatial Sound Events 2019: annotations, what overlaps, folds, folders and archives, what is wrong."""

import logging
import zipfile

import numpy as np
import pytest
from array_recordings import MEL, RATE, built, write
from hypothesis import given
from hypothesis import strategies as st

from audiodata.datasets import read_clips
from audiodata.datasets.dcase2019_part import CLASSES, overlapping, read_annotation
from audiodata.errors import CatalogError, MetadataError
from audiodata.features import extract
from audiodata.features.spectral import LogMelConfig
from audiodata.splits import assign_splits, check_leakage

HEADER = "sound_event_recording,start_time,end_time,ele,azi,dist"
# knock and cough sound together for 0.1 s, drawer begins as speech ends
EVENTS = ("speech,0.0,0.5,10,-90,1", "drawer,0.5,1.0,0,170,2", "knock,1.1,1.5,-40,0,1", "cough,1.4,1.9,-10,-10,2")
ALONE = ("speech,0.0,0.5,10,-90,1", "drawer,0.5,1.0,0,170,2")


def annotate(root, stem, *events, part="dev"):
    path = root / f"metadata_{part}" / f"{stem}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEADER, *events]) + "\n")
    return path


def make(root, stems, events=EVENTS, part="dev", form="mic"):
    (root / f"{form}_{part}").mkdir(exist_ok=True)
    for stem in stems:
        annotate(root, stem, *events, part=part)
    return root


def clips(root, classes=(), **keys):
    return read_clips({"name": "dcase2019_part"} | keys, root, classes=classes)


# annotations


def test_every_event_is_a_clip(tmp_path):
    table = clips(make(tmp_path, ["split1_ir0_ov2_31"]))
    assert table["clip_id"].tolist() == [f"mic_dev/split1_ir0_ov2_31/{number:03d}" for number in range(4)]
    assert set(table["path"]) == {"mic_dev/split1_ir0_ov2_31.wav"}
    assert set(table["group_id"]) == set(table["recording_id"]) == {"mic_dev/split1_ir0_ov2_31"}
    assert table["label"].tolist() == table["labels"].tolist() == ["speech", "drawer", "knock", "cough"]
    assert table["start_s"].tolist() == table["file_start_s"].tolist() == [0.0, 0.5, 1.1, 1.4]
    assert table["duration_s"].tolist() == [0.5, 0.5, 0.4, 0.5]
    assert table["azimuth_deg"].tolist() == [270.0, 170.0, 0.0, 350.0], "-90 is the right, which is 270 counter-clockwise"
    assert table["reason"].tolist() == ["", "", "overlapping", "overlapping"]
    assert set(table["published"]) == {"1"}


def test_overlapping_events_can_be_kept(tmp_path):
    assert (clips(make(tmp_path, ["split1_ir0_ov2_31"]), overlap="any")["reason"] == "").all()


def test_classes_are_chosen_in_the_order_of_the_catalog(tmp_path):
    table = clips(make(tmp_path, ["split1_ir0_ov2_31"]), classes=("knock", "speech"))
    assert table["label"].tolist() == ["speech", "", "knock", ""]
    assert table["reason"].tolist() == ["", "other_class", "overlapping", "other_class"]
    with pytest.raises(CatalogError, match="no clip is of the class `doorslam`"):
        clips(tmp_path, classes=("doorslam",))


@pytest.mark.parametrize(("row", "message"), [
    ("speach,0,1,0,0,1", "unknown class 'speach'; did you mean `speech`"),
    ("speech,zero,1,0,0,1", "start_time = 'zero' is not a number of seconds"),
    ("speech,0,nan,0,0,1", "end_time = 'nan' is not a number of seconds"),
    ("speech,2,1,0,0,1", "an event from 2 s to 1 s; expected 0 <= start_time <= end_time"),
    ("speech,-1,1,0,0,1", "an event from -1 s to 1 s"),
    ("speech,0,1,0,400,1", "azimuth 400 is outside -180 to 360 degrees"),
    ("speech,0,1,0,,1", "azimuth '' is not a number of degrees"),
    ("speech,0,1,0", "expected 6 fields, found 4"),
])
def test_a_wrong_row_is_named_by_file_and_line(tmp_path, row, message):
    path = annotate(make(tmp_path, ["split1_ir0_ov1_1"]), "split1_ir0_ov1_2", EVENTS[0], row)
    with pytest.raises(MetadataError, match=message) as caught:
        clips(tmp_path)
    assert str(caught.value).startswith(f"{path}: line 3: ") and "\n" not in str(caught.value)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sound_event_recording,start_time,end_time,ele,dist\nspeech,0,1,0,1\n")
    with pytest.raises(MetadataError, match="no column `azi`; columns: sound_event_recording, start_time"):
        read_annotation(path)


def test_events_without_length_are_left_out_and_overlap_nothing(tmp_path):
    table = clips(make(tmp_path, ["split1_ir0_ov1_1"], ("speech,0,1,0,0,1", "cough,0.5,0.5,0,0,1", "knock,1,1,0,0,1")))
    assert table["reason"].tolist() == ["", "empty_event", "empty_event"]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=12))
def test_what_overlaps_is_what_shares_time_with_another(events):
    start = np.array([first for first, _ in events], dtype=float)
    end = start + [length for _, length in events]
    ticks = [set(range(int(first), int(last))) for first, last in zip(start, end, strict=True)]
    expected = [any(mine & other for at, other in enumerate(ticks) if at != me) for me, mine in enumerate(ticks)]
    assert overlapping(start, end).tolist() == expected


# recordings and folds


def test_the_published_folds_are_free_of_leakage(tmp_path):
    stems = [f"split{split}_ir{ir}_ov1_{number}" for split in (1, 2, 3, 4) for ir in (0, 4) for number in (1, 2)]
    table = clips(make(tmp_path, stems, ALONE))
    table["split"] = assign_splits(table, scheme="published", published={"train": [3, 4], "val": [2], "test": [1]})
    check_leakage(table)
    assert table.groupby("split")["published"].unique().map(sorted).to_dict() == {"test": ["1"], "train": ["3", "4"], "val": ["2"]}
    table["split"] = assign_splits(table, scheme="stratified")
    check_leakage(table)


@pytest.mark.parametrize("stem", ["split0_7", "split0_ir1_ov2_7"])
def test_both_names_of_evaluation_recordings(tmp_path, stem):
    make(tmp_path, ["split2_ir0_ov1_1"], ALONE)
    make(tmp_path, [stem], part="eval")
    table = clips(tmp_path, parts=["dev", "eval"])
    assert table["published"].tolist() == ["2", "2", "0", "0", "0", "0"]
    assert table["path"].tolist()[-1] == f"mic_eval/{stem}.wav"
    assert table["reason"].tolist()[2:] == ["", "", "overlapping", "overlapping"]


def test_only_recordings_without_overlap(tmp_path):
    make(tmp_path, ["split1_ir0_ov1_1"], ALONE)
    make(tmp_path, ["split1_ir0_ov2_2"], ALONE)
    assert set(clips(tmp_path, only_ov1=True)["recording_id"]) == {"mic_dev/split1_ir0_ov1_1"}
    make(tmp_path, ["split0_1"], ALONE, part="eval")
    make(tmp_path, ["split0_2"], EVENTS, part="eval")
    assert set(clips(tmp_path, only_ov1=True, parts=["eval"])["recording_id"]) == {"mic_eval/split0_1"}


def test_ambisonics_lie_elsewhere_and_have_the_same_annotations(tmp_path):
    make(tmp_path, ["split1_ir0_ov1_1"], ALONE, form="foa")
    assert clips(tmp_path, format="foa")["path"][0] == "foa_dev/split1_ir0_ov1_1.wav"


def test_a_folder_below_the_root(tmp_path):
    (tmp_path / "tau").mkdir()
    make(tmp_path / "tau", ["split1_ir0_ov1_1"], ALONE)
    table = clips(tmp_path, path="tau/")
    assert (table["path"][0], table["clip_id"][0]) == ("tau/mic_dev/split1_ir0_ov1_1.wav", "tau/mic_dev/split1_ir0_ov1_1/000")


def test_recordings_without_annotation_are_remarked(tmp_path, caplog):
    make(tmp_path, ["split1_ir0_ov1_1"], ALONE)
    (tmp_path / "mic_dev" / "split1_ir0_ov1_9.wav").touch()
    with caplog.at_level(logging.WARNING):
        clips(tmp_path)
    assert "1 recordings have no annotation and are not used, e.g. split1_ir0_ov1_9" in caplog.text


@pytest.mark.parametrize(("keys", "message"), [
    ({"format": "binaural"}, "format"),
    ({"parts": []}, '"dev", "eval" or both'),
    ({"parts": ["dev", "dev"]}, "once each"),
    ({"parts": ["test"]}, "parts"),
    ({"path": "/data"}, "below the data root"),
])
def test_wrong_settings_are_one_line(tmp_path, keys, message):
    with pytest.raises(CatalogError, match=message) as caught:
        clips(tmp_path, **keys)
    assert "\n" not in str(caught.value)


# archives


def zipped(root, *folders):
    for folder in folders:
        with zipfile.ZipFile(root / f"{folder}.zip", "w") as archive:
            for path in (root / folder).iterdir():
                archive.write(path, f"somewhere/{folder}/{path.name}")
                path.unlink()
        (root / folder).rmdir()


def test_archives_are_unpacked_where_folders_are_missing(tmp_path):
    make(tmp_path, ["split1_ir0_ov1_1"], ALONE)
    write(tmp_path / "mic_dev" / "split1_ir0_ov1_1.wav")
    zipped(tmp_path, "mic_dev", "metadata_dev")
    with pytest.raises(MetadataError, match=r"metadata_dev: no such folder"):
        clips(tmp_path, unpack=False)
    assert len(clips(tmp_path)) == 2
    assert (tmp_path / "mic_dev" / "split1_ir0_ov1_1.wav").is_file()


@pytest.mark.parametrize(("present", "missing", "address"), [
    ([], "metadata_dev", "2599196"), (["metadata_dev"], "mic_dev", "2599196"), (["metadata_dev", "mic_dev"], "metadata_eval", "3377088"),
])
def test_what_is_missing_is_said_with_its_address(tmp_path, present, missing, address):
    make(tmp_path, ["split1_ir0_ov1_1"], ALONE)
    for folder in {"metadata_dev", "mic_dev"} - set(present):
        (tmp_path / folder).rename(tmp_path / f"not_{folder}")
    with pytest.raises(MetadataError, match=rf"{missing}: no such folder, nor {missing}.zip .*records/{address}") as caught:
        clips(tmp_path, parts=["dev", "eval"])
    assert "\n" not in str(caught.value)


def test_a_folder_without_annotations_is_one_line(tmp_path):
    make(tmp_path, [])
    (tmp_path / "metadata_dev").mkdir()
    (tmp_path / "metadata_dev" / "readme.csv").touch()
    with pytest.raises(MetadataError, match=r"no annotation such as split1_ir0_ov1_1\.csv in it"):
        clips(tmp_path)


def test_recordings_without_events_are_one_line_if_all_are(tmp_path):
    make(tmp_path, ["split1_ir0_ov1_1"], ())
    with pytest.raises(MetadataError, match="no annotation of a recording in it has an event"):
        clips(tmp_path)
    make(tmp_path, ["split1_ir0_ov1_2"], ALONE)
    assert len(clips(tmp_path)) == 2


# builds


def test_a_build_cuts_the_events_out_and_the_ledger_has_the_rest(tmp_path):
    events = (*EVENTS, "laughter,1.9,2.05,0,90,1", "phone,2.05,2.6,0,90,1", "cough,3,3.5,0,90,1", "speech,3.6,3.6,0,90,1")
    make(tmp_path, ["split1_ir0_ov2_31", "split1_ir0_ov2_32"], events)
    waveform = write(tmp_path / "mic_dev" / "split1_ir0_ov2_31.wav", 4, seed=1, samples=2 * RATE)  # 2 s rather than a minute
    cache = built(tmp_path, {"name": "dcase2019_part"}, segment={"length_s": 0.5, "short": "repeat"})
    fate = {row.clip_id[-6:]: (row.status, row.reason) for row in cache.ledger.itertuples()}
    assert fate == {
        "31/000": ("ok", ""), "31/001": ("ok", ""),
        "31/002": ("not_selected", "overlapping"), "31/003": ("not_selected", "overlapping"),
        "31/004": ("ok", ""),  # ends 0.05 s after the file, less than duration_tolerance_s
        "31/005": ("failed", "past_end"), "31/006": ("failed", "past_end"), "31/007": ("not_selected", "empty_event"),
        **{f"32/{number:03d}": ("failed", "missing_file") for number in (0, 1, 4, 5, 6)},
        "32/002": ("not_selected", "overlapping"), "32/003": ("not_selected", "overlapping"), "32/007": ("not_selected", "empty_event"),
    }
    read = cache.read("mic_dev/split1_ir0_ov2_31/001#0")
    expected = extract(np.ascontiguousarray(waveform[RATE // 2 : RATE].T), RATE, {"log_mel": LogMelConfig(**MEL)})["log_mel"]
    assert np.array_equal(read["log_mel"], expected)
    assert read["azimuth_deg"] == 170.0


def test_an_event_that_ends_well_after_its_file_is_too_short(tmp_path):
    make(tmp_path, ["split1_ir0_ov1_1"], (*ALONE, "cough,1.5,2.5,0,90,1"))
    write(tmp_path / "mic_dev" / "split1_ir0_ov1_1.wav", 4, seed=1, samples=2 * RATE)
    row = built(tmp_path, {"name": "dcase2019_part"}).ledger.set_index("clip_id").loc["mic_dev/split1_ir0_ov1_1/002"]
    assert (row.status, row.reason) == ("rejected", "too_short")
    assert "0.500 s is under the expected 1.000 s" in row.detail


def test_the_classes_are_those_of_the_task():
    assert len(CLASSES) == len(set(CLASSES)) == 11
