"""Features of events: the order of the steps, shapes known beforehand, lists, tonic over a fixed window, one clear line for what doesn't fit."""

import importlib.util
import json
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from audiodata.errors import EnvironmentFault, FeatureError
from audiodata.events.binning import frames
from audiodata.events.cropping import crop, downsample
from audiodata.events.denoising import denoise
from audiodata.events.record import EVENT_1D, EVENT_2D, Events, make_events
from audiodata.events.stabilising import digit_centre, stabilise
from audiodata.features import FEATURES, at_window, extract_events, feature_shape, find_feature, numeric_versions
from audiodata.features.event_tonic import VisualTimeSurfaceConfig, VisualVoxelGridConfig, visual_time_surface, visual_voxel_grid
from audiodata.features.events import (
    AuditoryEventsConfig,
    AuditoryFramesConfig,
    VisualEventsConfig,
    VisualFramesConfig,
    auditory_events,
    auditory_frames,
    visual_events,
    visual_frames,
)
from audiodata.features.spectral import LogMelConfig

WINDOW_US = 500_000
WINDOW_S = 0.5


def seen(count=3000, size=(34, 34, 2), seed=0, end=WINDOW_US):
    t, x, y, p = (np.random.default_rng(seed).integers(0, last, count) for last in (end, *size))
    return make_events(np.sort(t), x, y, p, size)


def heard(count=3000, size=(64, 1, 2), seed=0):
    t, x, _, p = (np.random.default_rng(seed).integers(0, last, count) for last in (WINDOW_US, *size))
    return make_events(np.sort(t), x, None, p, size)


def assert_one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_the_default_is_the_setting_of_the_multimodal_network():
    assert visual_frames(seen(), window_s=2.0).shape == (64, 1, 28, 28)
    assert auditory_frames(heard(), window_s=2.0).shape == (64, 1, 64)
    assert set(np.unique(visual_frames(seen(), window_s=2.0))) == {0, 1}


def test_frames_are_those_of_the_cropped_recording():
    made = visual_frames(seen(), window_s=WINDOW_S, time_steps=16, values="count", polarity="both")
    np.testing.assert_array_equal(made, frames(crop(seen(), 28), 16, WINDOW_US, values="count", polarity="both"))
    whole = visual_frames(seen(), window_s=WINDOW_S, size="sensor", values="count")
    assert whole.shape == (64, 1, 34, 34)
    assert whole.sum() == 3000


def test_events_outside_the_window_are_left_out():
    assert visual_frames(seen(), window_s=0.25, size="sensor", values="count").sum() == (seen().array["t"] < 250_000).sum()
    early = seen()
    early.array["t"] -= 100_000
    for made in (visual_frames(early, window_s=WINDOW_S, size="sensor", values="count").sum(), len(visual_events(early, window_s=WINDOW_S))):
        assert made == (seen().array["t"] >= 100_000).sum()


def test_the_steps_run_in_the_documented_order():
    events = seen(60_000, (128, 128, 2))
    config = VisualFramesConfig(
        window_s=WINDOW_S, denoise_us=2000, stabilise="mnist_dvs", orientation="jaer", downsample=4, polarity="on", values="count", time_steps=8
    )
    steps = denoise(events, 2000)
    steps = stabilise(steps, start_us=700_000, orientation="jaer")
    steps = crop(downsample(steps, 4), 28, (15, 15))
    expected = frames(steps, 8, WINDOW_US, values="count", polarity="on")
    np.testing.assert_array_equal(visual_frames(events, config, start_us=700_000), expected)
    assert (visual_frames(events, config) != expected).any()
    assert feature_shape("visual_frames", config, 1, 128, 128, 2) == expected.shape


@pytest.mark.parametrize(
    ("settings", "pixel"),
    [
        ({}, (13, 13)),
        ({"stabilise": "mnist_dvs"}, (14, 14)),
        ({"crop_centre": (63, 63)}, (14, 14)),
        ({"crop_centre": (70, 60)}, (17, 7)),
        ({"downsample": 4}, (13, 13)),
        ({"downsample": 4, "crop_centre": (63, 63)}, (14, 14)),
    ],
)
def test_where_the_middle_of_the_sensor_ends(settings, pixel):
    moved = digit_centre(np.array([100_000]))  # the middle of the digit then
    at = [int(axis[0]) for axis in moved] if "stabilise" in settings else [63, 63]
    dot = make_events(np.array([100_000]), np.array([at[0]]), np.array([at[1]]), np.array([1]), (128, 128, 2))
    assert np.argwhere(visual_frames(dot, window_s=WINDOW_S, **settings))[0, 2:].tolist() == list(pixel)


