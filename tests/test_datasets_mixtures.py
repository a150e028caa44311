"""Mixtures drawn from utterances, or made after recipes: different speakers, none in two splits, the same ones every time."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_speech import SEXES, write_sexes, write_speakers

from audiodata.datasets import read_clips
from audiodata.datasets.mixture_draw import available_mixtures, draw_levels_db, draw_mixtures
from audiodata.errors import AudioDataError, CatalogError, LeakageError, MetadataError
from audiodata.splits import assign_splits, check_leakage

THIRDS = {"scheme": "stratified", "fractions": {"train": 0.34, "val": 0.33, "test": 0.33}}
UTTERANCES = {"name": "folder", "split": THIRDS}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_speakers(tmp_path_factory.mktemp("speakers"))


def read(root, **keys):
    return read_clips({"name": "mixtures", "utterances": UTTERANCES} | keys, Path(root))


def files_of(table):
    return [[path, *more.split("|")] for path, more in zip(table["path"], table["more_paths"], strict=True)]


def snr_db(table):
    levels = [json.loads(reader)["levels_db"] for reader in table["reader"]]
    return [first - second for first, second, *_ in levels]


def test_no_speaker_is_in_two_splits_or_twice_in_a_mixture(root):
    table = read(root)
    heard = {split: set() for split in ("train", "val", "test")}
    for files, labels, split in zip(files_of(table), table["labels"], table["published"], strict=True):
        assert [file.split("/")[0] for file in files] == labels.split(";")
        assert len(set(labels.split(";"))) == 2
        heard[split].update(labels.split(";"))
    assert [len(names) for names in heard.values()] == [2, 2, 2]
    assert len(set.union(*heard.values())) == 6


def test_the_published_split_passes_the_check_of_leakage_and_its_groups_are_of_one_split(root):
    table = read(root)
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)
    assert table.groupby("group_id")["published"].nunique().eq(1).all()


def test_each_utterance_is_first_as_often_as_asked_for_and_no_mixture_is_made_twice(root):
    table = read(root, per_utterance=2)
    assert set(Counter(table["path"]).values()) == {2} and len(table) == 36
    assert table["clip_id"].is_unique


def test_a_split_may_have_its_own_number(root):
    assert read(root, per_split={"train": 5, "test": 0})["published"].value_counts().to_dict() == {"val": 6, "train": 5}


def test_ratios_fill_the_range_and_depend_on_seed_and_id_alone(root):
    table = read(root, per_utterance=3, snr_low_db=-1.0, snr_high_db=3.0)
    drawn = snr_db(table)
    assert -1 <= min(drawn) < -0.5 and 2.5 < max(drawn) <= 3
    again = dict(zip(table["clip_id"], drawn, strict=True))
    few = read(root, per_utterance=1, snr_low_db=-1.0, snr_high_db=3.0)
    assert len(few) == 18 and all(again[clip_id] == ratio for clip_id, ratio in zip(few["clip_id"], snr_db(few), strict=True))
    assert draw_levels_db(0, "a", 0, 5, 2) != draw_levels_db(1, "a", 0, 5, 2)
    high, low, third = draw_levels_db(0, "a", 0, 5, 3)
    assert high == -low >= third == 0.0


def test_another_seed_makes_other_mixtures_of_the_same_split_of_speakers(root):
    one, other = read(root), read(root, seed=1)
    assert set(one["clip_id"]) != set(other["clip_id"])
    speakers = [{split: set(rows["path"].str.split("/").str[0]) for split, rows in table.groupby("published")} for table in (one, other)]
    assert speakers[0] == speakers[1]


def test_labels_say_whether_the_sexes_differ_where_they_are_known(root):
    table = read(root, speaker_table="speakers.csv")
    for label, names in zip(table["label"], table["labels"].str.split(";"), strict=True):
        assert label == ("same sex" if len({SEXES[name] for name in names}) == 1 else "different sex")
    assert set(read(root)["label"]) == {""}
    chosen = read_clips({"name": "mixtures", "utterances": UTTERANCES, "speaker_table": "speakers.csv"}, root, classes=("different sex",))
    assert set(chosen["reason"]) == {"", "other_class"} or set(table["label"]) == {"different sex"}


def test_speakers_are_divided_by_sex_where_it_is_known(tmp_path):
    root = write_speakers(tmp_path, ("anna", "bert", "carl", "dora", "emil", "fay"), count=1)
    table = read(root, speaker_table="speakers.csv")
    assert set(table["label"]) == {"different sex"}  # one of each in every split


def test_libri_speech_s_own_table_of_speakers(root):
    text = ";explanation\n;ID  |SEX| SUBSET           |MINUTES| NAME\nanna  | F | dev-clean | 8.01 | A | B\nbert | M | dev-clean | 8.01 | C\n"
    (root / "SPEAKERS.TXT").write_text(text)
    table = read(root, speaker_table="SPEAKERS.TXT")
    known = {label for label, names in zip(table["label"], table["labels"], strict=True) if set(names.split(";")) == {"anna", "bert"}}
    assert known <= {"different sex"} and set(table["label"]) <= {"", "different sex"}


def test_three_at_once(tmp_path):
    root = write_speakers(tmp_path, ("anna", "bert", "carl", "dora"), count=2)
    table = read(root, speakers=3, utterances={"name": "folder", "split": {"fractions": {"train": 1.0, "val": 0, "test": 0}}})
    assert all(len(set(names.split(";"))) == 3 for names in table["labels"])
    assert table["group_id"].nunique() == 1


def test_the_group_may_be_the_speaker_and_spans_are_kept(tmp_path):
    write_speakers(tmp_path, ("anna", "bert"), count=1)
    rows = ["file,class,speaker,from,to", "anna/0.wav,x,anna,0.1,0.4", "anna/0.wav,x,anna,0.4,0.6", "bert/0.wav,y,bert,0,0.5"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    utterances = {"name": "folder", "csv": "clips.csv", "start_column": "from", "end_column": "to", "split": {"fractions": {"train": 1}}}
    table = read(tmp_path, speaker="group", utterances=utterances)
    assert set(table["labels"]) <= {"anna;bert", "bert;anna"} and table["group_id"].nunique() == 1
    spans = {tuple(span) for reader in table["reader"] for span in json.loads(reader)["spans"]}
    assert spans == {(0.1, 0.3), (0.4, 0.2), (0.0, 0.5)}


def test_what_the_utterances_leave_out_stays_in_the_table(root):
    pattern = "(?P<class>(?!fay)[a-z]+)/.*"
    table = read(root, utterances={"name": "folder", "pattern": pattern, "split": {"fractions": {"train": 1}}})
    assert (table["reason"] == "other_class").sum() == 3
    assert not table.loc[table["reason"] == "", "labels"].str.contains("fay").any()


speaker_sets = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 4), min_size=3, max_size=6)


@given(speaker_sets, st.sampled_from([2, 3]), st.integers(0, 30), st.integers(0, 5))
def test_whoever_speaks_mixtures_are_of_different_speakers_and_evenly_drawn(sizes, voices, count, seed):
    ids = [f"{name}/{take}" for name, size in sizes.items() for take in range(size)]
    speakers = [name for name, size in sizes.items() for _ in range(size)]
    there_are = available_mixtures(speakers, voices, 10**6)
    assert there_are == sum(len(set(names)) == voices for names in itertools.permutations(speakers, voices))
    if count > there_are:
        with pytest.raises(CatalogError, match=f"{count} mixtures were asked for, {len(ids)} utterances make {there_are}"):
            draw_mixtures(ids, speakers, count, voices, seed)
        return
    drawn = draw_mixtures(ids, speakers, count, voices, seed)
    assert len(drawn) == len(set(drawn)) == count
    assert all(len({speakers[one] for one in members}) == voices for members in drawn)
    back = draw_mixtures(ids[::-1], speakers[::-1], count, voices, seed)
    assert [[ids[one] for one in members] for members in drawn] == [[ids[::-1][one] for one in members] for members in back]


def test_companions_are_drawn_evenly_from_all_that_may_be():
    ids = [f"{name}{take}" for name in "abc" for take in range(10)]
    drawn = draw_mixtures(ids, [name[0] for name in ids], 600, 2, 0)  # all that there are
    assert len(set(drawn)) == 600
    few = Counter(ids[second][0] for _, second in draw_mixtures(ids, [name[0] for name in ids], 300, 2, 0))
    assert all(80 <= few[name] <= 120 for name in "abc")


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"utterances": {"name": "folder", "split": {"scheme": "held_out", "held_out": {"test": ["fay"]}}}}, CatalogError,
         r"test has too few speakers \(fay\), a mixture has 2 different ones"),
        ({"per_split": {"train": 1000}}, CatalogError, "1000 mixtures were asked for, 6 utterances make 18"),
        ({"utterances": {"name": "folder", "split": {"fractions": {"train": 1}}}, "per_split": {"val": 3}}, CatalogError, "val has no speaker"),
        ({"utterances": {"name": "nmnist"}}, CatalogError, "`nmnist` holds no single utterances"),
        ({"utterances": {"name": "mixtures"}}, CatalogError, "`mixtures` holds no single utterances"),
        ({"utterances": {"name": "folder", "patern": "x"}}, CatalogError, "unknown key `patern`; did you mean `pattern`"),
        ({"snr_low_db": 6.0}, CatalogError, "snr_low_db = 6 is over snr_high_db = 5"),
        ({"recipes": {"train": "a.csv"}}, CatalogError, "`utterances` says nothing beside `recipes`"),
        ({"speakers": 4}, CatalogError, "`speakers` = 4"),
        ({"per_utterance": 0}, MetadataError, "no mixture was asked for"),
        ({"speaker_table": "none.csv"}, MetadataError, "none.csv: can't be read"),
        ({"speaker_table": "../x.csv"}, CatalogError, "must lie below the data root"),
    ],
)
def test_bad_settings_are_one_line(root, keys, error, message):
    with pytest.raises(error, match=message) as caught:
        read(root, **keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ("name,sex\nanna,F\n", "no column has one of the usual names"),
    ("speaker_id,sex\nanna,W\n", "line 2: sex 'W' of speaker 'anna'"),
    (";ID |SEX| NAME\nanna | F\n", "line 2: expected 3 fields"),
])
def test_a_bad_table_of_speakers_is_one_line(tmp_path, text, message):
    write_speakers(tmp_path, count=1)
    (tmp_path / "sexes.txt").write_text(text)
    with pytest.raises(MetadataError, match=message):
        read(tmp_path, speaker_table="sexes.txt")


# Recipes

HEADER = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain\n"
ROW = "1-2-3_4-5-6,dev-clean/1/2/1-2-3.flac,0.5,dev-clean/4/5/4-5-6.flac,2,cv/n.wav,1\n"


def recipes(root, text, split="train", **keys):
    (root / f"{split}.csv").write_text(text)
    return read_clips({"name": "mixtures", "recipes": {split: f"{split}.csv"}} | keys, root)


def test_a_recipe_gives_files_gains_and_speakers(tmp_path):
    table = recipes(tmp_path, HEADER + ROW, path="LibriSpeech")
    assert files_of(table) == [["LibriSpeech/dev-clean/1/2/1-2-3.flac", "LibriSpeech/dev-clean/4/5/4-5-6.flac"]]
    assert json.loads(table["reader"][0])["gains"] == [0.5, 2.0]
    assert table[["clip_id", "labels", "published"]].values.tolist() == [["1-2-3_4-5-6", "1;4", "train"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + ROW.replace("0.5", "-1"), "line 2: source_1_gain = '-1': expected a factor over 0"),
        (HEADER + ROW.replace("0.5", "loud"), "line 2: source_1_gain = 'loud'"),
        (HEADER + ROW.replace("4-5-6.flac", "1-5-6.flac"), "line 2: mixture '1-2-3_4-5-6': speaker 1 twice"),
        (HEADER + ROW.replace("1-2-3.flac", "a.flac"), "line 2: source_1_path = .*<speaker>-<chapter>-<utterance>"),
        (HEADER + ROW.replace("dev-clean/4", "../4"), "lead nowhere but down"),
        (HEADER.replace("source_2_gain", "gain") + ROW, "no column `source_2_gain`"),
        (HEADER.replace("noise_path", "source_3_path") + ROW, "more than 2 speakers; set `speakers`"),
        (HEADER, "no mixture was asked for"),
    ],
)
def test_a_bad_recipe_is_one_line(tmp_path, text, message):
    with pytest.raises(AudioDataError, match=message) as caught:
        recipes(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_recipes_that_share_a_speaker_over_splits_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + ROW)
    (tmp_path / "b.csv").write_text(HEADER + ROW.replace("1-2-3_4", "7-8-9_4").replace("1-2-3.flac", "7-8-9.flac"))
    table = read_clips({"name": "mixtures", "recipes": {"train": "a.csv", "test": "b.csv"}}, tmp_path)
    table["split"] = assign_splits(table, scheme="published")
    with pytest.raises(LeakageError, match="with 1"):
        check_leakage(table)


def test_the_published_recipes(shared_data, tmp_path):
    shutil.copytree(shared_data / "speech" / "librimix_metadata", tmp_path / "metadata")
    table = read_clips({"name": "mixtures", "recipes": {"val": "metadata/libri2mix_dev-clean.csv"}, "path": "LibriSpeech"}, tmp_path)
    assert len(table) == 3000 and table["group_id"].nunique() == 1
    info = (tmp_path / "metadata" / "libri2mix_dev-clean_info.csv").read_text().splitlines()[1:]
    expected = {line.split(",")[0]: ";".join(str(int(float(line.split(",")[at]))) for at in (1, 3)) for line in info}
    assert dict(zip(table["clip_id"], table["labels"], strict=True)) == expected


def test_tables_of_sexes_may_leave_some_open(tmp_path):
    write_speakers(tmp_path, count=1)
    write_sexes(tmp_path / "speakers.csv", ("anna", "bert"))
    assert set(read(tmp_path, speaker_table="speakers.csv")["label"]) <= {"", "different sex"}
