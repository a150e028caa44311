"""AudioSet to clips: one class each or a reason, by two routes; files and links named safely."""

import csv
import json
from collections import Counter

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_audioset import CLASSES, ROWS, STRONG_HEADER, published, resaved, write_lists

from audiodata.clips import sample_per_class
from audiodata.datasets import read_clips
from audiodata.datasets.audioset import choose, published_split, write_class_lists
from audiodata.datasets.ontology import Node, Ontology
from audiodata.errors import CatalogError, MetadataError
from audiodata.splits import assign_splits, check_leakage

SHARED_STRONG = [
    f"strong_subset/{kind}_{overlap}_audioset_{part}_strong.tsv"
    for kind in ("baby_cry", "gun")
    for overlap in ("nov", "ov")
    for part in ("train", "eval")
]


@pytest.fixture
def root(tmp_path):
    return write_lists(tmp_path)


def weak(root, classes=CLASSES, **keys):
    select = {name: keys.pop(name) for name in ("quality", "per_class", "seed") if name in keys}
    segments = keys.pop("segments", ["balanced_train_segments.csv"])
    return read_clips({"name": "audioset", "segments": segments} | keys, root, classes=classes, **select)


def strong(root, text, classes=CLASSES, **keys):
    (root / "train_strong.tsv").write_text(STRONG_HEADER + text)
    return read_clips({"name": "audioset", "strong": ["train_strong.tsv"]} | keys, root, classes=classes)


def test_each_clip_has_a_class_or_a_reason(root):
    table = weak(root).set_index("recording_id")
    assert table["label"].to_dict() == {
        "-abcdefghij": "Music",
        "a_cd_fgh_jk": "Animal",
        "bbbbbbbbbbb": "",
        "ccccccccccc": "",
        "ddddddddddd": "Sounds of things",
    }
    assert table["reason"].tolist() == ["", "", "several_classes", "other_class", ""]


def test_labels_outside_of_the_classes_are_tolerated_and_recorded(root):
    assert weak(root)["labels"].tolist()[0] == "Flute;Speech"


def test_times_ids_and_paths_are_those_of_the_list(root):
    table = weak(root)
    row = table.iloc[2]
    assert (row["clip_id"], row["start_s"], row["duration_s"]) == ("bbbbbbbbbbb_7500", 7.5, 5.75)
    # 2 hex digits of: printf bbbbbbbbbbb | sha256sum
    assert row["path"] == "clips/53/Ybbbbbbbbbbb_7500.flac"
    assert row["group_id"] == row["recording_id"] == "bbbbbbbbbbb"
    assert (table["file_start_s"] == 0).all()
    assert (table["published"] == "train").all()


def test_re_saved_lists_give_the_same_table(root):
    (root / "other.csv").write_text(resaved())
    again = weak(root, segments=["other.csv"])
    pd.testing.assert_frame_equal(weak(root).drop(columns="published"), again.drop(columns="published"))
    assert (again["published"] == "").all()


def test_a_clip_in_several_lists_appears_once_with_all_its_labels(root):
    rows = [(*ROWS[1][:3], ["/m/speech"]), ("eeeeeeeeeee", 0.0, 10.0, ["/m/dog"])]
    (root / "eval_segments.csv").write_text(published(rows))
    table = weak(root, segments=["balanced_train_segments.csv", "eval_segments.csv"])
    assert table["clip_id"].tolist().count("a_cd_fgh_jk_0") == 1
    assert len(table) == 6
    row = table.set_index("clip_id").loc["a_cd_fgh_jk_0"]
    assert (row["labels"], row["published"]) == ("Dog;Speech", "train")
    assert table["published"].tolist()[-1] == "eval"


def test_two_clips_of_one_video_are_one_group(root):
    rows = [("aaaaaaaaaaa", 0.0, 10.0, ["/m/dog"]), ("aaaaaaaaaaa", 50.0, 60.0, ["/m/dog"])]
    (root / "l.csv").write_text(published(rows))
    table = weak(root, segments=["l.csv"])
    assert table["clip_id"].tolist() == ["aaaaaaaaaaa_0", "aaaaaaaaaaa_50000"]
    assert table["group_id"].tolist() == ["aaaaaaaaaaa", "aaaaaaaaaaa"]
    assert table["path"].is_unique


