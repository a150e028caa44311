"""WSJ0-2mix, LibriMix and MiniLibriMix as they are published, read back."""

import math
import shutil
from collections import Counter

import numpy as np
import pytest
from made_speech import LIBRI, WSJ0, write_librimix, write_sexes, write_wsj0, write_wsj0_lists

from audiodata.datasets import read_clips
from audiodata.errors import AudioDataError, MetadataError
from audiodata.planning import clip_spans
from audiodata.sources import inspect
from audiodata.splits import assign_splits, check_leakage


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("trees")
    write_wsj0(made)
    write_wsj0_lists(made)
    write_librimix(made, mixtures=("mix_clean", "mix_both", "mix_single"))
    write_librimix(made, mini=True)
    (made / "speakers.csv").write_text("speaker_id,sex\n" + "\n".join(["011,F", "012,M", "013,M", "2412,F", "777,M"]))
    return made


def loaded(table, root):
    """Every clip's samples, by id."""
    made = {}
    for clip in clip_spans(table):
        found, samples = inspect("audio", root, clip)
        assert not found.reason, found
        made[clip.clip_id] = samples[0]
    return made


def copy(root, tmp_path, folder):
    shutil.copytree(root / folder, tmp_path / folder)
    return tmp_path / folder


def test_wsj0_2mix(root):
    table = read_clips({"name": "wsj0_2mix"}, root)
    assert table["published"].value_counts().to_dict() == {"train": 3, "val": 2, "test": 2}
    row = table.set_index("clip_id").loc["tr/011a0101_1.4493_012c0203_-1.4493"]
    assert row["path"] == f"2speakers/wav8k/min/tr/mix/{WSJ0['tr'][0]}"
    assert row["more_paths"].split("|") == [f"2speakers/wav8k/min/tr/{kind}/{WSJ0['tr'][0]}" for kind in ("s1", "s2")]
    assert row["labels"] == "011;012"
    for waveform in loaded(table, root).values():
        assert waveform.shape == (3, 8000)
        np.testing.assert_allclose(waveform[0], waveform[1] + waveform[2], atol=1.5 * 2**-15)


def test_the_closed_condition_of_wsj0_2mix_passes_as_published(root):
    table = read_clips({"name": "wsj0_2mix"}, root)
    shared = set(table.loc[table["published"] == "val", "labels"].str.split(";").sum()) & set(
        table.loc[table["published"] == "train", "labels"].str.split(";").sum())
    assert shared == {"011", "012", "013", "014"}
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)
    groups = table.groupby("published")["group_id"].agg(set).to_dict()
    assert groups == {"train": {"with tr: 011", "with tr: 014"}, "val": {"with cv: 011", "with cv: 012"}, "test": {"with tt: 420"}}


def test_wsj0_lists_choose_and_tell_lengths(root, tmp_path):
    folder = copy(root, tmp_path, "2speakers")
    write_wsj0_lists(tmp_path, samples=12000)
    table = read_clips({"name": "wsj0_2mix", "lists": "lists"}, tmp_path)
    assert set(table["duration_s"]) == {1.5} and len(table) == 7
    assert sorted(table["path"]) == sorted(read_clips({"name": "wsj0_2mix"}, root)["path"])
    (folder / "wav8k" / "min" / "tt" / "s2" / WSJ0["tt"][0]).unlink()
    reasons = Counter(inspect("audio", tmp_path, clip)[0].reason for clip in clip_spans(table))
    assert reasons == {"": 6, "missing_file": 1}


def test_sexes_label_what_is_known(root):
    table = read_clips({"name": "wsj0_2mix", "speaker_table": "speakers.csv"}, root)
    assert table["label"].value_counts().to_dict() == {"": 4, "different sex": 2, "same sex": 1}
    assert (table["reason"] == "").all()


def test_three_speakers(tmp_path):
    base = tmp_path / "3speakers" / "wav16k" / "max" / "tt"
    for kind in ("mix", "s1", "s2", "s3"):
        (base / kind).mkdir(parents=True)
        (base / kind / "423a010a_1_424b0102_-1_425c0103_0.wav").touch()
    table = read_clips({"name": "wsj0_2mix", "speakers": 3, "rate": "wav16k", "mode": "max"}, tmp_path)
    assert table["labels"].tolist() == ["423;424;425"] and table["more_paths"][0].count("|") == 2


@pytest.mark.parametrize("tables", [True, False])
def test_libri2mix_with_and_without_its_tables(tmp_path, tables):
    write_librimix(tmp_path, tables=tables)
    table = read_clips({"name": "librimix"}, tmp_path)
    assert table["published"].value_counts().to_dict() == {"train": 3, "dev": 2, "test": 1}
    assert set(table["duration_s"]) == {1.0} if tables else table["duration_s"].isna().all()
    assert table.loc[table["published"] == "dev", "labels"].tolist() == ["2412;777", "3536;1673"]
    for waveform in loaded(table, tmp_path).values():
        np.testing.assert_allclose(waveform[0], waveform[1] + waveform[2], atol=1.5 * 2**-15)
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)
    train = table[table["published"] == "train"]
    assert train["group_id"].tolist() == ["with 103", "with 103", "with 19"]  # the first two share a speaker


