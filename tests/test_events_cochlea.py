"""The cochlea: physics of filters and modulators, two routes to the same bands, what is random, and recorded sensors beside it."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pydantic import ValidationError
from scipy.signal import resample_poly, sosfilt

from audiodata.errors import ClipError
from audiodata.events.cochlea import CochleaConfig, cochlea
from audiodata.events.cochlea_filters import SAMPLES_PER_PERIOD, band_pass, interpolate, interpolation
from audiodata.events.record import make_events
from audiodata.events.statistics import address_counts, address_rates, intervals_us, summarise

RATE = 16000
LINEAR = {"level_db": None, "tilt_db": 0.0, "refractory_us": 0, "smooth_hz": None}
PLAIN = CochleaConfig(**LINEAR)


def tone(frequency_hz, duration_s=0.4, amplitude=0.3, rate=RATE):
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate)) / rate)).astype(np.float32)


def rustle(duration_s=0.2, amplitude=0.1, seed=0, rate=RATE):
    return (amplitude * np.random.default_rng(seed).standard_normal(round(duration_s * rate))).astype(np.float32)


def below(waveform, highest_hz, rate=RATE):
    """The waveform without what is above a frequency."""
    spectrum = np.fft.rfft(waveform)
    spectrum[round(highest_hz * waveform.size / rate) :] = 0
    return np.fft.irfft(spectrum, waveform.size)


def counts(waveform, rate=RATE, **settings):
    return address_counts(cochlea(waveform, rate, CochleaConfig(**LINEAR | settings), 0))


def by_scipy(waveform, config, rate=RATE):
    """Band-passed and rectified signals [sample, channel] at the finer rate, by another library's interpolation and filters."""
    frequencies = config.frequencies_hz(rate)
    factor = interpolation(rate, frequencies[-1])
    samples = resample_poly(waveform.astype(float), factor, 1, window=("kaiser", 12.0)) if factor > 1 else waveform.astype(float)
    turn = 2 * np.pi * frequencies / (rate * factor)
    narrow = np.sin(turn) / (2 * config.quality)
    bands = []
    for angle, alpha in zip(turn, narrow, strict=True):
        section = np.array([alpha, 0, -alpha, 1 + alpha, -2 * np.cos(angle), 1 - alpha]) / (1 + alpha)
        bands.append(np.maximum(sosfilt([section, section], samples), 0))
    return np.stack(bands, axis=1), rate * factor


def references(events, config, samples, rate):
    """What the events say that the signals were [sample, channel]: the sum of ON minus OFF times the threshold, up to each sample."""
    signed = np.zeros((samples + 1, config.channels))
    channel, sign = events.array["x"], np.where(events.array["p"] == 1, 1.0, -1.0)
    after = np.ceil(events.array["t"] * rate / 1e6).astype(int)
    np.add.at(signed, (np.minimum(after, samples), channel), sign * config.thresholds[channel])
    return signed.cumsum(axis=0)[:samples]


# the filters


@pytest.mark.parametrize("frequency_hz", [150, 440, 1000, 2500, 5200])
def test_tone_drives_the_channel_of_its_frequency(frequency_hz):
    nearest = np.argmin(np.abs(np.log(PLAIN.frequencies_hz(RATE) / frequency_hz)))
    driven = counts(tone(frequency_hz), threshold=0.005, quality=4.0).astype(float)
    middle = np.average(np.arange(64), weights=driven * (driven >= 0.95 * driven.max()))
    assert abs(middle - nearest) <= 1
    assert driven[max(nearest - 24, 0)] < driven[nearest] / 4 or nearest < 24