@pytest.mark.parametrize(("classes", "labels"), [(("dog",), ["dog"]), (("/m/dog", "Flute"), ["Flute", "/m/dog"])])
def test_a_class_bears_the_name_that_the_catalog_gives_it(root, classes, labels):
    table = weak(root, classes)
    assert [label for label in table["label"] if label] == labels


def test_abstract_and_blacklisted_classes_may_be_chosen(root):
    table = weak(root, ("Livestock, farm animals", "Sounds of things"))
    assert table["reason"].tolist() == ["other_class", "other_class", "several_classes", "other_class", ""]


def test_classes_are_asked_for(root):
    with pytest.raises(CatalogError, match="AudioSet needs them"):
        weak(root, ())


def test_nested_classes_are_refused(root):
    with pytest.raises(CatalogError, match="`Animal` and `Dog` are nested"):
        weak(root, ("Animal", "Dog"))


def test_a_label_that_is_not_in_the_ontology_is_named_with_its_line(root):
    (root / "l.csv").write_text(published([*ROWS, ("aaaaaaaaaaa", 0.0, 10.0, ["/m/dog", "/m/new"])]))
    with pytest.raises(MetadataError, match=r"l.csv: line 9: label '/m/new' is not in the ontology"):
        weak(root, segments=["l.csv"])


def test_an_id_that_is_a_path_is_refused_with_its_line(root):
    (root / "l.csv").write_text(published([("../../x", 0.0, 10.0, ["/m/dog"])]))
    with pytest.raises(MetadataError, match=r"l.csv: line 4: YTID = '\.\./\.\./x' is no video id"):
        weak(root, segments=["l.csv"])


# quality


def rate(root, **counts):
    lines = [f"/m/{name},{rated},{true}\n" for name, (rated, true) in counts.items()]
    (root / "qa_true_counts.csv").write_text("label_id,num_rated,num_true\n" + "".join(lines))


@pytest.mark.parametrize(
    ("quality", "reasons"),
    [
        (0.0, ["", "", "several_classes", "other_class", ""]),
        (0.5, ["", "", "several_classes", "other_class", "low_quality"]),
        (0.6, ["low_quality", "", "several_classes", "other_class", "low_quality"]),
    ],
)
def test_the_quality_of_the_label_that_puts_a_clip_into_its_class_decides(root, quality, reasons):
    rate(root, flute=(10, 5), speech=(10, 10), dog=(10, 9), bell=(0, 0))
    table = weak(root, quality=quality)
    assert table["reason"].tolist() == reasons
    assert table["label"].tolist() == ["Music", "Animal", "", "", "Sounds of things"]


def test_the_best_of_several_labels_of_the_class_counts(root):
    rate(root, flute=(10, 5), music=(10, 9))
    (root / "l.csv").write_text(published([("aaaaaaaaaaa", 0.0, 10.0, ["/m/flute", "/m/music"])]))
    assert weak(root, segments=["l.csv"], quality=0.8)["reason"].tolist() == [""]


def test_a_threshold_needs_the_table_and_says_where_it_is(root):
    with pytest.raises(MetadataError, match=r"qa_true_counts.csv: not in .*; put it there from https://.*fetch = true"):
        weak(root, quality=0.9)


def test_only_rated_videos_may_be_kept(root):
    (root / "rerated_video_ids.txt").write_text("-abcdefghij\nccccccccccc\n")
    assert weak(root, rerated_only=True)["reason"].tolist() == [
        *("", "low_quality", "several_classes", "other_class", "low_quality")
    ]


# strong labels


EVENTS = (
    "a_cd_fgh_jk_30000\t1.419\t1.599\t/m/dog\n"
    "a_cd_fgh_jk_30000\t1.419\t2.000\t/m/dog\n"
    "a_cd_fgh_jk_30000\t4.000\t5.000\t/m/flute\n"
    "-abcdefghij_0\t0.0\t10.0\t/m/speech\n"
)


def test_whole_segments_have_the_labels_of_their_events(root):
    table = strong(root, EVENTS)
    assert table["clip_id"].tolist() == ["a_cd_fgh_jk_30000", "-abcdefghij_0"]
    assert table["labels"].tolist() == ["Dog;Flute", "Speech"]
    assert table["reason"].tolist() == ["several_classes", "other_class"]
    assert (table["start_s"].tolist(), table["duration_s"].tolist()) == ([30.0, 0.0], [10.0, 10.0])


