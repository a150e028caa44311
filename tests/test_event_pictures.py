"""Pictures of events: what is drawn, where, in which colours; odd inputs; the moving picture's bytes."""

import io
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from audiodata import event_pictures as pictures
from audiodata.events.record import make_events
from audiodata.events.statistics import summarise


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drawn(figure):
    """Draw a figure whole, as a report does."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        return np.asarray(image.convert("RGB"))


def seen(seed=0, time=12, polarities=2, side=9):
    return (np.random.default_rng(seed).random((time, polarities, side, side)) < 0.1).astype(np.uint8)


def heard(seed=0, time=12, polarities=2, channels=16):
    return (np.random.default_rng(seed).random((time, polarities, channels)) < 0.2).astype(np.uint8)


def events_of(count, sensor_size, rows):
    random = np.random.default_rng(count)
    t = np.sort(random.integers(0, 1_000_000, count))
    x, y, p = (random.integers(0, size, count) for size in sensor_size)
    return make_events(t, x, y if rows else None, p, sensor_size)


def has_colour(image, colour):
    return bool((np.abs(image / 255 - np.array(to_rgb(colour))).max(axis=-1) < 0.02).any())


@pytest.mark.parametrize(("polarities", "colours"), [(1, [pictures.BOTH]), (2, [pictures.ON, pictures.OFF])])
def test_frames_show_their_polarities_in_colours(polarities, colours):
    image = drawn(pictures.frame_examples([seen(0, polarities=polarities), seen(1, polarities=polarities)], ["two", "seven"]))
    assert all(has_colour(image, colour) for colour in colours)


def test_parts_of_frames_hold_every_frame_once():
    frames = np.zeros((13, 2, 4, 4), np.uint8)
    frames[np.arange(13), 1, np.arange(13) % 4, np.arange(13) // 4] = 1
    figure = pictures.frame_examples([frames], ["diagonal"])
    all_frames, *parts = ((axes.images[0].get_array() < 0.99).any(axis=-1) for axes in figure.axes)
    assert len(parts) == pictures.SLICES
    assert np.array_equal(np.sum(parts, axis=0), all_frames.astype(int)) and all_frames.sum() == 13


def test_rows_go_down_and_channels_up():
    frames = np.zeros((6, 2, 4, 4), np.uint8)
    frames[:, 1, 0, 3] = 1
    image = pictures.frame_examples([frames], [""]).axes[0].images[0]
    assert image.origin == "upper" and (image.get_array()[0, 3] < 1).any()
    sound = np.zeros((6, 1, 5), np.uint8)
    sound[2, 0, 4] = 1
    picture = pictures.raster_examples([sound], [""], 2.0).axes[0].images[0]
    assert picture.origin == "lower" and (picture.get_array()[4, 2] < 1).all()
    assert picture.get_extent() == [0, 2.0, -0.5, 4.5]


@pytest.mark.parametrize("polarities", [1, 2])
def test_silence_is_drawn_too(polarities):
    still, mute = np.zeros((8, polarities, 5, 5), np.uint8), np.zeros((8, polarities, 7), np.uint8)
    drawn(pictures.frame_examples([still, seen(polarities=polarities)], ["still", "moving"]))
    drawn(pictures.raster_examples([mute], ["mute"], 1.0))
    drawn(pictures.attention(np.zeros((8, 2)), still, mute))
    drawn(pictures.statistics(summarise([events_of(0, (4, 4, polarities), rows=True)])))
    assert pictures.gif(still, 1.0)


@pytest.mark.parametrize("sensor_size", [(34, 34, 2), (34, 34, 1)])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_one_recording_of_a_retina(count, sensor_size):
    events = events_of(count, sensor_size, rows=True)
    figure = pictures.raster(events, "seven")
    drawn(figure)
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == count
    shown = pictures.accumulated_frame(events, "seven")
    drawn(shown)
    places = len(set(zip(events.array["x"].tolist(), events.array["y"].tolist(), strict=True)))
    assert (shown.axes[0].images[0].get_array() < 1).any(axis=-1).sum() == places


def test_one_recording_of_a_cochlea():
    image = drawn(pictures.raster(events_of(3000, (64, 1, 2), rows=False)))
    assert has_colour(image, pictures.ON) and has_colour(image, pictures.OFF)


def test_a_long_raster_draws_a_share_of_its_events():
    figure = pictures.raster(events_of(pictures.DRAWN_EVENTS * 3, (64, 1, 1), rows=False))
    assert len(figure.axes[0].collections[0].get_offsets()) == pictures.DRAWN_EVENTS


@pytest.mark.parametrize("shown", [(), ("visual",), ("auditory",), ("visual", "auditory")])
def test_attention_over_time_above_what_there_was(shown):
    weights = np.random.default_rng(0).random((12, 2))
    inputs = {"visual": seen(), "auditory": heard()}
    figure = pictures.attention(weights, **{name: inputs[name] for name in shown}, title="seven")
    drawn(figure)
    assert len(figure.axes) == 1 + len(shown)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert np.array_equal(lines["visual"], weights[:, 0]) and np.array_equal(lines["auditory"], weights[:, 1])


def test_attention_counts_the_events_of_each_step():
    figure = pictures.attention(np.zeros((12, 2)), seen(), None)
    assert [bar.get_height() for bar in figure.axes[1].patches] == seen().sum(axis=(1, 2, 3)).tolist()


def test_made_events_stand_beside_recorded_ones():
    made, recorded = (summarise([events_of(count, (8, 8, 2), rows=True)]) for count in (2000, 3000))
    figure = pictures.statistics(made, recorded)
    drawn(figure)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["made (1)", "recorded (1)"]
    assert np.array_equal(figure.axes[1].lines[1].get_xdata(), recorded.interval_quantiles_us / 1000)
    assert [len(axes.lines) for axes in pictures.statistics(made).axes] == [1, 1, 1]


def frames_of(data):
    """Colours of each frame of a GIF, and how long they last together."""
    with Image.open(io.BytesIO(data)) as image:
        shown, lasts_ms = [], 0
        for number in range(image.n_frames):
            image.seek(number)
            shown.append(np.asarray(image.convert("RGB")))
            lasts_ms += image.info["duration"]
        return shown, lasts_ms, image.info.get("loop")


def test_a_moving_picture_shows_every_frame_in_its_colours():
    frames = seen(time=10)
    shown, lasts_ms, loop = frames_of(pictures.gif(frames, 0.5))
    assert (len(shown), lasts_ms, loop) == (10, 500, 0)
    factor = shown[0].shape[0] // 9
    palette = np.array([[255, 255, 255], *(np.round(255 * np.array(to_rgb(name))) for name in (pictures.OFF, pictures.ON, pictures.BOTH))])
    for picture, frame in zip(shown, frames, strict=True):
        assert np.array_equal(picture[::factor, ::factor], palette[frame[0] + 2 * frame[1]])


def test_the_same_frames_make_the_same_bytes_and_few_of_them():
    frames = seen(time=64, side=34)
    assert pictures.gif(frames, 2.0) == pictures.gif(frames.copy(), 2.0)
    assert len(pictures.gif(frames, 2.0)) < 300_000
    assert len(pictures.gif(seen(time=64, side=128), 2.0)) < 300_000


def test_a_moving_picture_of_many_steps_is_no_faster_than_a_browser():
    shown, lasts_ms, _ = frames_of(pictures.gif(seen(time=50), 0.1))
    assert (len(shown), lasts_ms) == (50, 50 * pictures.GIF_STEP_MS)
