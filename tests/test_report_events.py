"""The report of a cache of events, and of what networks of events leave behind."""

import base64
import copy
import io
import json
import re

import numpy as np
import pytest
from made_digits import JOINT, write_digits
from model_caches import build_cache
from numpy.testing import assert_array_equal
from PIL import Image

from audiodata import event_report
from audiodata.catalog import parse_catalog
from audiodata.errors import CacheError
from audiodata.events.statistics import address_counts
from audiodata.report import write_report
from audiodata.shards import open_cache
from pipelines import build


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    root = write_digits(tmp_path_factory.mktemp("digits"), images=4, voices=1)
    catalog = copy.deepcopy(JOINT) | {"features": {
        "visual_frames": {"time_steps": 12, "polarity": "both", "size": "sensor", "values": "count"}, "visual_events": {},
        "auditory_frames": {"time_steps": 12, "channels_per_band": 4}, "auditory_events": {"polarity": "merged"},
    }}  # fmt: skip
    build.build(parse_catalog(catalog, "digits", "digits.toml"), root, root / "cache")
    return root / "cache"


@pytest.fixture(scope="module")
def page(cache, tmp_path_factory):
    """The whole page; it takes seconds to draw."""
    folder = tmp_path_factory.mktemp("page")
    write_report(cache, folder / "report.html", finished_run(folder / "run", cache))
    return (folder / "report.html").read_text(encoding="utf-8")


def pictures_in(page):
    return re.findall(r'<img alt="([^"]*)"', page)


def finished_run(folder, cache, **changes):
    """What an evaluation of a network with attention leaves behind."""
    folder.mkdir()
    chosen = open_cache(cache).examples.query("split == 'test'")
    metrics = {"network": "multimodal", "split": "test", "accuracy": 0.75, "senses": {"visual": 0.5, "auditory": 0.625}}
    metrics |= {"attention": {"visual": 1.25, "auditory": 0.75}, "silent": 0.0, "tied": 0.125}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    arrays = {"weights": np.random.default_rng(0).random((len(chosen), 12, 2)), "label": chosen["label"].to_numpy(str)}
    arrays |= {"predicted": chosen["label"].to_numpy(str), "example_id": chosen["example_id"].to_numpy(str)}
    np.savez(folder / "attention.npz", **(arrays | changes))
    return folder


def test_report_of_events_has_their_pictures(page):
    assert pictures_in(page) == [
        "examples per class",
        *("auditory_events", "auditory_frames", "visual_events", "visual_events, moving", "visual_frames", "visual_frames, moving"),
        *("rates and intervals of visual_events", "rates and intervals of auditory_events"),
        *(f"attention: {label}, taken for {label}" for label in "012"),
    ]
    assert "any number of events x 4 field, int32, time_us, x, y, p" in page
    assert "12 time x 1 polarity x 16 channel, uint8, events" in page


def test_report_of_a_run_has_what_only_networks_of_events_have(page):
    facts = {"accuracy of the visual part": "0.5", "mean attention, auditory": "0.75", "examples with several answers, share": "0.125"}
    for name, value in facts.items():
        assert f"<td>{name}</td><td>{value}</td>" in page


def test_moving_picture_moves(page):
    data = re.search(r'alt="visual_frames, moving" src="data:image/gif;base64,([^"]*)"', page)[1]
    moving = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (moving.format, moving.n_frames) == ("GIF", 12)


def test_both_forms_of_a_feature_tell_of_the_same_events(cache):
    """Events that are made of frames of counts lie where those of the list do, each at the start of its time step."""
    opened = open_cache(cache)
    example = opened.read(opened.examples["example_id"].iloc[0])
    listed, counted = (event_report._events(opened, name, example[name]) for name in ("visual_events", "visual_frames"))
    assert listed.sensor_size == counted.sensor_size == (34, 34, 2)
    assert_array_equal(address_counts(listed), address_counts(counted))
    assert_array_equal(np.sort(listed.array["t"] * 12 // 300_000 * 300_000 // 12), counted.array["t"])
    assert listed.array["p"].sum() == counted.array["p"].sum()


def test_lists_of_events_know_their_sensor(cache):
    opened = open_cache(cache)
    example = opened.read(opened.examples["example_id"].iloc[0])
    heard = event_report._events(opened, "auditory_events", example["auditory_events"])
    assert heard.sensor_size == (64, 1, 1)
    assert event_report._frames(opened, "auditory_events", example["auditory_events"]).shape == (64, 1, 64)
    banded = event_report._events(opened, "auditory_frames", example["auditory_frames"])
    assert banded.sensor_size == (16, 1, 1)


def test_attention_of_examples_of_another_cache_is_drawn_without_their_events(cache, tmp_path):
    run = finished_run(tmp_path / "run", cache, predicted=np.array(["1"] * 3), example_id=np.array(["of another cache#0"] * 3))
    assert pictures_in(event_report.attention(open_cache(cache), run)) == [f"attention: {label}, taken for 1" for label in "012"]


def test_damaged_attention_is_explained(cache, tmp_path):
    run = finished_run(tmp_path / "run", cache)
    (run / "attention.npz").write_bytes(b"nothing")
    with pytest.raises(CacheError, match="evaluate the run again"):
        event_report.attention(open_cache(cache), run)


def test_several_seeds_have_their_table(tmp_path):
    row = {"method": "v_network<b>", "structure": "32C3-128", "modality": "Unimodal", "dataset": "nmnist"}
    figures = {"accuracy": {"mean": 0.9123, "std": 0.01, "best": 0.93}, "doa_mae_deg": {"mean": 3.5, "std": None, "best": 3.5}}
    (tmp_path / "repeats.json").write_text(json.dumps({"split": "test", "seeds": [0, 1, 2], "rows": [row | {"figures": figures}]}))
    found = event_report.repeats(tmp_path)
    assert "Several seeds: test, 3 trainings each" in found
    assert "<td>v_network&lt;b&gt;</td><td>32C3-128</td><td>Unimodal</td><td>nmnist</td><td>accuracy</td><td>91.23 %</td><td>1.00 %</td>" in found
    assert "<td>doa_mae_deg</td><td>3.50°</td><td>-</td>" in found
    (tmp_path / "repeats.png").write_bytes(b"a picture")
    assert pictures_in(event_report.repeats(tmp_path)) == ["curves of several seeds"]


def test_degraded_events_have_their_table(tmp_path):
    found = {"split": "test", "sense": "auditory", "examples": 40, "meaning": "share of the events dropped, 0 to 1", "amounts": [0.0, 0.5]}
    found |= {"networks": [{"name": "multimodal", "results": [{"accuracy": 0.95}, {"accuracy": 0.625}]}]}
    (tmp_path / "degradation.json").write_text(json.dumps(found))
    (tmp_path / "degradation.png").write_bytes(b"a picture")
    section = event_report.degradation(tmp_path)
    assert "<th>network</th><th>0</th><th>0.5</th>" in section
    assert "<td>multimodal</td><td>95.0</td><td>62.5</td>" in section
    assert pictures_in(section) == ["accuracy against degradation"]


def test_caches_of_sounds_have_no_such_section(tmp_path):
    opened = open_cache(build_cache(tmp_path / "plain"))
    assert event_report.statistics(opened) == ""
    assert not any(event_report.is_of_events(opened, name) for name in opened.manifest["features"])