def test_an_event_of_its_own_lies_in_the_video_not_in_the_segment(root):
    table = strong(root, EVENTS, events=True)
    assert table["recording_id"].tolist() == ["a_cd_fgh_jk"] * 3 + ["-abcdefghij"]
    assert table["start_s"].tolist() == [31.419, 31.419, 34.0, 0.0]
    assert table["duration_s"].tolist() == [0.18, 0.581, 1.0, 10.0]
    assert table["label"].tolist() == ["Animal", "Animal", "Music", ""]
    assert table["clip_id"].is_unique and table["path"].is_unique


def test_events_over_the_same_span_are_one_clip(root):
    table = strong(root, "abcdefghijk_0\t1.0\t2.0\t/m/dog\nabcdefghijk_0\t1.0\t2.0\t/m/speech\n", events=True)
    assert table["labels"].tolist() == ["Dog;Speech"]


def test_strong_labels_may_go_beyond_the_ontology(root):
    (root / "mid_to_display_name.tsv").write_text("/m/kettle\tKettle whistle\n/m/dog\tCanidae\n")
    table = strong(root, "abcdefghijk_0\t1.0\t2.0\t/m/kettle\n", classes=("Kettle whistle", "canidae"))
    assert table["label"].tolist() == ["Kettle whistle"]


def test_weak_and_strong_lists_do_not_mix(root):
    with pytest.raises(CatalogError, match=r"\[dataset\] audioset: `segments` or `strong`, not both"):
        strong(root, EVENTS, segments=["balanced_train_segments.csv"])
    with pytest.raises(CatalogError, match="`events` needs `strong` lists"):
        weak(root, events=True)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("balanced_train_segments.csv", "train"),
        ("unbalanced_train_segments.csv", "train"),
        ("eval_segments.csv", "eval"),
        ("strong/audioset_eval_strong_framed_posneg.tsv", "eval"),
        ("my_intervals.csv", ""),
        ("train/list.csv", ""),
    ],
)
def test_the_published_split_is_the_word_in_the_name_of_the_list(name, split):
    assert published_split(name) == split


# where the lists lie


def test_lists_are_found_in_the_root_or_below_it(tmp_path):
    write_lists(tmp_path / "metadata")
    table = weak(tmp_path)
    write_lists(tmp_path / "deep" / "lists")
    pd.testing.assert_frame_equal(table, weak(tmp_path, metadata="deep/lists"))


def test_a_missing_list_says_where_it_was_looked_for_and_where_it_is(root):
    with pytest.raises(MetadataError, match=r"eval_segments.csv: not in .* or .*metadata; put it there from https://"):
        weak(root, segments=["eval_segments.csv"])
    with pytest.raises(MetadataError, match=r"mine.csv: not in .*; put it there$"):
        weak(root, segments=["mine.csv"])


@pytest.mark.parametrize("keys", [{"segments": ["../x.csv"]}, {"metadata": "/etc"}, {"metadata": "../up"}])
def test_lists_are_not_looked_for_outside_of_the_root(root, keys):
    with pytest.raises(CatalogError, match=r"\[dataset\] audioset: `(segments|metadata)`"):
        weak(root, **keys)


# class lists


def test_class_lists_have_a_link_a_row(root, tmp_path):
    paths = write_class_lists(weak(root), tmp_path / "lists")
    assert [path.name for path in paths] == ["animal.csv", "music.csv", "sounds_of_things.csv"]
    with paths[1].open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "url": "https://www.youtube.com/watch?v=-abcdefghij&t=30s",
                "start_s": "30.000",
                "end_s": "40.000",
                "label": "Music",
                "labels": "Flute;Speech",
            }
        ]
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == [path.name for path in paths]


def test_class_lists_of_similar_names_do_not_overwrite_each_other(root, tmp_path):
    table = weak(root)
    table.loc[[0, 1], "label"] = ["Chink, clink", "Chink clink"]
    assert len({path.name for path in write_class_lists(table, tmp_path / "lists")}) == 3


# the choice, by a second route


def below(mid, children):
    return {mid}.union(*(below(child, children) for child in children[mid]))


