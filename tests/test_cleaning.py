"""Measurements of sounds whose properties are known, and the verdicts on them."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sounds import noise, tone

from audiodata.audio import decode, resample, write_flac
from audiodata.cleaning import SILENCE_DB, duplicates, measure, verdict
from audiodata.reasons import REASONS

RATE = 44100
DEFAULTS = SimpleNamespace(
    min_duration_s=0.0,
    max_duration_s=None,
    duration_tolerance_s=0.1,
    min_level_db=-80.0,
    max_clipped_share=0.1,
    max_dc_offset=0.2,
    min_bandwidth_hz=None,
)


def with_(**changes):
    return SimpleNamespace(**{**vars(DEFAULTS), **changes})


def as_16_bit(waveform):
    return (np.clip(np.rint(waveform * 32768), -32768, 32767) / 32768).astype(np.float32)


# Level, peak and offset


@pytest.mark.parametrize("amplitude", [1.0, 0.5, 0.01, 1e-4])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_level_of_a_tone(amplitude, channels):
    found = measure(tone(441, amplitude, RATE, channels=channels), RATE)
    assert found.level_db == pytest.approx(20 * math.log10(amplitude / math.sqrt(2)), abs=0.01)
    assert found.peak_db == pytest.approx(20 * math.log10(amplitude), abs=0.01)
    assert found.dc_offset == pytest.approx(0, abs=1e-6)
    assert found.duration_s == 1.0
    assert found.finite


@pytest.mark.parametrize("offset", [-0.3, 0.05, 0.25])
def test_a_known_offset_is_measured_and_does_not_raise_the_level(offset):
    found = measure(tone(441, 0.1, RATE) + np.float32(offset), RATE)
    assert found.dc_offset == pytest.approx(offset, abs=1e-5)
    assert found.level_db == pytest.approx(20 * math.log10(0.1 / math.sqrt(2)), abs=0.01)
    assert found.peak_db == pytest.approx(20 * math.log10(0.1 + abs(offset)), abs=0.01)


def test_the_offset_of_the_worst_channel_counts():
    waveform = np.concatenate([tone(441, 0.1, RATE) + np.float32(0.1), tone(441, 0.1, RATE) - np.float32(0.4)])
    assert measure(waveform, RATE).dc_offset == pytest.approx(-0.4, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_a_constant_is_silence(value):
    found = measure(np.full((1, 5000), value, np.float32), RATE)
    assert found.level_db < -150
    assert found.clipped_share == 0
    assert found.bandwidth_hz == 0
    assert verdict(found, DEFAULTS)[0] == "silent"


def test_silence_has_finite_numbers():
    found = measure(np.zeros((2, 5000), np.float32), RATE)
    assert (found.level_db, found.peak_db) == (SILENCE_DB, SILENCE_DB)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_no_samples():
    found = measure(np.zeros((1, 0), np.float32), RATE)
    assert found.duration_s == 0
    assert verdict(found, DEFAULTS)[0] == "empty"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_and_the_rest_measured(tmp_path, bad):
    waveform = tone(441, 0.5, RATE)
    waveform[0, 777] = bad
    sf.write(tmp_path / "a.wav", waveform.T, RATE, subtype="FLOAT")
    found = measure(*decode(tmp_path / "a.wav"))
    assert not found.finite
    assert found.level_db == pytest.approx(-9.03, abs=0.01)
    json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert verdict(found, DEFAULTS) == ("not_finite", "holds NaN or infinite samples")


@given(st.integers(1, 5000), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_measurements_equal_plain_numpy(samples, channels, seed):
    waveform = noise(seed, samples, channels, level=0.3)
    found = measure(waveform, 8000)
    exact = waveform.astype(np.float64)
    power = np.mean((exact - exact.mean(axis=1, keepdims=True)) ** 2)
    assert found.level_db == pytest.approx(10 * math.log10(power) if power > 1e-20 else SILENCE_DB, abs=1e-3)
    assert found.peak_db == pytest.approx(20 * math.log10(np.abs(exact).max()), abs=1e-3)
    assert abs(found.dc_offset) == pytest.approx(np.abs(exact.mean(axis=1)).max(), abs=1e-6)
    assert 0 <= found.bandwidth_hz <= 4000


def test_the_input_is_left_alone_and_its_layout_does_not_matter():
    waveform = noise(0, 3000, channels=2)
    before = waveform.copy()
    transposed = np.ascontiguousarray(waveform.T).T
    assert measure(waveform, RATE) == measure(transposed, RATE)
    np.testing.assert_array_equal(waveform, before)


# Clipping


@pytest.mark.parametrize("frequency_hz", [75, 100, 441, 3000, 11025])
@pytest.mark.parametrize("convert", [as_16_bit, np.asarray], ids=["16 bit", "float"])
def test_a_full_scale_sine_is_not_clipped(frequency_hz, convert):
    assert measure(convert(tone(frequency_hz, 1.0, RATE)), RATE).clipped_share == 0


def test_a_very_slow_full_scale_sine_is_hardly_clipped():
    assert measure(as_16_bit(tone(5, 1.0, RATE)), RATE).clipped_share < 0.007


@pytest.mark.parametrize("convert", [as_16_bit, np.asarray], ids=["16 bit", "float"])
@pytest.mark.parametrize("gain", [1.1, 2.0, 10.0])
@pytest.mark.parametrize("ceiling", [1.0, 0.7])
def test_a_hard_clipped_sine_is_clipped_for_its_share_of_time(gain, ceiling, convert):
    clipped = convert(np.clip(tone(100, gain * ceiling, RATE), -ceiling, ceiling))
    expected = 1 - 2 / math.pi * math.asin(1 / gain)
    assert measure(clipped, RATE).clipped_share == pytest.approx(expected, abs=0.01)


def test_clipping_on_one_side_and_in_one_channel():
    clipped = np.minimum(tone(100, 0.99, RATE), np.float32(0.9))
    share = measure(clipped, RATE).clipped_share
    assert share == pytest.approx(0.5 - math.asin(0.9 / 0.99) / math.pi, abs=0.01)
    both = np.concatenate([clipped, tone(100, 0.5, RATE)])
    assert measure(both, RATE).clipped_share == pytest.approx(share / 2, abs=1e-3)


def test_what_overshoots_full_scale_is_clipped():
    """A lossy decoder gives the flat tops of a clipped recording back as ripples around full scale."""
    rippled = np.clip(tone(100, 3.0, RATE), -1, 1) * (1 + np.abs(noise(0, RATE, level=0.01)))
    expected = 1 - 2 / math.pi * math.asin(1 / 3)
    assert measure(rippled, RATE).clipped_share == pytest.approx(expected, abs=0.01)


def test_a_few_loud_samples_and_a_quiet_ceiling_are_not_clipping():
    peaks = noise(0, 10000, level=0.05)
    peaks[0, [10, 11, 500, 9000]] = 1.0
    assert measure(peaks, RATE).clipped_share == 0
    assert measure(as_16_bit(np.clip(tone(100, 1.0, RATE), -0.3, 0.3)), RATE).clipped_share == 0


def test_three_in_a_row_are_clipping():
    waveform = noise(0, 10000, level=0.05)
    waveform[0, [10, 11, 12, 500, 501, 9996, 9997, 9998, 9999]] = 1.0
    assert measure(waveform, RATE).clipped_share == pytest.approx(7 / 10000)


# Bandwidth


@pytest.mark.parametrize("convert", [as_16_bit, np.asarray], ids=["16 bit", "float"])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 44100), (8000, 16000), (16000, 48000), (22050, 44100)])
def test_upsampled_noise_shows_its_old_rate(from_rate, to_rate, convert):
    found = measure(convert(resample(noise(0, 3 * from_rate), from_rate, to_rate)), to_rate)
    assert found.bandwidth_hz == pytest.approx(from_rate / 2, rel=0.04)


def test_the_rounding_noise_of_a_quiet_upsampled_clip_is_not_content():
    quiet = as_16_bit(resample(noise(0, 24000, level=0.003), 8000, RATE))
    assert measure(quiet, RATE).bandwidth_hz == pytest.approx(4000, rel=0.04)


def test_white_noise_fills_the_band():
    assert measure(noise(0, RATE), RATE).bandwidth_hz == RATE / 2


@pytest.mark.parametrize("frequency_hz", [200, 1000, 5000])
def test_the_bandwidth_of_a_tone_is_its_frequency(frequency_hz):
    assert measure(tone(frequency_hz, 0.3, RATE), RATE).bandwidth_hz == pytest.approx(frequency_hz, abs=7 * RATE / 1024)


def test_a_muffled_sound_is_found():
    lowpass = scipy.signal.butter(8, 1000, fs=RATE, output="sos")
    muffled = scipy.signal.sosfilt(lowpass, noise(0, 3 * RATE)).astype(np.float32)
    assert 1000 < measure(muffled, RATE).bandwidth_hz < 2600


def test_an_offset_does_not_hide_the_band():
    assert measure(noise(0, RATE, level=0.001) + np.float32(0.5), RATE).bandwidth_hz == RATE / 2


def test_a_short_event_in_a_long_silence_is_not_missed():
    waveform = np.zeros((1, 60 * RATE), np.float32)
    waveform[0, 1_000_003:1_000_503] = noise(0, 500, level=0.5)
    assert measure(waveform, RATE).bandwidth_hz > 21000


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 1023, 1024, 1025])
def test_short_clips_have_a_bandwidth(samples):
    assert 0 <= measure(noise(0, samples), RATE).bandwidth_hz <= RATE / 2


def test_real_recordings_pass_and_their_upsampled_copies_do_not(shared_data):
    """A threshold of 4.5 kHz tells every tenth real recording of ten classes from a copy that went through 8 kHz."""
    thresholds = with_(min_bandwidth_hz=4500.0)
    for path in sorted((shared_data / "environmental_sounds").glob("*/*.ogg"))[::10]:
        waveform, rate = decode(path)
        assert verdict(measure(waveform, rate), thresholds, 5.0) == ("", "")
        narrow = resample(resample(waveform, rate, 8000), 8000, rate)
        reason, detail = verdict(measure(narrow, rate), thresholds, 5.0)
        assert reason == "narrow_band"
        assert "Hz is under min_bandwidth_hz = 4500.0 Hz" in detail


# Content


def test_equal_content_has_equal_hashes_whatever_the_file(tmp_path):
    waveform = as_16_bit(noise(0, 4000))
    write_flac(tmp_path / "a.flac", waveform, 16000)
    sf.write(tmp_path / "b.wav", waveform.T, 16000, subtype="PCM_16")
    sf.write(tmp_path / "c.wav", waveform.T, 16000, subtype="FLOAT")
    hashes = {measure(*decode(path)).content_sha256 for path in tmp_path.iterdir()}
    assert len(hashes) == 1


def test_any_difference_changes_the_hash():
    waveform = noise(0, 4000)
    changed = waveform.copy()
    changed[0, 3999] += np.float32(1e-6)
    variants = [(waveform, 16000), (changed, 16000), (waveform, 8000)]
    variants += [(waveform.reshape(2, 2000), 16000), (waveform[:, 1:], 16000)]
    assert len({measure(*variant).content_sha256 for variant in variants}) == len(variants)


def test_of_duplicates_the_smallest_id_stays():
    rows = [("c", "1"), ("a", "1"), ("b", "2"), ("d", "1"), ("e", ""), ("f", "")]
    assert duplicates(rows) == {"c": "a", "d": "a"}


@given(st.dictionaries(st.text("abc", max_size=2), st.sampled_from(["", "x", "y", "z"])))
@settings(max_examples=50, deadline=None)
def test_duplicates_do_not_depend_on_the_order(contents):
    rows = list(contents.items())
    rejected = duplicates(rows)
    assert duplicates(reversed(rows)) == rejected
    kept = [content for clip_id, content in rows if content and clip_id not in rejected]
    assert sorted(kept) == sorted({content for _, content in rows if content})


# Verdicts


@pytest.mark.parametrize(
    ("waveform", "thresholds", "expected_s", "reason", "detail"),
    [
        (tone(441, 0.5, RATE), DEFAULTS, None, "", ""),
        (tone(441, 0.5, RATE), DEFAULTS, math.nan, "", ""),
        (tone(441, 0.5, RATE), DEFAULTS, 1.09, "", ""),
        (tone(441, 0.5, RATE), DEFAULTS, 0.2, "", ""),
        (
            tone(441, 0.5, RATE),
            with_(min_duration_s=1.5),
            None,
            "too_short",
            "duration 1.000 s is under min_duration_s = 1.5 s",
        ),
        (
            tone(441, 0.5, RATE),
            DEFAULTS,
            1.2,
            "too_short",
            "duration 1.000 s is under the expected 1.200 s by more than duration_tolerance_s = 0.1 s",
        ),
        (
            tone(441, 0.5, RATE),
            with_(max_duration_s=0.9),
            None,
            "too_long",
            "duration 1.000 s is over max_duration_s = 0.9 s",
        ),
        (
            tone(441, 2e-5, RATE),
            DEFAULTS,
            None,
            "silent",
            "level -97.0 dB is under min_level_db = -80.0 dB",
        ),
        (
            np.clip(tone(100, 2.0, RATE), -1, 1),
            DEFAULTS,
            None,
            "clipped",
            "clipped share 0.6667 is over max_clipped_share = 0.1",
        ),
        (
            tone(441, 0.1, RATE) - np.float32(0.3),
            DEFAULTS,
            None,
            "dc_offset",
            "DC offset -0.3000 of full scale is over max_dc_offset = 0.2",
        ),
        (
            tone(1000, 0.1, RATE),
            with_(min_bandwidth_hz=4000.0),
            None,
            "narrow_band",
            "bandwidth 1249 Hz is under min_bandwidth_hz = 4000.0 Hz",
        ),
    ],
)
def test_verdicts_name_the_value_and_the_threshold(waveform, thresholds, expected_s, reason, detail):
    assert verdict(measure(waveform, RATE), thresholds, expected_s) == (reason, detail)
    assert reason in REASONS


def test_the_first_reason_in_a_fixed_order_is_given():
    """Everything wrong at once; one thing after another is then allowed."""
    found = dataclasses.replace(
        measure(tone(441, 0.5, RATE), RATE),
        finite=False,
        duration_s=0.0,
        level_db=-99.0,
        clipped_share=1.0,
        dc_offset=-1.0,
        bandwidth_hz=1.0,
    )
    strict = with_(min_duration_s=0.5, max_duration_s=9.0, min_bandwidth_hz=10.0)
    steps = [{"finite": True}, {"duration_s": 0.1}, {"duration_s": 10.0}, {"duration_s": 1.0}, {"level_db": -9.0}]
    steps += [{"clipped_share": 0.0}, {"dc_offset": 0.0}, {"bandwidth_hz": 11.0}]
    reasons = [verdict(found, strict, 1.0)[0]]
    for step in steps:
        found = dataclasses.replace(found, **step)
        reasons.append(verdict(found, strict, 1.0)[0])
    expected = ["not_finite", "empty", "too_short", "too_long", "silent", "clipped", "dc_offset", "narrow_band", ""]
    assert reasons == expected


@given(st.floats(-100, 0), st.floats(-100, 0))
@settings(max_examples=50, deadline=None)
def test_a_value_at_its_threshold_passes(level, threshold):
    found = dataclasses.replace(measure(tone(441, 0.5, RATE, 0.1), RATE), level_db=level)
    assert (verdict(found, with_(min_level_db=threshold))[0] == "silent") == (level < threshold)
