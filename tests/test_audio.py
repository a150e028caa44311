"""Shape of waveforms: resampling, mixing, filling, cutting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sounds import delay, noise, rms_db, tone

from audiodata.audio import fill, mix_channels, prepare, resample, segments
from audiodata.errors import ClipError

RATES = [(44100, 16000), (16000, 44100), (48000, 16000), (8000, 44100), (22050, 16000)]


def spectrum_db(waveform, sample_rate):
    """Level of each frequency (dB re full scale) by a windowed Fourier transform, and the frequencies."""
    samples = waveform.shape[1]
    window = np.blackman(samples)
    spectrum = np.abs(np.fft.rfft(waveform[0] * window)) * 2 / window.sum()
    return 20 * np.log10(np.maximum(spectrum, 1e-12)), np.fft.rfftfreq(samples, 1 / sample_rate)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_tone_keeps_its_frequency_and_level(from_rate, to_rate):
    resampled = resample(tone(1000, 0.5, from_rate, 2.0), from_rate, to_rate)
    level, frequency = spectrum_db(resampled, to_rate)
    assert frequency[np.argmax(level)] == pytest.approx(1000, abs=1)
    assert level.max() == pytest.approx(20 * math.log10(0.5), abs=0.02)
    assert level[abs(frequency - 1000) > 50].max() < -100
    middle = resampled[:, to_rate // 2 : -to_rate // 2]
    assert rms_db(middle) == pytest.approx(20 * math.log10(0.5) - 3.01, abs=0.01)


def test_what_would_alias_is_gone():
    resampled = resample(tone(11000, 0.9, 44100, 2.0), 44100, 16000)  # would come down at 5 kHz
    assert rms_db(resampled[:, 1000:-1000]) < -95


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_resampling_moves_nothing_in_time(from_rate, to_rate):
    times_in, times_out = np.arange(from_rate) / from_rate, np.arange(to_rate) / to_rate
    pulse = lambda times: np.exp(-(((times - 0.4) / 0.002) ** 2))  # noqa: E731 (80 Hz wide: inside every band)
    resampled = resample(pulse(times_in).astype(np.float32)[np.newaxis], from_rate, to_rate)
    assert np.abs(resampled[0] - pulse(times_out)).max() < 1e-3


@given(st.integers(0, 3000), st.sampled_from([8000, 11025, 16000, 44100, 48000]), st.sampled_from([8000, 16000, 22050]))
@settings(max_examples=80, deadline=None)
def test_resampled_length_is_the_nearest(samples, from_rate, to_rate):
    resampled = resample(noise(1, samples, channels=2), from_rate, to_rate)
    assert resampled.shape == (2, math.floor(samples * to_rate / from_rate + 0.5))
    assert resampled.dtype == np.float32
    assert resampled.flags.c_contiguous


def test_the_same_rate_is_the_same_array():
    waveform = noise(0, 100)
    assert resample(waveform, 16000, 16000) is waveform


def test_channels_are_resampled_alone():
    waveform = np.concatenate([tone(500, 0.3, 44100), noise(0, 44100)])
    both = resample(waveform, 44100, 16000)
    for channel in (0, 1):
        np.testing.assert_array_equal(both[channel], resample(waveform[channel : channel + 1], 44100, 16000)[0])


def test_mixing_is_the_mean():
    waveform = noise(0, 50, channels=4)
    np.testing.assert_allclose(mix_channels(waveform, 1)[0], waveform.astype(np.float64).mean(axis=0), atol=1e-8)
    assert mix_channels(waveform, 1).dtype == np.float32
    assert mix_channels(waveform, None) is waveform
    assert mix_channels(waveform, 4) is waveform


def test_channels_that_are_not_there_are_an_error():
    with pytest.raises(ClipError, match="expected 2 channels, got 3") as caught:
        mix_channels(noise(0, 5, channels=3), 2)
    assert caught.value.reason == "wrong_channels"


def test_prepare_mixes_and_resamples():
    waveform = np.concatenate([tone(440, 0.4, 44100), tone(440, -0.2, 44100)])
    prepared = prepare(waveform, 44100, sample_rate=16000, channels=1)
    assert prepared.shape == (1, 16000)
    assert rms_db(prepared[:, 500:-500]) == pytest.approx(20 * math.log10(0.1) - 3.01, abs=0.02)
    assert prepare(waveform, 44100, sample_rate=None, channels=None) is waveform


@given(st.integers(1, 60), st.integers(1, 200), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_fill_by_repetition_is_periodic(have, length, channels):
    waveform = noise(have, have, channels)
    filled = fill(waveform, length, "repeat")
    assert filled.shape == (channels, length)
    assert filled.flags.c_contiguous
    np.testing.assert_array_equal(filled, waveform[:, np.arange(length) % have])


@given(st.integers(0, 60), st.integers(1, 200))
@settings(max_examples=50, deadline=None)
def test_fill_by_zeros_keeps_and_pads(have, length):
    waveform = noise(have, have)
    filled = fill(waveform, length, "zero")
    kept = min(have, length)
    np.testing.assert_array_equal(filled[:, :kept], waveform[:, :kept])
    assert filled.shape == (1, length)
    assert not filled[:, kept:].any()


def test_nothing_can_be_repeated_from_nothing():
    with pytest.raises(ClipError) as caught:
        fill(np.zeros((1, 0), np.float32), 10, "repeat")
    assert caught.value.reason == "empty"


def test_fill_knows_two_ways():
    with pytest.raises(ValueError, match="'zero' or 'repeat'"):
        fill(noise(0, 5), 10, "drop")


@given(
    st.integers(0, 400),
    st.integers(1, 100),
    st.integers(1, 100),
    st.sampled_from(["zero", "repeat", "drop"]),
    st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_segments_are_pieces_of_the_clip(samples, length, hop, short, min_fill):
    waveform = noise(7, samples, channels=2)
    cuts = segments(waveform, length, hop, short, min_fill)
    assert [start for start, _, _ in cuts] == [hop * number for number in range(len(cuts))]
    for start, valid, cut in cuts:
        assert cut.shape == (2, length)
        assert valid == min(length, samples - start) > 0
        assert start == 0 or valid >= min_fill * length
        np.testing.assert_array_equal(cut[:, :valid], waveform[:, start : start + valid])
    if short == "drop":
        assert all(valid == length for _, valid, _ in cuts)
        assert len(cuts) == max(0, (samples - length) // hop + 1)
    elif min_fill < 1:
        assert bool(cuts) == (samples > 0)
        after = len(cuts) * hop
        assert not cuts or samples <= after or samples - after < min_fill * length


def test_segments_side_by_side_give_the_clip_back():
    waveform = noise(3, 1000)
    cuts = segments(waveform, 300, None, "zero", 0.0)
    np.testing.assert_array_equal(np.concatenate([cut[:, :valid] for _, valid, cut in cuts], axis=1), waveform)
    assert [valid for _, valid, _ in cuts] == [300, 300, 300, 100]
    assert not cuts[-1][2][:, 100:].any()


def test_without_a_length_the_clip_is_the_segment():
    waveform = noise(3, 1000)
    ((start, valid, cut),) = segments(waveform, None, None, "zero", 0.5)
    assert (start, valid) == (0, 1000)
    assert cut is waveform
    assert segments(waveform[:, :0], None, None, "zero", 0.5) == []


def test_delay_is_measured_rightly():
    signal = noise(0, 1000)[0]
    assert delay(np.concatenate([np.zeros(17), signal]), signal) == 17
    assert delay(signal[5:], signal) == -5