def test_harmonics_are_removed_with_the_seed_and_for_each_recording_anew():
    settings = {"window_s": WINDOW_S, "remove_harmonics": True, "size": "sensor"}
    first = visual_events(seen(), **settings)
    np.testing.assert_array_equal(first, visual_events(seen(), **settings))
    assert (visual_events(seen(), seed=1, **settings)[:, 0] != first[:, 0]).any()
    np.testing.assert_array_equal(first[:, 1:], visual_events(seen(), window_s=WINDOW_S)[:, 1:])
    other = visual_events(seen(seed=5), **settings)[:, 0]
    spans = [(one - one[0]) / (one[-1] - one[0]) for one in (first[:, 0], other)]
    assert np.abs(spans[0] - spans[1]).max() > 0.002  # a common distortion would leave them equal to a microsecond of 500,000


def test_a_list_of_events_has_every_field():
    np.testing.assert_array_equal(visual_events(seen(), window_s=WINDOW_S), np.stack([seen().array[name] for name in "txyp"], 1))
    np.testing.assert_array_equal(auditory_events(heard(), window_s=WINDOW_S), np.stack([heard().array[name] for name in "txp"], 1))
    on = visual_events(seen(), window_s=WINDOW_S, polarity="on", size=28)
    assert len(on) == (crop(seen(), 28).array["p"] == 1).sum()
    assert not on[:, 3].any()
    assert len(visual_events(seen(), window_s=WINDOW_S, denoise_us=500)) == len(denoise(seen(), 500).array)


