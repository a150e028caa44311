"""The ontology is a graph: several parents, no cycle, any level may be chosen, by name or mid."""

import json

import pytest
from made_audioset import TREE, entries, write_ontology

from audiodata.datasets.audioset_lists import read_class_labels, read_display_names
from audiodata.datasets.ontology import load_ontology
from audiodata.errors import CatalogError, MetadataError


@pytest.fixture
def made(tmp_path):
    return load_ontology(write_ontology(tmp_path))


@pytest.fixture(scope="module")
def real(shared_data):
    return load_ontology(shared_data / "audioset" / "ontology.json")


def test_descendants_follow_every_path_and_include_the_class(made):
    assert made.descendants("/m/animal") == {"/m/animal", "/m/dog", "/m/livestock", "/m/cowbell"}
    assert made.descendants("/m/dog") == {"/m/dog"}


def test_parents_and_roots_are_read_from_the_children(made):
    assert set(made.parents["/m/cowbell"]) == {"/m/instrument", "/m/livestock", "/m/bell"}
    assert set(made.roots) == {"/m/music", "/m/animal", "/m/things"}


@pytest.mark.parametrize("word", ["Sounds of things", "sounds OF things", "/m/things"])
def test_classes_are_found_by_name_in_any_case_or_by_mid(made, word):
    assert made.find(word) == "/m/things"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("Musik", r"no class `Musik` in the ontology; did you mean `Music`\?"),
        ("cow bell", "did you mean `Cowbell`"),
        ("/m/musik", "did you mean `/m/music`"),
        ("Zzz", "ontology.json lists them all"),
    ],
)
def test_an_unknown_class_brings_the_nearest_names(made, word, message):
    with pytest.raises(CatalogError, match=message):
        made.find(word)


def test_a_name_of_several_classes_lists_their_mids(made):
    both = made.with_names({"/t/other": "dog"})
    with pytest.raises(CatalogError, match="`Dog` names several classes; use a mid: /m/dog, /t/other"):
        both.find("Dog")
    assert both.find("/t/other") == "/t/other"


def test_other_tables_add_names_and_classes(made):
    more = made.with_names({"/m/dog": "Canidae", "/m/new": "Kettle whistle"})
    assert more.find("canidae") == more.find("dog") == "/m/dog"
    assert more.name("/m/dog") == "Dog"
    assert more.descendants(more.find("Kettle whistle")) == {"/m/new"}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["Animal", "Dog"], "`Animal` and `Dog` are nested"),
        (["Cowbell", "Music"], "`Music` and `Cowbell` are nested"),
        (["Dog", "/m/dog"], "`Dog` and `/m/dog` are the same class"),
        (["Music", "music"], "`Music` and `music` are the same class"),
    ],
)
def test_nested_and_repeated_classes_are_refused(made, classes, message):
    with pytest.raises(CatalogError, match=message):
        made.choose(classes)


def test_classes_that_overlap_may_be_chosen_together(made):
    assert made.choose(["Music", "Animal", "Sounds of things"]) == ("/m/music", "/m/animal", "/m/things")


def tree_with(*nodes):
    return [*TREE, *nodes]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not an ontology"),
        ('{"id": "/m/x"}', "not an ontology"),
        ('[{"id": "/m/x", "name": "X"}]', "not an ontology .*child_ids"),
        ("[3]", "not an ontology"),
        (json.dumps(entries(tree_with(("/m/dog", "Dog", [], [])))), "class /m/dog is defined twice"),
        (json.dumps(entries(tree_with(("/m/x", "X", ["/m/y"], [])))), r"child '/m/y' of /m/x \(X\) is no class"),
        (
            json.dumps(entries(tree_with(("/m/x", "X", ["/m/y"], []), ("/m/y", "Y", ["/m/x"], [])))),
            r"/m/[xy] < /m/[xy] < /m/[xy] form a cycle",
        ),
    ],
)
def test_a_broken_ontology_is_refused(tmp_path, text, message):
    path = tmp_path / "ontology.json"
    path.write_text(text)
    with pytest.raises(MetadataError, match=message) as caught:
        load_ontology(path)
    assert str(caught.value).startswith(f"{path}: ")


# the real one


def test_the_real_ontology_has_its_published_counts(real):
    assert len(real.nodes) == 632
    assert sum(len(above) > 1 for above in real.parents.values()) == 38
    restrictions = [node.restrictions for node in real.nodes.values()]
    assert sum("blacklist" in marks for marks in restrictions) == 67
    assert sum("abstract" in marks for marks in restrictions) == 23
    assert sum(not marks for marks in restrictions) == 543


@pytest.mark.parametrize(
    ("root", "descendants"),
    [
        ("Human sounds", 82),
        ("Animal", 72),
        ("Music", 188),
        ("Natural sounds", 20),
        ("Sounds of things", 192),
        ("Source-ambiguous sounds", 72),
        ("Channel, environment and background", 32),
    ],
)
def test_the_real_roots_have_their_published_sizes(real, root, descendants):
    mid = real.find(root)
    assert mid in real.roots
    assert len(real.descendants(mid)) == descendants + 1


def test_the_real_roots_are_seven(real):
    assert len(real.roots) == 7


def test_overlaps_of_the_three_classes_are_the_known_ones(real):
    music, animal, things = (real.descendants(mid) for mid in real.choose(["Music", "Animal", "Sounds of things"]))
    assert {real.name(mid) for mid in music & animal & things} == {"Cowbell"}
    assert {real.name(mid) for mid in (music & things) - animal} == {
        *("Bell", "Church bell", "Bicycle bell", "Jingle bell", "Chime", "Wind chime", "Tuning fork"),
        "Change ringing (campanology)",
    }
    assert not (animal & things) - music
    assert not (animal & music) - things


def test_every_label_table_fits_the_real_ontology(real, shared_data):
    labels = read_class_labels(shared_data / "audioset" / "class_labels_indices.csv")
    assert all(real.name(mid) == name for mid, name in labels.items())
    strong = read_display_names(shared_data / "audioset" / "mid_to_display_name.tsv")
    assert len(set(strong) - set(real.nodes)) == 32
    assert real.with_names(strong).find("Kettle whistle") == "/g/11b630rrvh"