@pytest.mark.parametrize("quality", [1.0, 2.0, 8.0])
def test_band_pass_has_gain_one_at_its_centre_and_the_bandwidth_of_its_quality(quality):
    frequencies = np.array([120.0, 900.0, 3000.0])
    b, a1, a2 = band_pass(frequencies, quality, 96_000)

    def gain(at_hz):
        z = np.exp(2j * np.pi * at_hz / 96_000)
        return np.abs(b * (1 - z**-2) / (1 + a1 / z + a2 / z**2))

    lower = frequencies * (np.sqrt(1 + 1 / (4 * quality**2)) - 1 / (2 * quality))
    assert gain(frequencies) == pytest.approx(1, abs=1e-9)
    assert gain(lower) == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert gain(lower + frequencies / quality) == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_interpolation_keeps_what_was_there_and_draws_the_tone_between():
    frequency = 0.45  # of the sample rate: the highest that is ever asked for
    samples = np.sin(2 * np.pi * frequency * np.arange(500))
    finer = interpolate(samples, 3)
    assert_array_equal(finer[::3], samples)
    true = np.sin(2 * np.pi * frequency * np.arange(1500) / 3)
    assert np.abs(finer - true)[150:-150].max() < 3e-4


def test_finer_samples_are_taken_only_where_a_period_has_too_few():
    for rate in (8000, 16000, 44100, 192000):
        highest = CochleaConfig().frequencies_hz(rate)[-1]
        factor = interpolation(rate, highest)
        assert rate * factor / highest >= SAMPLES_PER_PERIOD > rate * (factor - 1) / highest
    assert interpolation(192000, 8000.0) == 1