def by_hand(clips, classes, children):
    """Put each clip into its class with sets and recursion alone."""
    trees = {name: below(name, children) for name in classes}
    reached = [[name for name, tree in trees.items() if tree & set(labels)] for labels in clips]
    return [names[0] if len(names) == 1 else "several_classes" if names else "other_class" for names in reached]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_choice_agrees_with_sets_and_recursion(data):
    """Over random graphs: nodes point to later ones, so there is no cycle."""
    size = data.draw(st.integers(2, 9))
    mids = [f"/m/{number}" for number in range(size)]
    children = {
        mid: tuple(data.draw(st.sets(st.sampled_from(mids[number + 1 :]), max_size=3)) if number + 1 < size else ())
        for number, mid in enumerate(mids)
    }
    ontology = Ontology({mid: Node(mid, mid, children[mid]) for mid in mids}, {})
    drawn = data.draw(st.lists(st.sampled_from(mids), min_size=1, max_size=4, unique=True))
    chosen = [mid for mid in drawn if not any(mid in ontology.descendants(other) for other in drawn if other != mid)]
    clips = data.draw(st.lists(st.lists(st.sampled_from(mids), max_size=4, unique=True), min_size=1, max_size=8))
    choice = choose(pa.array(clips, pa.list_(pa.string())), ontology, chosen, {}, 0.0)
    reasons = choice.reason.to_pylist()
    found = [reason or chosen[number] for reason, number in zip(reasons, choice.number.tolist(), strict=True)]
    assert found == by_hand(clips, chosen, children)
    assert choice.names.to_pylist() == [";".join(labels) for labels in clips]


# the real lists


@pytest.fixture(scope="module")
def real(shared_data):
    return read_clips({"name": "audioset"}, shared_data / "audioset", classes=CLASSES)


def test_the_real_three_classes_agree_with_a_plain_reading(real, shared_data):
    ontology = json.loads((shared_data / "audioset" / "ontology.json").read_text())
    children = {node["id"]: node["child_ids"] for node in ontology}
    mids = {node["name"]: node["id"] for node in ontology}
    plain = {}
    for name in ("balanced_train_segments.csv", "eval_segments.csv"):
        for line in (shared_data / "audioset" / name).read_text().splitlines()[3:]:
            video, start, _, labels = line.split(", ", 3)
            plain[f"{video}_{round(float(start) * 1000)}"] = labels.strip('"').split(",")
    names = {mids[name]: name for name in CLASSES}
    found = by_hand(plain.values(), list(names), children)
    expected = {clip: names.get(what, what) for clip, what in zip(plain, found, strict=True)}
    assert len(real) == len(expected) == 22160 + 20371
    found = real["label"].where(real["reason"] == "", real["reason"])
    assert dict(zip(real["clip_id"], found, strict=True)) == expected


def test_the_real_set_can_be_balanced_and_split(real):
    table = sample_per_class(real, 500, seed=1)
    fine = table[table["reason"] == ""]
    assert Counter(fine["label"]) == dict.fromkeys(CLASSES, 500)
    table["split"] = assign_splits(table, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    check_leakage(table)


def test_the_real_published_split_is_kept(real):
    splits = assign_splits(real, scheme="published", published={"train": ["train"], "test": ["eval"]}, val_share=0.1)
    assert set(splits[(real["reason"] == "") & (real["published"] == "eval")]) == {"test"}


def test_the_real_strong_events_lie_inside_their_segments(shared_data):
    table = read_clips(
        {"name": "audioset", "strong": SHARED_STRONG, "events": True},
        shared_data / "audioset",
        classes=("Baby cry, infant cry", "Gunshot, gunfire"),
    )
    starts = {}
    for name in SHARED_STRONG:
        for line in (shared_data / "audioset" / name).read_text().splitlines()[1:]:
            segment, onset, offset, _ = line.split("\t")
            video, start = segment.rsplit("_", 1)
            span = (round(int(start) + float(onset) * 1000), round(int(start) + float(offset) * 1000))
            starts.setdefault(video, set()).add(span)
    assert set(table["recording_id"]) == set(starts)
    for video, start_s, duration_s in zip(table["recording_id"], table["start_s"], table["duration_s"], strict=True):
        assert (round(start_s * 1000), round((start_s + duration_s) * 1000)) in starts[video]
    assert len(table) == sum(len(spans) for spans in starts.values())
    assert (table["reason"] == "").all()
