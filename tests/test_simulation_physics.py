"""What a free field and a room do to sound: delays, levels and echoes where geometry says."""

import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_scenes import RATE, SQUARE, UNEVEN, band_limited_noise, free_field, measured_lag

from audiodata.errors import CatalogError, ClipError, EnvironmentFault
from audiodata.geometry import pair_lags, pairs
from audiodata.rooms import RoomSettings
from audiodata.simulation import Scene, add_sensor_noise, convolve, delayed_impulses, loudest_start, render, responses_at
from audiodata.simulation.rendering import convolve_span, gain_to_fit
from audiodata.simulation.room import absorption_and_order, check_places, image_sources

ROOM = RoomSettings(size_m=(4.0, 3.4, 2.6), array_m=(1.8, 1.5, 1.2), rt60_s=0.2)


@settings(max_examples=20, deadline=None)
@given(delay=st.floats(0.0, 300.0), share=st.floats(0.05, 0.95))
@example(delay=100.5, share=0.95)
def test_a_tone_is_delayed_by_any_fraction(delay, share):
    """The stated accuracy: 1e-4 of the amplitude up to 0.95 of half the sample rate."""
    tone = np.exp(1j * np.pi * share * np.arange(2000))
    responses = delayed_impulses([delay], [1.0])
    heard = np.convolve(tone, responses.taps[0])[responses.lead :][:2000]
    exact = np.exp(1j * np.pi * share * (np.arange(2000) - delay))
    assert np.max(np.abs(heard - exact)[500:1500]) < 1e-4


@pytest.mark.parametrize("azimuth_deg", [0.0, 37.0, 90.0, 161.5, 270.0, 355.0])
@pytest.mark.parametrize("elevation_deg", [0.0, 40.0])
def test_every_pair_hears_at_the_geometric_lag(azimuth_deg, elevation_deg):
    heard = render(band_limited_noise(4000), RATE, azimuth_deg, free_field(distance_m=0.8, elevation_deg=elevation_deg))
    expected = pair_lags(UNEVEN, azimuth_deg, RATE, elevation_deg, distance_m=0.8)
    found = [measured_lag(heard[first], heard[second]) for first, second in pairs(len(UNEVEN))]
    assert found == pytest.approx(expected, abs=0.02)


def test_a_far_source_gives_the_lags_of_a_plane_wave():
    heard = render(band_limited_noise(4000), RATE, 60.0, free_field(distance_m=50.0))
    expected = pair_lags(UNEVEN, 60.0, RATE)
    assert [measured_lag(heard[a], heard[b]) for a, b in pairs(4)] == pytest.approx(expected, abs=0.03)


def test_left_is_heard_first_on_the_left():
    left, right = render(band_limited_noise(4000), RATE, 90.0, free_field(((0.0, 0.1, 0.0), (0.0, -0.1, 0.0))))
    assert measured_lag(left, right) < -9  # 0.2 m are 9.3 samples
    assert np.sum(left**2) > np.sum(right**2)


def test_the_delay_of_the_way_is_in_the_recording():
    sound = band_limited_noise(4000)
    heard = render(sound, RATE, 0.0, free_field(((0.0, 0.0, 0.0), (0.0, 0.01, 0.0)), distance_m=3.43))
    assert measured_lag(heard[0], sound) == pytest.approx(160.0, abs=0.01)
    assert heard.shape[1] >= len(sound) + 160


def test_the_level_falls_with_the_way_to_each_microphone():
    sound = band_limited_noise(4000)
    near, far = (render(sound, RATE, 0.0, free_field(((0.1, 0.0, 0.0), (-0.1, 0.0, 0.0)), distance_m=way)) for way in (0.5, 2.0))
    level = {way: np.sqrt(np.sum(channel.astype(np.float64) ** 2) / np.sum(sound**2))
             for way, channel in zip((0.4, 0.6, 1.9, 2.1), [*near, *far], strict=True)}
    assert all(found == pytest.approx(1 / way, rel=1e-4) for way, found in level.items())


def test_mirrored_sources_swap_mirrored_microphones():
    sound, scene = band_limited_noise(2000), free_field(SQUARE)
    left, right = render(sound, RATE, 50.0, scene), render(sound, RATE, 310.0, scene)
    assert np.allclose(left, right[[3, 2, 1, 0]], atol=1e-7)
    assert not np.allclose(left, right, atol=1e-3)


def test_nothing_is_wrapped_round_and_nothing_is_heard_before_it_is_there():
    """A click at the end of a sound stays at its end; before its sound arrives there is only what a sinc rings."""
    sound = np.zeros(1000)
    sound[999] = 1.0
    heard = render(sound, RATE, 0.0, free_field(distance_m=1.5))
    assert np.argmax(np.abs(heard[0])) == pytest.approx(999 + 1.46 / 343 * RATE, abs=1)
    assert np.max(np.abs(heard[:, :900])) == 0.0 or np.max(np.abs(heard[:, :900])) < 1e-12


