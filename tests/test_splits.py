"""Splits: groups stay whole, a clip's split depends on nothing but its group, and shares come out as asked."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata import splits
from audiodata.clips import clips_table
from audiodata.errors import CatalogError, LeakageError, MetadataError
from audiodata.fingerprint import unit_hash
from audiodata.splits import SPLITS, assign_splits, check_leakage, quotas
from audiodata.text_hashes import unit_hashes

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def made(groups, labels=None, published=None):
    ids = [f"c{number:05d}" for number in range(len(groups))]
    columns = {"clip_id": ids, "path": [f"{i}.wav" for i in ids], "group_id": list(groups)}
    given = {"label": labels, "published": published}
    return clips_table(columns | {name: values for name, values in given.items() if values})


def by_clip(table, **rule):
    return dict(zip(table["clip_id"], assign_splits(table, **rule), strict=True))


grouped_tables = st.lists(st.integers(0, 60), min_size=40, max_size=150).map(lambda numbers: [f"g{n}" for n in numbers])


def without_empty_splits(function, *arguments, **keywords):
    """Small made tables may leave a split empty, which is an error of its own; these examples are passed over."""
    try:
        return function(*arguments, **keywords)
    except CatalogError as error:
        assert "empty" in str(error)
        return None


@pytest.mark.parametrize("scheme", ["grouped", "stratified"])
@settings(max_examples=25, deadline=None)
@given(groups=grouped_tables, seed=st.integers(0, 5))
def test_no_group_is_on_two_sides(scheme, groups, seed):
    table = made(groups, labels=[f"class {ord(group[-1]) % 3}" for group in groups])
    found = without_empty_splits(assign_splits, table, scheme=scheme, fractions=SHARES, seed=seed)
    if found is not None:
        sides = pd.DataFrame({"group": groups, "split": found.tolist()}).groupby("group")["split"].nunique()
        assert (sides == 1).all()
        check_leakage(table.assign(split=found))


@pytest.mark.parametrize("scheme", ["grouped", "stratified"])
@settings(max_examples=25, deadline=None)
@given(groups=grouped_tables, order=st.randoms())
def test_the_order_of_the_rows_does_not_matter(scheme, groups, order):
    table = made(groups, labels=[f"class {ord(group[-1]) % 3}" for group in groups])
    rows = list(range(len(groups)))
    order.shuffle(rows)
    shuffled = table.iloc[rows].reset_index(drop=True)
    straight = without_empty_splits(by_clip, table, scheme=scheme, fractions=SHARES)
    assert straight == without_empty_splits(by_clip, shuffled, scheme=scheme, fractions=SHARES)


@settings(max_examples=25, deadline=None)
@given(groups=grouped_tables, kept=st.lists(st.booleans(), min_size=150, max_size=150))
def test_a_clip_keeps_its_split_whatever_else_is_there(groups, kept):
    table = made(groups)
    part = table[np.array(kept[: len(groups)])].reset_index(drop=True)
    if len(part):
        whole = without_empty_splits(by_clip, table, fractions=SHARES)
        alone = without_empty_splits(by_clip, part, fractions=SHARES)
        if whole and alone:
            assert alone.items() <= whole.items()


def test_shares_come_out_within_binomial_bounds():
    count = 20_000
    found = assign_splits(made([f"video {number}" for number in range(count)]), fractions=SHARES, seed=11)
    for name, share in SHARES.items():
        deviation = abs((found == name).sum() - count * share) / math.sqrt(count * share * (1 - share))
        assert deviation < 4  # standard deviations


def test_the_seed_changes_the_split():
    table = made([f"g{number}" for number in range(300)])
    assert by_clip(table, seed=0) == by_clip(table, seed=0) != by_clip(table, seed=1)


def test_a_split_is_the_hash_of_its_group_by_the_written_rule():
    groups = [f"g{number}" for number in range(300)]
    drawn = [unit_hash(4, "split", group) for group in groups]
    expected = ["train" if number < 0.8 else "val" if number < 0.9 else "test" for number in drawn]
    assert assign_splits(made(groups), seed=4).tolist() == expected


@given(st.integers(-5, 5), st.lists(st.text(max_size=8), max_size=5))
def test_many_hashes_at_once_equal_single_ones(seed, words):
    assert unit_hashes(seed, "split", words).tolist() == [unit_hash(seed, "split", word) for word in words]


def test_growing_the_train_share_only_moves_clips_to_train():
    table = made([f"g{number}" for number in range(500)])
    before = by_clip(table, fractions={"train": 0.6, "val": 0.2, "test": 0.2})
    after = by_clip(table, fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    assert all(after[clip] == "train" for clip, split in before.items() if split == "train")


def test_a_split_without_share_stays_empty():
    table = made([f"g{number}" for number in range(2000)])
    assert set(assign_splits(table, fractions={"train": 0.3, "test": 0.7})) == {"train", "test"}
    assert set(assign_splits(table, fractions={"train": 0.1 + 0.2, "val": 0.7, "test": 0.0})) == {"train", "val"}


def test_shares_that_fall_short_of_one_open_no_further_split(monkeypatch):
    monkeypatch.setattr(splits, "unit_hashes", lambda seed, purpose, words: np.array([0.1, 1 - 2.0**-53]))
    fractions = {"train": 0.5, "val": 0.5 - 1e-7, "test": 0.0}
    assert assign_splits(made(["a", "b"]), fractions=fractions).tolist() == ["train", "val"]


def test_rows_that_are_left_out_have_no_split_and_no_say():
    table = made([f"g{number}" for number in range(60)], labels=["a", "b"] * 30)
    table.loc[::2, "reason"] = "other_class"
    found = assign_splits(table, scheme="stratified")
    assert (found[::2] == "").all()
    assert set(found[1::2]) == set(SPLITS)
    assert found[1::2].value_counts().to_dict() == {"train": 24, "val": 3, "test": 3}


def test_the_result_fits_an_index_that_is_no_range():
    table = made([f"g{number}" for number in range(50)]).set_index(np.arange(100, 150))
    table["split"] = assign_splits(table, scheme="stratified")
    assert table["split"].isin(SPLITS).all()


# stratified


@given(st.integers(0, 500), st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any))
def test_quotas_add_up_and_are_near_their_shares(count, weights):
    fractions = {name: weight / sum(weights) for name, weight in zip(SPLITS, weights, strict=True)}
    dealt = quotas(count, fractions)
    wanted = np.array([fractions[name] * count for name in SPLITS])
    assert dealt.sum() == count
    assert (dealt >= 0).all()
    assert (dealt[np.array(weights) == 0] == 0).all()
    assert (np.abs(dealt - wanted) < 3).all()
    if count >= 3:
        assert (dealt[np.array(weights) > 0] > 0).all()


def test_stratified_is_exact_in_every_class():
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    table = made([f"g{number}" for number in range(160)], labels=labels)
    table["split"] = assign_splits(table, scheme="stratified", fractions={"train": 0.8, "val": 0.1, "test": 0.1})
    counts = table.groupby(["label", "split"]).size()
    assert counts["a"].to_dict() == {"train": 80, "val": 10, "test": 10}
    assert counts["b"].to_dict() == {"train": 40, "val": 5, "test": 5}
    assert counts["c"].to_dict() == {"train": 8, "val": 1, "test": 1}


def test_a_group_of_several_classes_goes_to_one_split_as_its_most_frequent():
    groups = [f"g{number // 3}" for number in range(90)]
    table = made(groups, labels=["a", "a", "b"] * 30)
    table["split"] = assign_splits(table, scheme="stratified")
    check_leakage(table)
    assert table[table["label"] == "a"]["split"].value_counts().to_dict() == {"train": 48, "val": 6, "test": 6}


# published and held out


def test_published_values_are_mapped():
    table = made([f"g{number}" for number in range(6)], published=["1", "2", "3"] * 2)
    found = assign_splits(table, scheme="published", published={"train": ["1", "2"], "test": ["3"]})
    assert found.tolist() == ["train", "train", "test"] * 2


def test_the_usual_spellings_need_no_mapping():
    table = made(["a", "b", "c", "d"], published=["training", "Eval", "validation", "test"])
    assert assign_splits(table, scheme="published").tolist() == ["train", "test", "val", "test"]


def test_a_share_of_the_training_groups_goes_to_val():
    groups = [f"g{number // 2}" for number in range(4000)]
    table = made(groups, published=["train", "train", "train", "test", "test", "train"] * 666 + ["train"] * 4)
    published = {"train": ["train"], "test": ["test"]}
    plain = assign_splits(table, scheme="published", published=published)
    moved = assign_splits(table, scheme="published", published=published, val_share=0.2)
    assert (moved[plain == "test"] == "test").all()
    assert set(moved[plain == "train"]) == {"train", "val"}
    assert 0.15 < (moved[plain == "train"] == "val").mean() < 0.25
    groups_of_val = set(table.loc[moved == "val", "group_id"])
    assert not groups_of_val & set(table.loc[moved == "train", "group_id"])


def test_held_out_groups_and_nothing_else():
    table = made(["ann", "bob", "cid", "dan"] * 3)
    found = assign_splits(table, scheme="held_out", held_out={"test": ["bob"], "val": ["dan"]})
    assert found.tolist() == ["train", "test", "train", "val"] * 3


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"scheme": "random"}, "scheme = `random`; known: grouped"),
        ({"scheme": "groupd"}, "did you mean `grouped`"),
        ({"fractions": {"train": 0.5, "test": 0.4}}, "sum to 1, these sum to 0.9"),
        ({"fractions": {"train": 1.5, "test": -0.5}}, "at least 0"),
        ({"fractions": {"train": 0.5, "dev": 0.5}}, "fractions: unknown split `dev`"),
        ({"val_share": 0.1}, "val_share goes with"),
        ({"scheme": "held_out", "held_out": {"test": ["a"]}, "val_share": 1.0}, "less than 1"),
        ({"scheme": "held_out", "held_out": {"test": ["zoe"]}}, r"no clip has the group `zoe` \(4 groups\)"),
        ({"scheme": "held_out", "held_out": {"test": ["annn"]}}, "did you mean `ann`"),
        ({"scheme": "held_out", "held_out": {"train": ["ann"]}}, "train is what is left"),
        ({"scheme": "held_out", "held_out": {"dev": ["ann"]}}, "held_out: unknown split `dev`"),
        ({"scheme": "held_out"}, "needs the groups"),
        ({"scheme": "held_out", "held_out": {"test": ["ann"], "val": ["ann"]}}, "name it once"),
        ({"scheme": "held_out", "held_out": {"test": ["ann", "bob", "cid", "dan"]}}, "`train` empty.*what it names"),
        ({"scheme": "published", "published": {"train": ["1"]}}, r"`2`, which is in no split; values: '1', '2'"),
        ({"scheme": "published", "published": {"train": [1, 2], "test": [9]}}, r"the value `9`; values: '1', '2'"),
        ({"scheme": "published", "published": {"train": ["1"], "test": ["1"]}}, "name it once"),
        ({"scheme": "published"}, "2 clips have the published value `1`"),
        ({"scheme": "stratified", "fractions": {"train": 0.5, "val": 0.3, "test": 0.2}}, "leaves"),
    ],
)
def test_mistakes_are_one_clear_line(rule, message):
    table = made(["ann", "bob", "cid", "dan"], published=["1", "1", "2", "2"], labels=["a", "b", "c", "d"])
    with pytest.raises(CatalogError, match=message) as caught:
        assign_splits(table, **rule)
    assert "\n" not in str(caught.value)


def test_clips_without_a_published_split_are_counted():
    table = made(["a", "b", "c"], published=["train", "", ""])
    with pytest.raises(CatalogError, match="2 clips have no published value"):
        assign_splits(table, scheme="published")


def test_an_empty_split_is_refused_and_says_how_many_groups_there_are():
    with pytest.raises(CatalogError, match=r"leaves `val` empty \(10 clips in 1 groups\); choose other shares"):
        assign_splits(made(["one"] * 10), fractions={"train": 0.5, "val": 0.5})


def test_nothing_to_split_says_why():
    table = made(["a", "b"])
    table["reason"] = ["other_class", "low_quality"]
    with pytest.raises(MetadataError, match=r"no clip is left to split .*1 other_class"):
        assign_splits(table)


# leakage


def test_leakage_names_the_group_and_its_splits():
    table = made(["ann", "ann", "bob", "bob", "cid"]).assign(split=["train", "train", "test", "train", "val"])
    with pytest.raises(LeakageError, match="group `bob` has clips in train and test"):
        check_leakage(table)


def test_leakage_through_a_recording_is_found_too():
    table = made(["ann", "bob"]).assign(recording_id=["r", "r"], split=["train", "val"])
    with pytest.raises(LeakageError, match="recording `r` has clips in train and val"):
        check_leakage(table)


def test_rows_without_a_split_do_not_leak():
    assert check_leakage(made(["ann", "ann"]).assign(split=["train", ""])) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(SPLITS)), min_size=1, max_size=12))
def test_leakage_is_found_exactly_when_it_is_there(rows):
    table = made([group for group, _ in rows]).assign(split=[split for _, split in rows])
    sides = {group: {split for other, split in rows if other == group} for group, _ in rows}
    leaking = sorted(group for group, names in sides.items() if len(names) > 1)
    if not leaking:
        check_leakage(table)
    else:
        with pytest.raises(LeakageError, match=f"group `{leaking[0]}`"):
            check_leakage(table)