def test_click_is_heard_later_in_low_channels():
    click = np.zeros(RATE // 4, np.float32)
    click[800] = 1.0
    events = cochlea(click, RATE, CochleaConfig(**LINEAR | {"threshold": 0.0005, "quality": 4.0}), 0)
    first = np.array([events.array["t"][events.array["x"] == channel].min() for channel in (5, 25, 45, 63)])
    middle = np.array([np.median(events.array["t"][events.array["x"] == channel]) for channel in (5, 25, 45, 63)])
    assert first.min() >= 48_000  # not before the click at 50 ms, save for the ripple of the interpolation
    assert (np.diff(middle) < 0).all()
    assert middle[0] - 50_000 > 5 * (middle[2] - 50_000)


# the modulators


def test_events_follow_the_rectified_bands_within_a_threshold():
    """Our filters and modulators against scipy's filters: ON minus OFF never leaves the signal by more than a threshold."""
    waveform, config = below(rustle() + tone(700, 0.2), 5000) * np.hanning(RATE // 5), CochleaConfig(**LINEAR | {"threshold": 0.01})
    bands, rate = by_scipy(waveform, config)
    told = references(cochlea(waveform, RATE, config, 0), config, len(bands), rate)
    rounding = np.abs(np.diff(bands, axis=0)).max() / 20 + 1e-3  # of times to a microsecond of 21, and of the other interpolation
    assert np.abs(bands - told).max() <= config.threshold + rounding
    assert np.abs(bands).max() > 10 * config.threshold


def test_without_interpolation_both_routes_agree_to_rounding():
    waveform, config = rustle(rate=96_000, duration_s=0.05), CochleaConfig(**LINEAR | {"threshold": 0.003, "f_max_hz": 8000})
    bands, rate = by_scipy(waveform, config, 96_000)
    assert rate == 96_000
    events = cochlea(waveform, 96_000, config, 0)
    # an event's microsecond ends after it: up to there the signal moves on by a share of a step
    moves = np.abs(np.diff(bands, axis=0)).max() / 10
    assert np.abs(bands - references(events, config, len(bands), rate)).max() <= config.threshold + moves


@pytest.mark.parametrize("rectifier", ["half", "full"])
def test_twice_the_amplitude_is_twice_the_events_in_the_driven_channel(rectifier):
    driven = [counts(tone(1000, amplitude=amplitude), rectifier=rectifier, threshold=0.002) for amplitude in (0.2, 0.4)]
    channel = np.argmax(driven[1])
    assert driven[1][channel] / driven[0][channel] == pytest.approx(2, rel=0.03)


def test_full_wave_has_twice_the_events_of_half_wave():
    half, full = (counts(tone(1000), rectifier=rectifier, threshold=0.005).max() for rectifier in ("half", "full"))
    assert full / half == pytest.approx(2, rel=0.08)  # between two samples a full wave misses some of its way to 0


def test_count_of_a_tone_is_that_of_its_peak():
    """Each period goes up to the amplitude and back: floor(A / threshold) ON events and as many OFF."""
    config = CochleaConfig(**LINEAR | {"channels": 3, "f_min_hz": 500, "f_max_hz": 2000, "threshold": 0.04})
    events = cochlea(tone(1000, 1.0, amplitude=0.3), RATE, config, 0)
    steady = events.array[(events.array["x"] == 1) & (events.array["t"] >= 500_000) & (events.array["t"] < 900_000)]
    assert len(steady) == 400 * 2 * 7
    assert np.count_nonzero(steady["p"]) == 400 * 7


def test_on_and_off_balance_in_every_channel():
    events = cochlea(np.concatenate([rustle(0.3), np.zeros(RATE // 2, np.float32)]), RATE, CochleaConfig(**LINEAR | {"threshold": 0.004}), 0)
    signed = np.bincount(events.array["x"], weights=np.where(events.array["p"] == 1, 1, -1), minlength=64)
    assert np.abs(signed).max() <= 1
    assert address_counts(events).min() > 10


@pytest.mark.parametrize("refractory_us", [50, 200, 1500])
def test_refractory_time_is_never_undercut(refractory_us):
    config = CochleaConfig(refractory_us=refractory_us, threshold=0.002, noise_hz=300.0)
    events = cochlea(rustle(), RATE, config, 3)
    gaps = intervals_us(events, by_polarity=False)
    assert gaps.min() >= refractory_us
    assert np.count_nonzero(gaps == refractory_us) > 10  # some wait for it


def test_signal_is_caught_up_with_after_the_refractory_time():
    config = CochleaConfig(**LINEAR | {"channels": 1, "f_min_hz": 100, "f_max_hz": 200, "threshold": 0.05, "refractory_us": 2000})
    events = cochlea(tone(100, 0.1), RATE, config, 0)
    assert 0 < len(events.array) <= 50
    assert np.where(events.array["p"] == 1, 1, -1).cumsum().min() >= 0


def test_smoothing_leaves_slow_channels_and_silences_the_ripple_of_fast_ones():
    slow, fast = (counts(tone(hz), threshold=0.01).max() for hz in (150, 5000))
    smoothed_slow, smoothed_fast = (counts(tone(hz), threshold=0.01, smooth_hz=500.0).max() for hz in (150, 5000))
    assert smoothed_slow > 0.6 * slow
    assert smoothed_fast < 0.3 * fast


def test_tilt_makes_high_channels_louder():
    flat, tilted = (counts(rustle(0.1), threshold=0.01, tilt_db=tilt) for tilt in (0.0, 6.0))
    assert tilted[10] < flat[10]
    assert tilted[60] > flat[60]


def test_level_makes_loud_and_quiet_recordings_equal():
    config = CochleaConfig(level_db=-20)
    quiet, loud = (cochlea(rustle(amplitude=amplitude), RATE, config, 0).array for amplitude in (2.0**-6, 2.0**-2))
    assert_array_equal(quiet, loud)


# what is random


def test_silence_gives_only_noise_at_its_rate():
    silence = np.zeros(2 * RATE, np.float32)
    assert not len(cochlea(silence, RATE, CochleaConfig(), 0).array)
    events = cochlea(silence, RATE, CochleaConfig(noise_hz=20.0), 0)
    expected = 64 * 2 * 20
    assert abs(len(events.array) - expected) < 5 * np.sqrt(expected)
    assert address_counts(events).min() > 10
    assert 0.4 < events.array["p"].mean() < 0.6
    assert events.array["t"].max() < 2_000_000


def test_seed_decides_the_noise_and_nothing_else():
    quiet, noisy = CochleaConfig(), CochleaConfig(noise_hz=50.0)
    assert_array_equal(cochlea(rustle(), RATE, noisy, 4).array, cochlea(rustle(), RATE, noisy, 4).array)
    assert not np.array_equal(cochlea(rustle(), RATE, noisy, 4).array, cochlea(rustle(), RATE, noisy, 5).array)
    assert_array_equal(cochlea(rustle(), RATE, quiet, 4).array, cochlea(rustle(), RATE, quiet, 5).array)


def test_mismatch_belongs_to_the_sensor():
    one, other = (CochleaConfig(mismatch=0.3, mismatch_seed=seed) for seed in (0, 1))
    assert_array_equal(one.thresholds, CochleaConfig(mismatch=0.3).thresholds)
    assert not np.array_equal(one.thresholds, other.thresholds)
    assert np.std(np.log(CochleaConfig(mismatch=0.3, channels=4000).thresholds)) == pytest.approx(0.3, rel=0.05)
    assert_array_equal(CochleaConfig().thresholds, 0.02)


# the form of what comes out


def test_one_polarity_is_the_same_events_without_their_sign():
    both, merged = (cochlea(rustle(), RATE, CochleaConfig(polarities=polarities), 0) for polarities in (2, 1))
    assert (both.sensor_size, merged.sensor_size) == ((64, 1, 2), (64, 1, 1))
    assert_array_equal(both.array[["t", "x"]], merged.array[["t", "x"]])
    assert not merged.array["p"].any()


def test_channels_of_a_waveform_are_averaged():
    ears = np.stack([rustle(seed=1), rustle(seed=2)])
    both, mean = (cochlea(waveform, RATE, CochleaConfig(), 0).array for waveform in (ears, ears.mean(axis=0, dtype=float)))
    assert_array_equal(both, mean)


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=300),
    rate=st.sampled_from([4000, 8000, 16000, 48000]),
    refractory_us=st.sampled_from([0, 1, 333]),
    noise_hz=st.sampled_from([0.0, 200.0]),
    smooth_hz=st.sampled_from([None, 500.0]),
)
def test_any_waveform_gives_events_in_order_and_in_range(values, rate, refractory_us, noise_hz, smooth_hz):
    config = CochleaConfig(channels=5, threshold=0.003, level_db=None, refractory_us=refractory_us, noise_hz=noise_hz, smooth_hz=smooth_hz)
    events = cochlea(np.array(values, np.float32), rate, config, 1)
    array = events.array
    make_events(array["t"], array["x"], None, array["p"], events.sensor_size)  # refuses what is out of range or order
    assert array["t"].min(initial=0) >= 0
    assert array["t"].max(initial=0) <= len(values) / rate * 1e6
    assert (np.diff(array["t"] * 5 + array["x"]) >= 0).all()
    if refractory_us:
        assert intervals_us(events, by_polarity=False).min(initial=refractory_us) >= refractory_us


def test_long_recordings_are_heard_as_one():
    """Blocks leave no seam: what a recording begins with is the same whatever follows."""
    whole = cochlea(rustle(0.5), RATE, PLAIN, 0).array
    begun = cochlea(rustle(0.5)[: RATE // 4], RATE, PLAIN, 0).array
    until = 240_000  # the last milliseconds hear the end
    assert_array_equal(whole[whole["t"] < until], begun[begun["t"] < until])


@pytest.mark.parametrize(("waveform", "reason"), [
    (np.zeros(0), "empty"), (np.zeros((2, 0)), "empty"), (np.array([0.0, np.nan, 1.0]), "not_finite"), (np.array([0.0, np.inf]), "not_finite"),
])  # fmt: skip
def test_waveforms_that_cannot_be_heard_are_explained(waveform, reason):
    with pytest.raises(ClipError) as failure:
        cochlea(waveform, RATE, CochleaConfig(), 0)
    assert failure.value.reason == reason


def test_frequencies_that_a_rate_cannot_carry_are_refused():
    assert CochleaConfig().frequencies_hz(8000)[-1] == pytest.approx(3600)
    assert CochleaConfig().frequencies_hz(48000)[[0, -1]] == pytest.approx([100, 8000])
    with pytest.raises(ClipError, match=r"wrong_rate: .*8000 Hz carries centre frequencies up to 3600 Hz"):
        cochlea(tone(100, rate=8000), 8000, CochleaConfig(f_max_hz=8000), 0)
    with pytest.raises(ClipError, match="wrong_rate"):
        cochlea(np.zeros(9), 200, CochleaConfig(), 0)


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"f_min_hz": 900, "f_max_hz": 900}, {"polarities": 3}, {"channel": 64}, {"rectifier": "no"}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        CochleaConfig(**settings)


# beside recorded sensors: another kind of cochlea and other sounds, so orders of magnitude are what can be compared


def recorded(path, address_bytes, tick_us, ear=None):
    records = np.fromfile(path, [("address", f">u{address_bytes}"), ("time", ">u4")])
    t, address = (records["time"] * tick_us).astype(np.int64), records["address"].astype(int)
    kept = slice(None) if ear is None else address // 128 == ear
    return make_events(t[kept], address[kept] % 128 // 2, None, address[kept] % 2, (64, 1, 2))


def locking(events, frequency_hz, channel):
    """Length of the mean of unit vectors that turn with a frequency: 1 where all ON events have one phase."""
    array = events.array[(events.array["x"] == channel) & (events.array["p"] == 1)]
    return np.abs(np.exp(2j * np.pi * frequency_hz * array["t"] / 1e6).mean())


def test_tone_locks_events_to_its_period_as_in_the_recorded_one(shared_data):
    path = shared_data / "events" / "cochlea_aedat" / "130Hz_mono_64ch_ONOFF_addr2b_ts02.aedat"
    sensor, made = recorded(path, 2, 0.2), cochlea(tone(130, 0.5), RATE, CochleaConfig(), 0)
    candidates = np.arange(120, 141, 0.25)
    for events, channel, least in ((sensor, 36, 0.5), (made, int(np.argmax(address_counts(made))), 0.9)):
        locked = np.array([locking(events, frequency, channel) for frequency in candidates])
        assert candidates[np.argmax(locked)] == pytest.approx(130, abs=1.5)
        assert locked.max() > least
        assert locked.min() < 0.2


def test_speech_has_rates_and_intervals_of_the_order_recorded(shared_data):
    """Median rate of an active channel, intervals and total rate within a factor of 3 of a recorded cochlea that hears speech."""
    path = shared_data / "events" / "cochlea_aedat" / "enun_stereo_64ch_ONOFF_addr4b_ts1.aedat"
    sensor = summarise([recorded(path, 4, 1, ear=0)])
    files = sorted((shared_data / "spoken_digits" / "recordings").glob("*_[0-1].wav"))
    made = summarise([cochlea(*sf.read(file, dtype="float32"), CochleaConfig(), 0) for file in files])
    assert 1 / 3 < made.rate_median_hz / sensor.rate_median_hz < 3
    assert 1 / 3 < made.event_rate_hz / sensor.event_rate_hz < 3
    for quantile in (25, 50, 75):
        assert 1 / 3 < made.interval_quantiles_us[quantile - 1] / sensor.interval_quantiles_us[quantile - 1] < 3
    assert made.on_share == pytest.approx(sensor.on_share, abs=0.02)
    assert 2000 < made.events < 20_000  # a digit


def test_every_channel_rate_of_speech_is_finite_and_spread(shared_data):
    files = sorted((shared_data / "spoken_digits" / "recordings").glob("*_0.wav"))
    rates = np.mean([address_rates(cochlea(*sf.read(file, dtype="float32"), CochleaConfig(), 0)) for file in files], axis=0)
    assert np.count_nonzero(rates > rates.max() / 100) > 50