@pytest.mark.parametrize("name", ["visual_events", "auditory_events"])
def test_a_list_and_frames_hold_the_same(name):
    sense = FEATURES[name].source
    recordings = {"visual": seen(), "auditory": heard()}
    listed = extract_events(recordings, {name: FEATURES[name].config()}, window_s=WINDOW_S)[name].astype(int)
    config = FEATURES[f"{sense}_frames"].config(values="count", polarity="both", **({"size": "sensor"} if sense == "visual" else {}))
    dense = extract_events(recordings, {f"{sense}_frames": config}, window_s=WINDOW_S)[f"{sense}_frames"]
    counted = np.zeros(dense.shape, int)
    where = (listed[:, 3], listed[:, 2], listed[:, 1]) if sense == "visual" else (listed[:, 2], listed[:, 1])
    np.add.at(counted, (listed[:, 0] * 64 // WINDOW_US, *where), 1)
    np.testing.assert_array_equal(counted, dense)


def test_channels_are_taken_together_into_bands():
    fine = auditory_frames(heard(), window_s=WINDOW_S, values="count", time_steps=8)
    config = AuditoryFramesConfig(window_s=WINDOW_S, values="count", time_steps=8, channels_per_band=4)
    banded = auditory_frames(heard(), config)
    np.testing.assert_array_equal(banded, fine.reshape(8, 1, 16, 4).sum(-1))
    assert feature_shape("auditory_frames", config, 1, 64, 1, 2) == banded.shape
    denoised = auditory_frames(heard(), config.model_copy(update={"denoise_us": 500}))
    assert 0 < denoised.sum() == len(denoise(heard(), 500).array) < 3000


@pytest.mark.parametrize("polarities", [1, 2])
@pytest.mark.parametrize("polarity", ["merged", "both"])
@pytest.mark.parametrize("name", ["auditory_frames", "visual_frames", "visual_time_surface", "auditory_events", "visual_events"])
def test_shapes_are_known_beforehand(name, polarity, polarities):
    if FEATURES[name].packages:
        pytest.importorskip("tonic", reason="the extra 'events' is not installed")
    size = (40, 30, polarities) if FEATURES[name].source == "visual" else (64, 1, polarities)
    events = (seen if FEATURES[name].source == "visual" else heard)(size=size)
    config = FEATURES[name].config(window_s=WINDOW_S, polarity=polarity)
    shape, made = feature_shape(name, config, 1, *size), FEATURES[name].function(events, config)
    assert made.shape == tuple(len(events.array) if length is None else length for length in shape)


# tonic


tonic_needed = pytest.mark.skipif(importlib.util.find_spec("tonic") is None, reason="the extra 'events' is not installed")


def surfaces_by_hand(events, steps, tau_us):
    columns, rows, polarities = events.sensor_size
    made = np.zeros((steps, polarities, rows, columns))
    for step in range(steps):
        end = (step + 1) * WINDOW_US / steps
        for t, x, y, p in events.array.tolist():
            if t < end:
                made[step, p, y, x] = np.exp(-(end - t) / tau_us)
    return made


def grid_by_hand(events, layers):
    columns, rows, _ = events.sensor_size
    made = np.zeros((layers, 1, rows, columns))
    for t, x, y, p in events.array.tolist():
        for layer in range(layers):
            made[layer, 0, y, x] += (1 if p else -1) * max(0.0, 1 - abs(layer - (layers - 1) * t / WINDOW_US))
    return made


@tonic_needed
@pytest.mark.parametrize("steps", [1, 7, 10])
@pytest.mark.parametrize(("count", "end"), [(200, WINDOW_US), (200, 3), (1, WINDOW_US), (0, 1)])
def test_surfaces_and_grids_are_those_of_the_equations(steps, count, end):
    events = seen(count, (6, 5, 2), end=end)
    before = events.array.copy()
    surfaces = visual_time_surface(events, window_s=WINDOW_S, time_steps=steps, tau_us=30_000, size="sensor")
    np.testing.assert_allclose(surfaces, surfaces_by_hand(events, steps, 30_000), atol=1e-6)
    layers = steps + 1
    grid = visual_voxel_grid(events, window_s=WINDOW_S, time_steps=layers, size="sensor")
    np.testing.assert_allclose(grid, grid_by_hand(events, layers), atol=1e-4)
    np.testing.assert_array_equal(events.array, before)


@tonic_needed
def test_a_grid_loses_no_event():
    events = seen(2000)
    signs = 2 * events.array["p"].astype(int) - 1
    np.testing.assert_allclose(visual_voxel_grid(events, window_s=WINDOW_S, size="sensor").sum(), signs.sum(), atol=1e-2)


@tonic_needed
def test_the_last_microsecond_is_on_the_last_surface():
    last = seen(1, end=1)
    last.array["t"] = WINDOW_US - 1
    surfaces = visual_time_surface(last, window_s=WINDOW_S, size="sensor")
    assert surfaces[:-1].max() == 0
    assert surfaces[-1].max() == pytest.approx(np.exp(-1 / 20_000))


@tonic_needed
def test_surfaces_are_cropped_and_their_polarities_chosen():
    settings = {"window_s": WINDOW_S, "time_steps": 5}
    whole = visual_time_surface(seen(), size="sensor", **settings)
    np.testing.assert_array_equal(visual_time_surface(seen(), **settings), whole[:, :, 3:31, 3:31])
    np.testing.assert_array_equal(visual_time_surface(seen(), size="sensor", polarity="on", **settings), whole[:, 1:])
    merged = visual_time_surface(seen(), size="sensor", polarity="merged", **settings)
    np.testing.assert_array_equal(merged[:, 0], whole.max(axis=1))


@pytest.mark.parametrize("function", [visual_time_surface, visual_voxel_grid])
def test_without_tonic_the_extra_is_named(function, monkeypatch):
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(EnvironmentFault) as error:
        function(seen(), window_s=WINDOW_S)
    assert_one_line(error, "pip install 'audiodata[events]'")


def test_the_version_of_a_package_counts_where_it_computes(monkeypatch):
    assert numeric_versions("scipy", ["visual_frames"]) == numeric_versions()
    monkeypatch.setattr("audiodata.features.package_version", lambda package: f"version of {package}")
    assert numeric_versions("scipy", FEATURES)["tonic"] == "version of tonic"


def test_a_package_that_is_not_installed_is_one_line(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("audiodata.features.package_version", missing)
    with pytest.raises(EnvironmentFault) as error:
        numeric_versions("scipy", ["visual_voxel_grid"])
    assert_one_line(error, "tonic", "pip install")


# settings and events that don't fit


def test_a_window_is_needed_and_only_one():
    with pytest.raises(FeatureError) as error:
        visual_frames(seen())
    assert_one_line(error, "VisualFramesConfig", "window_s")
    with pytest.raises(FeatureError) as error:
        at_window(VisualFramesConfig(window_s=1.0), 2.0)
    assert_one_line(error, "window_s = 1", "2 s")
    assert at_window(VisualFramesConfig(), 2.0) == VisualFramesConfig(window_s=2.0) == at_window(VisualFramesConfig(window_s=2.0), None)
    assert at_window(LogMelConfig(), 2.0) == LogMelConfig()
    with pytest.raises(FeatureError) as error:
        at_window(VisualFramesConfig(), 0.0)
    assert_one_line(error, "window_s")


@pytest.mark.parametrize("missing", ["visual", "auditory"])
def test_a_clip_without_the_sense_is_one_line(missing):
    recordings = {"visual": seen(), "auditory": heard()}
    del recordings[missing]
    with pytest.raises(FeatureError) as error:
        extract_events(recordings, {f"{missing}_frames": FEATURES[f"{missing}_frames"].config()}, window_s=1.0)
    assert_one_line(error, f"{missing}_frames", missing, *recordings)


def test_a_feature_of_a_waveform_has_no_events():
    with pytest.raises(FeatureError) as error:
        extract_events({"visual": seen()}, {"log_mel": LogMelConfig()}, window_s=1.0)
    assert_one_line(error, "log_mel", "waveform")
    with pytest.raises(FeatureError):
        find_feature("visual_frames", "waveform")


@pytest.mark.parametrize(
    ("function", "given"), [(visual_frames, heard()), (auditory_frames, seen()), (visual_events, np.zeros(3)), (auditory_events, seen())]
)
def test_other_events_are_one_line(function, given):
    with pytest.raises(FeatureError) as error:
        function(given, window_s=1.0)
    assert_one_line(error, "expected", "events, got")


@pytest.mark.parametrize(
    ("settings", "size", "words"),
    [
        ({}, (20, 20, 2), ["28 x 28", "20 x 20"]),
        ({"crop_centre": (10, 10)}, (34, 34, 2), ["(10, 10)"]),
        ({"stabilise": "mnist_dvs"}, (34, 34, 2), ["128 x 128"]),
        ({"polarity": "on"}, (34, 34, 1), ["one polarity"]),
    ],
)
@pytest.mark.parametrize("name", ["visual_frames", "visual_events", "visual_time_surface"])
def test_sensors_that_do_not_fit_are_known_beforehand(name, settings, size, words):
    config = FEATURES[name].config(window_s=WINDOW_S, **{"size": 28, **settings})
    for call in (lambda: feature_shape(name, config, 1, *size), lambda: FEATURES[name].function(seen(10, size), config)):
        with pytest.raises(FeatureError) as error:
            call()
        assert_one_line(error, *words)


def test_a_grid_needs_signs():
    config = VisualVoxelGridConfig(window_s=WINDOW_S)
    for call in (lambda: feature_shape("visual_voxel_grid", config, 1, 34, 34, 1), lambda: visual_voxel_grid(seen(10, (34, 34, 1)), config)):
        with pytest.raises(FeatureError, match="ON and OFF"):
            call()


def test_a_list_longer_than_its_clock_is_refused():
    with pytest.raises(FeatureError, match="32 bits"):
        visual_events(seen(), window_s=3600.0)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (VisualFramesConfig, {"size": 0}),
        (VisualFramesConfig, {"size": "all"}),
        (VisualFramesConfig, {"time_steps": 0}),
        (VisualFramesConfig, {"values": "sum"}),
        (VisualFramesConfig, {"polarity": "ON"}),
        (VisualFramesConfig, {"stabilise": "yes"}),
        (VisualFramesConfig, {"downsample": 0}),
        (VisualFramesConfig, {"crop_centre": [3]}),
        (VisualEventsConfig, {"denoise_us": -1}),
        (AuditoryFramesConfig, {"channels_per_band": 0}),
        (AuditoryEventsConfig, {"size": 28}),
        (VisualTimeSurfaceConfig, {"tau_us": 0}),
        (VisualVoxelGridConfig, {"time_steps": 1}),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(config, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        config(**settings)


def test_a_catalogs_lists_are_taken():
    config = VisualFramesConfig(**json.loads('{"crop_centre": [63, 63], "size": "sensor"}'))
    assert config.crop_centre == (63, 63)
    assert config == VisualFramesConfig(**config.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("name", "dtype", "size", "fields"), [("visual_events", EVENT_2D, (34, 34, 2), 4), ("auditory_events", EVENT_1D, (64, 1, 1), 3)]
)
def test_silence_is_an_empty_list(name, dtype, size, fields):
    made = FEATURES[name].function(Events(np.zeros(0, dtype), size), FEATURES[name].config(window_s=1.0))
    assert made.shape == (0, fields)
    assert made.dtype == np.int32
