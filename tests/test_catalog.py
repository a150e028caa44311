"""Catalogs: what is left out has a default, what is unknown is an error that helps."""

import pytest

from audiodata.catalog import load_catalog, parse_catalog
from audiodata.errors import CatalogError

SMALLEST = {"dataset": {"name": "folder"}, "features": {"mfcc": {}}}


def parse(**tables):
    return parse_catalog(SMALLEST | tables, "small", "small.toml")


def test_every_table_but_two_may_be_left_out():
    catalog = parse()
    assert catalog.split.fractions == {"train": 0.8, "val": 0.1, "test": 0.1}
    assert catalog.audio.sample_rate is None  # there is no default rate
    assert catalog.segment.short == "zero"
    assert catalog.resolved()["features"]["mfcc"]["hop_length"] == 512


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"splt": {}}, "unknown key `splt`; did you mean `split`?"),
        ({"split": {"sead": 1}}, "unknown key `split.sead`; did you mean `seed`?"),
        ({"features": {"mfc": {}}}, "unknown feature `mfc`; did you mean `mfcc`?"),
        ({"features": {"mfcc": {"hop_len": 3}}}, r"\[features.mfcc\]: unknown key `hop_len`; did you mean `hop_length`?"),
        ({"features": {}}, "`features` needs at least one table"),
        ({"features": {"mfcc": 3}}, "must be a table"),
        ({"dataset": {"path": "x"}}, "`dataset.name` is required"),
        ({"split": {"fractions": {"train": 0.8}}}, "sum to 1, these sum to 0.8"),
        ({"split": {"fractions": {"train": 0.5, "dev": 0.5}}}, "split.fractions"),
        ({"segment": {"hop_s": 1.0}}, "`hop_s` needs `length_s`"),
        ({"segment": {"short": "wrap"}}, "segment.short"),
        ({"clean": {"min_level_db": "loud"}}, "clean.min_level_db"),
        ({"audio": {"sample_rate": 16}}, "audio.sample_rate"),
        ({"dataset": {"name": "foldr"}}, "unknown data set `foldr`; did you mean `folder`?"),
        ({"dataset": {"name": "folder", "pth": "x"}}, "unknown key `pth`; did you mean `path`?"),
        ({"name": "x"}, "named by its file"),
    ],
)
def test_mistakes_are_named_with_their_place(tables, message):
    with pytest.raises(CatalogError, match=message) as caught:
        parse(**tables)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("small.toml")


def test_own_keys_of_the_data_set_pass_through():
    assert parse(dataset={"name": "folder", "path": "audio"}).dataset.path == "audio"


def test_folds_may_be_numbers():
    assert parse(split={"scheme": "published", "published": {"train": [1, 2], "test": [3]}}).split.published["test"] == ("3",)


def test_fingerprint_depends_on_meaning_not_on_spelling():
    spelled_out = parse(split={"seed": 0}, audio={"channels": 1})
    assert parse().fingerprint() == spelled_out.fingerprint() != parse(split={"seed": 1}).fingerprint()


def test_files_that_are_not_catalogs(tmp_path):
    with pytest.raises(CatalogError, match="no such catalog"):
        load_catalog(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[dataset\n")
    with pytest.raises(CatalogError, match="not readable as TOML"):
        load_catalog(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="not readable as TOML"):
        load_catalog(broken)


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parse().split.seed = 3
