"""Pairs of what is seen and what is heard: divided first, paired afterwards, and nothing lost."""

import json
from collections import Counter

import pytest
from made_digits import JOINT, write_digits

from audiodata.catalog import load_catalog
from audiodata.datasets import dataset_settings, read_clips, settled
from audiodata.datasets.joint_events import pair_up, read_side
from audiodata.errors import CatalogError, MetadataError
from audiodata.records import read_partner
from audiodata.splits import assign_splits, check_leakage


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits"))


def dataset(**changes):
    return {key: value for key, value in (JOINT["dataset"] | changes).items() if value is not None}


def sides_of(table):
    """Return the id of either side of each pair."""
    return [clip_id.split("+") for clip_id in table["clip_id"]]


def test_each_recording_of_the_larger_side_is_used_once_and_of_the_smaller_as_often_as_any_other(root):
    table = read_clips(dataset(), root)
    train = table[table["published"] == "train"]
    seen, heard = zip(*sides_of(train), strict=True)
    assert len(train) == 21 and max(Counter(seen).values()) == 1  # 7 images of each class against 4 sounds
    assert sorted(Counter(heard).values()) == [1] * 3 + [2] * 9
    test = table[table["published"] == "test"]
    assert len(test) == 9


def test_a_pair_is_of_one_class(root):
    settings = dataset_settings(dataset())[1]
    label = {}
    for side in ("visual", "auditory"):
        one = read_side(side, getattr(settings, side), root)
        label[side] = dict(zip(one["clip_id"], one["label"], strict=True))
    table = read_clips(dataset(), root)
    for (seen, heard), own in zip(sides_of(table), table["label"], strict=True):
        assert label["visual"][seen] == label["auditory"][heard] == own


def test_nothing_of_either_side_is_in_two_splits(root):
    table = read_clips(dataset(), root)
    for side in (0, 1):
        splits = {}
        for ids, split in zip(sides_of(table), table["published"], strict=True):
            splits.setdefault(ids[side], set()).add(split)
        assert all(len(found) == 1 for found in splits.values())
    heard = {split: {ids[1].split("_")[1] for ids in sides_of(rows)} for split, rows in table.groupby("published")}
    assert heard == {"train": {"ann", "bob"}, "test": {"cem"}}
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)


def test_a_group_is_all_that_pairs_connect(root):
    """Pairs that share a speaker or an image are one group, also through other pairs, so no division of pairs can leak."""
    table = read_clips(dataset(), root)
    for side, group_of in ((0, str), (1, lambda clip_id: clip_id.split("_")[1])):
        found = {}
        for ids, group in zip(sides_of(table), table["group_id"], strict=True):
            found.setdefault(group_of(ids[side]), set()).add(group)
        assert all(len(groups) == 1 for groups in found.values())
    assert table.groupby("published")["group_id"].nunique()["test"] == 1, "one speaker is in all of them"
    assert table.groupby("group_id")["published"].nunique().max() == 1


def test_pairs_do_not_depend_on_the_order_of_the_rows(root):
    settings = dataset_settings(dataset())[1]
    seen, heard = read_side("visual", settings.visual, root), read_side("auditory", settings.auditory, root)

    def ids(visual, auditory):
        pairs = pair_up(visual, auditory, 3)
        return set(zip(visual["clip_id"].iloc[pairs.visual], auditory["clip_id"].iloc[pairs.auditory], strict=True))

    shuffled = [table.sample(frac=1, random_state=1).reset_index(drop=True) for table in (seen, heard)]
    assert ids(seen, heard) == ids(*shuffled)


def test_another_seed_pairs_otherwise(root):
    assert set(read_clips(dataset(), root)["clip_id"]) != set(read_clips(dataset(seed=1), root)["clip_id"])


def test_the_partner_says_where_the_sound_is_and_how_it_is_made(root):
    row = read_clips(dataset(), root).iloc[0]
    partner = read_partner(row["partner"])
    assert partner.path.startswith("voices/") and (root / partner.path).is_file()
    assert json.loads(partner.reader)["format"] == "cochlea" and json.loads(row["reader"])["format"] == "retina"


def test_the_same_image_has_the_same_noise_in_every_pair(root):
    table = read_clips(dataset(), root)
    made = {}
    for row in table.itertuples():
        partner = read_partner(row.partner)
        made.setdefault(partner.clip_id, set()).add(partner.reader)
    assert all(len(readers) == 1 for readers in made.values())
    assert len({reader for readers in made.values() for reader in readers}) == len(made)


def test_recordings_that_are_left_out_keep_their_rows(root):
    table = read_clips(dataset(), root, classes=("0", "2"))
    left = table[table["reason"] != ""]
    assert set(left["reason"]) == {"other_class"} and len(left) == 10 + 6
    assert set(table.loc[table["reason"] == "", "label"]) == {"0", "2"}


def test_a_class_that_one_side_lacks_is_an_error(root, tmp_path):
    fewer = write_digits(tmp_path / "fewer")
    for path in (fewer / "voices").glob("1_*"):
        path.unlink()
    with pytest.raises(MetadataError, match=r"visual: class '1' of split test has no auditory recording"):
        read_clips(dataset(), fewer)


def test_a_split_that_one_side_lacks_is_an_error(root):
    one_sided = dataset(auditory=JOINT["dataset"]["auditory"] | {"split": {"scheme": "held_out", "held_out": {"val": ["cem"]}}})
    with pytest.raises(MetadataError, match=r"has no .* recording to be paired with"):
        read_clips(one_sided, root)


def test_reversed_sides_are_an_error():
    reversed_sides = dataset(visual=JOINT["dataset"]["auditory"], auditory=JOINT["dataset"]["visual"])
    with pytest.raises(CatalogError, match="reversed"):
        dataset_settings(reversed_sides)


def test_sounds_and_images_alone_are_no_events():
    with pytest.raises(CatalogError, match="holds no event recordings"):
        dataset_settings(dataset(visual={"name": "idx_images"}))


def test_the_first_table_whose_folder_is_there_is_taken(root):
    there = JOINT["dataset"]["visual"]
    missing = there | {"source": {"name": "idx_images", "path": "nowhere"}}
    assert set(read_clips(dataset(visual=[missing, there]), root)["clip_id"]) == set(read_clips(dataset(), root)["clip_id"])
    with pytest.raises(MetadataError, match=r"no visual recordings; looked for simulated_events in nowhere"):
        read_clips(dataset(visual=[missing]), root)


def test_the_table_that_was_taken_is_told(root):
    there = JOINT["dataset"]["visual"]
    missing = there | {"source": {"name": "idx_images", "path": "nowhere"}}
    found = settled(dataset(visual=[missing, there]), root)
    assert [table["source"]["path"] for table in found["visual"]] == ["images"]
    assert settled(found, root) == found
    assert settled({"name": "folder", "path": "x"}, root) == {"name": "folder", "path": "x"}


def test_the_shipped_catalog_pairs_the_recordings_at_hand(shared_data):
    catalog = load_catalog("joint-digits")
    table = read_clips(catalog.dataset, shared_data)
    assert table["published"].value_counts().to_dict() == {"train": 1500, "test": 500}
    assert table.loc[table["published"] == "test", "clip_id"].str.contains("_nicolas_").all()
    seen = {ids[0] for ids in sides_of(table)}
    assert len(seen) == 500