@given(start=st.integers(0, 400), length=st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_a_span_is_what_the_whole_would_be_there(start, length):
    sound = np.random.default_rng(1).standard_normal(500)
    responses = responses_at(free_field(), 30.0, RATE).responses
    whole = convolve(sound, responses)[:, start : start + length]
    assert np.allclose(convolve_span(sound, responses, start, length), whole, atol=1e-12)


def test_the_loudest_span_is_found():
    sound = np.concatenate([np.zeros(50), np.ones(20), np.zeros(50), 2 * np.ones(10), np.zeros(30)])
    assert loudest_start(sound, 10) == 120
    assert loudest_start(sound, 500) == 0
    assert loudest_start(np.zeros(100), 10) == 0


def test_sensor_noise_has_its_level_and_is_independent():
    recording = np.tile(np.sin(np.arange(40000) / 7), (3, 1))
    noisy = add_sensor_noise(recording, 12.0, np.random.default_rng(0))
    noise = noisy - recording
    assert 10 * np.log10(np.mean(recording**2) / np.mean(noise**2)) == pytest.approx(12.0, abs=0.1)
    assert np.max(np.abs(np.corrcoef(noise) - np.eye(3))) < 0.03
    again = add_sensor_noise(recording, 12.0, np.random.default_rng(0))
    assert np.array_equal(noisy, again)
    assert not np.array_equal(noisy, add_sensor_noise(recording, 12.0, np.random.default_rng(1)))


def test_a_silent_sound_stays_silent():
    assert not render(np.zeros(100), RATE, 0.0, free_field(snr_db=20.0), np.random.default_rng(0)).any()


def test_noise_needs_a_generator():
    with pytest.raises(TypeError, match="generator"):
        render(np.ones(100), RATE, 0.0, free_field(snr_db=20.0))


def test_what_is_too_loud_is_turned_down_together():
    assert gain_to_fit(np.array([[0.5, -0.9]])) == 1.0
    assert gain_to_fit(np.array([[0.5], [-3.0]])) == pytest.approx(0.33)


def test_several_channels_are_no_mono_sound():
    with pytest.raises(ClipError, match=r"wrong_channels: expected a sound of 1 channel, got 2; `mix_channels = true`"):
        render(np.ones((2, 100)), RATE, 0.0, free_field())


def test_a_room_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    scene = free_field(room=ROOM, distance_m=0.911)  # of no other test, so that nothing is recalled
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[simulate\]'"):
        render(np.ones(100), RATE, 0.0, scene)


class TestRoom:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed (extra `simulate`)")

    @pytest.fixture
    def taps(self):
        return responses_at(Scene(positions_m=UNEVEN, distance_m=1.0, room=ROOM), 35.0, RATE).responses

    def test_without_reflections_it_is_a_free_field(self):
        """Two routes: pyroomacoustics' impulses and ours. Its table of a sinc is coarse, hence 2 % of the peak."""
        source, microphones = check_places(ROOM, UNEVEN, 35.0, 0.0, 1.0)
        bare = image_sources(ROOM.size_m, 1.0, 0, source, microphones, RATE, 343.0)
        sound = band_limited_noise(2000, top=0.6)
        ours = convolve(sound, responses_at(free_field(distance_m=1.0), 35.0, RATE).responses)
        theirs = convolve(sound, bare)[:, : ours.shape[1]]
        assert np.max(np.abs(ours[:, : theirs.shape[1]] - theirs)) < 0.02 * np.max(np.abs(ours))

    def test_the_direct_sound_has_the_geometric_lags_and_level(self, taps):
        end = taps.lead + int(1.1 / 343 * RATE) + 15  # before the first reflection
        direct = taps.taps[:, :end]
        expected = pair_lags(UNEVEN, 35.0, RATE, distance_m=1.0)
        assert [measured_lag(direct[a], direct[b]) for a, b in pairs(4)] == pytest.approx(expected, abs=0.05)
        assert np.max(direct, axis=1) == pytest.approx(1.0, abs=0.35)

    def test_sound_decays_in_the_time_asked_for(self, taps):
        """By backward integration (M. R. Schroeder, 1965): the time from -5 to -25 dB, times 3."""
        energy = np.cumsum(taps.taps[0, ::-1] ** 2)[::-1]
        level = 10 * np.log10(energy / energy[0])
        fall_s = (np.argmax(level < -25) - np.argmax(level < -5)) / RATE
        assert 3 * fall_s == pytest.approx(ROOM.rt60_s, rel=0.25)

    def test_it_is_the_same_every_time(self, taps):
        responses_at.cache_clear()
        again = responses_at(Scene(positions_m=UNEVEN, distance_m=1.0, room=ROOM), 35.0, RATE).responses
        assert np.array_equal(again.taps, taps.taps)

    def test_the_library_is_left_as_it_was(self):
        import pyroomacoustics

        pyroomacoustics.constants.set("num_threads", 3)
        responses_at(Scene(positions_m=SQUARE, distance_m=0.7, room=ROOM), 35.0, RATE)
        assert pyroomacoustics.constants.get("num_threads") == 3

    def test_a_source_outside_is_refused(self):
        with pytest.raises(CatalogError, match=r"source at azimuth 90 would be at 1.80 x 4.50 x 1.20 m, not inside the room of 4.00 x 3.40"):
            responses_at(Scene(positions_m=SQUARE, distance_m=3.0, room=ROOM), 90.0, RATE)

    def test_a_room_that_can_not_be_so_dry_is_refused(self):
        with pytest.raises(CatalogError, match=r"rt60_s = 0.01 is too short for a room of 4 x 3.4 x 2.6 m; make it longer"):
            absorption_and_order(RoomSettings(**ROOM.model_dump() | {"rt60_s": 0.01}), 343.0)