def test_mixtures_in_noise_have_the_speakers_as_sources(root):
    clean = loaded(read_clips({"name": "librimix"}, root), root)
    noisy = loaded(read_clips({"name": "librimix", "mixture": "mix_both"}, root), root)
    single = loaded(read_clips({"name": "librimix", "mixture": "mix_single"}, root), root)
    for clip_id, waveform in clean.items():
        assert np.array_equal(noisy[clip_id][1:], waveform[1:]) and not np.array_equal(noisy[clip_id][0], waveform[0])
        assert single[clip_id].shape[0] == 2
    table = read_clips({"name": "librimix", "mixture": "mix_single"}, root)
    assert table["labels"].tolist()[0] == "103" and table["group_id"].nunique() == 6


def test_mini_librimix(root):
    table = read_clips({"name": "librimix", "tree": "minilibrimix"}, root)
    assert table["published"].value_counts().to_dict() == {"train": 3, "val": 2}
    assert table["path"][0] == f"MiniLibriMix/train/mix_clean/{LIBRI['train-100'][0]}.wav"
    assert len(loaded(table, root)) == 5


def test_some_subsets(root):
    table = read_clips({"name": "librimix", "subsets": ["test"]}, root)
    assert table["published"].tolist() == ["test"]


def break_names(base):
    (base / "tr" / "mix" / "mixture1.wav").touch()


def break_sources(base):
    shutil.rmtree(base / "cv" / "s2")


def break_mixtures(base):
    for path in (base / "tt" / "mix").iterdir():
        path.unlink()


@pytest.mark.parametrize(("harm", "message"), [
    (break_names, "mixture1.wav: tells no utterances; expected <utterance>_<dB>_<utterance>_<dB>.wav"),
    (break_sources, "cv: has no folder s2; expected mix, s1, s2 side by side"),
    (break_mixtures, "tt/mix: no sound files in it"),
    (shutil.rmtree, "has none of the folders tr, cv, tt"),
])
def test_a_bad_wsj0_tree_is_one_line(root, tmp_path, harm, message):
    harm(copy(root, tmp_path, "2speakers") / "wav8k" / "min")
    with pytest.raises(MetadataError, match=message) as caught:
        read_clips({"name": "wsj0_2mix"}, tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("kind", "text", "message"), [
    ("mix", "[[1, 2, 3]]", r"mix.json: expected a list of \[path, samples\]"),
    ("mix", "no json", r"mix.json: expected a list of \[path, samples\]"),
    ("s2", "[]", "s2.json: lists other files than mix.json"),
    ("mix", None, "mix.json: can't be read"),
])
def test_bad_lists_are_one_line(root, tmp_path, kind, text, message):
    copy(root, tmp_path, "2speakers")
    write_wsj0_lists(tmp_path)
    path = tmp_path / "lists" / "tr" / f"{kind}.json"
    path.write_text(text) if text else path.unlink()
    with pytest.raises(MetadataError, match=message):
        read_clips({"name": "wsj0_2mix", "lists": "lists"}, tmp_path)


@pytest.mark.parametrize(("keys", "change", "message"), [
    ({}, ("train-100/s1", "train-100/s3"), r"line 2: '/export.*expected a path that ends in train-100/s1/<file>"),
    ({}, (",8000", ",long"), "line 2: expected a number of samples"),
    ({}, ("103-1240-0003_1235", "103-1240_1235"), "line 2: .*tells no utterances"),
    ({}, ("source_2_path", "second"), "no column `source_2_path`"),
    ({"subsets": ["train-360"]}, ("", ""), "has no folder train-360"),
    ({"subsets": ["val"]}, ("", ""), "librimix has no 'val'; known: train-100"),
    ({"mode": "max"}, ("", ""), "max: has none of the folders train-100"),
    ({"tree": "minilibrimix", "rate": "wav16k"}, ("", ""), "leave `speakers`, `rate` and `mode` out"),
    ({"mixture": "mix_both"}, ("", ""), "has no folder mix_both; expected mix_both, s1, s2"),
])
def test_a_bad_librimix_tree_is_one_line(tmp_path, keys, change, message):
    table = write_librimix(tmp_path) / "metadata" / "mixture_train-100_mix_clean.csv"
    table.write_text(table.read_text().replace(*change) if change[0] else table.read_text())
    with pytest.raises(AudioDataError, match=message) as caught:
        read_clips({"name": "librimix"} | keys, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_length_is_named(root, tmp_path):
    base = copy(root, tmp_path, "2speakers") / "wav8k" / "min" / "tr"
    shutil.copy(base / "s1" / WSJ0["tr"][0], base / "long.wav")
    (base / "s2" / WSJ0["tr"][0]).write_bytes((base / "s1" / WSJ0["tr"][0]).read_bytes()[:44 + 8000])
    found = [inspect("audio", tmp_path, clip)[0] for clip in clip_spans(read_clips({"name": "wsj0_2mix"}, tmp_path))]
    assert [one.reason for one in found if one.reason] == ["truncated"]


def test_no_duration_is_made_up(root):
    assert all(math.isnan(duration) for duration in read_clips({"name": "wsj0_2mix"}, root)["duration_s"])


def test_a_table_of_sexes_of_all_speakers(root, tmp_path):
    write_sexes(tmp_path / "speakers.csv", ())
    copy(root, tmp_path, "2speakers")
    assert set(read_clips({"name": "wsj0_2mix", "speaker_table": "speakers.csv"}, tmp_path)["label"]) == {""}
