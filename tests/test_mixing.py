"""Noise in waveforms: its level, where it comes from, and that it depends on the seed and the example alone."""

import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.clips import clips_table
from audiodata.errors import AudioDataError, CatalogError, MetadataError
from audiodata.geometry import SPEED_OF_SOUND_M_S, circular_error_deg, pair_lags, pairs
from audiodata.mixing import NoiseSettings, add_noise, draw_azimuth_deg, draw_snr_db, make_noise, mix
from audiodata.noise_bank import NoiseBank, suited
from audiodata.noise_list import list_noises, list_recordings, noise_recordings
from audiodata.settings import validated

RATE = 16000
SQUARE = [[0.1, 0.1, 0.0], [-0.1, 0.1, 0.0], [-0.1, -0.1, 0.0], [0.1, -0.1, 0.0]]
KINDS = ("white", "diffuse", "directional")


def noise(kind, example_id="a#0", samples=RATE, **changes):
    return make_noise(NoiseSettings(kind=kind, snr_db=0.0, **changes), example_id, 4, samples, RATE, SQUARE)


def db(power):
    return 10 * np.log10(power)


def measured_snr_db(clean, noisy, valid=None):
    added = noisy.astype(np.float64) - clean
    return db(np.mean(np.square(clean[:, :valid], dtype=np.float64)) / np.mean(added[:, :valid] ** 2))


def sound(seed=0, samples=RATE, channels=4):
    level = np.linspace(0.02, 0.3, samples)
    return (level * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def fine_lag(first, second, steps=16):
    """Samples by which `first` comes later, from the cross-correlation on a grid of 1/steps sample."""
    size = 4 * len(first)
    cross = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    found = np.fft.irfft(np.concatenate([cross, np.zeros((steps - 1) * (len(cross) - 1))]), steps * size)
    at = int(np.argmax(found))
    return (at if at < len(found) // 2 else at - len(found)) / steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
def test_measured_ratio_is_the_stated_one(kind, snr_db):
    clean = sound()
    noisy = add_noise(NoiseSettings(kind=kind, snr_db=snr_db), clean, "a#0", RATE, positions_m=SQUARE, source_azimuth_deg=10.0)
    assert noisy.dtype == np.float32
    assert measured_snr_db(clean, noisy) == pytest.approx(snr_db, abs=0.01)


@given(snr_db=st.floats(-20, 30), valid=st.integers(1, 500), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_ratio_counts_the_filled_samples_alone(snr_db, valid, seed):
    clean = sound(seed, 500)
    clean[:, valid:] = 0.0
    added = sound(seed + 1, 500)
    noisy = mix(clean, added, snr_db, valid)
    assert measured_snr_db(clean, noisy, valid) == pytest.approx(snr_db, abs=0.01)
    if valid < 500:
        assert np.any(noisy[:, valid:] != 0.0)  # noise goes on where the clip has ended


def test_silence_stays_silent_and_silent_noise_is_refused():
    silent = np.zeros((4, 100), dtype=np.float32)
    assert not np.any(mix(silent, sound(samples=100), 10.0))
    with pytest.raises(MetadataError, match="silent"):
        mix(sound(samples=100), silent, 10.0)
    with pytest.raises(ValueError, match="shape"):
        mix(sound(samples=100), silent[:2], 10.0)


def test_white_noise_is_uncorrelated_between_channels():
    correlations = np.corrcoef(noise("white", samples=4 * RATE))
    assert np.abs(correlations - np.eye(4)).max() < 4 / np.sqrt(4 * RATE)


def test_diffuse_noise_has_the_coherence_of_a_spherical_field():
    long = noise("diffuse", samples=60 * RATE)
    frequencies, spectra = scipy.signal.csd(long[:, np.newaxis], long[np.newaxis], RATE, nperseg=1024)
    for first, second in pairs(4):
        distance_m = np.linalg.norm(np.subtract(SQUARE[first], SQUARE[second]))
        phase = 2 * np.pi * frequencies[1:] * distance_m / SPEED_OF_SOUND_M_S
        power = np.sqrt(spectra[first, first].real * spectra[second, second].real)
        found = (spectra[first, second] / power)[1:]
        assert np.abs(found.real - np.sin(phase) / phase).max() < 0.12
        assert np.sqrt(np.mean((found.real - np.sin(phase) / phase) ** 2)) < 0.04
        assert np.sqrt(np.mean(found.imag**2)) < 0.04


def test_diffuse_noise_is_as_loud_in_every_channel():
    levels = db(np.mean(noise("diffuse", samples=20 * RATE).astype(np.float64) ** 2, axis=1))
    assert np.ptp(levels) < 0.3


@pytest.mark.parametrize("azimuth_deg", [0.0, 37.0, 90.0, 200.0, 271.0])
def test_directional_noise_arrives_as_geometry_says(azimuth_deg):
    found = noise("directional", azimuth_deg=azimuth_deg, samples=8000)
    for (first, second), lag in zip(pairs(4), pair_lags(SQUARE, azimuth_deg, RATE), strict=True):
        assert fine_lag(found[first], found[second]) == pytest.approx(lag, abs=1 / 16)


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_colour_is_the_stated_slope(kind, slope):
    found = noise(kind, samples=20 * RATE, slope_db_per_octave=slope)
    frequencies, powers = scipy.signal.welch(found, RATE, nperseg=4096)
    octaves = [db(powers[:, (frequencies >= low) & (frequencies < 2 * low)].mean()) for low in (500, 1000, 2000)]
    assert np.diff(octaves) == pytest.approx([slope, slope], abs=0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_depends_on_seed_and_example_alone(kind):
    first = noise(kind)
    assert np.array_equal(first, noise(kind))
    assert np.array_equal(first, make_noise(NoiseSettings(kind=kind, snr_db=(5, 30)), "a#0", 4, RATE, RATE, SQUARE))
    assert not np.array_equal(first, noise(kind, "a#1"))
    assert not np.array_equal(first, noise(kind, seed=1))
    assert abs(np.corrcoef(first[0], noise(kind, "a#1")[0])[0, 1]) < 0.05


def test_ratio_is_drawn_between_its_limits():
    drawn = [draw_snr_db(NoiseSettings(kind="white", snr_db=(-5.0, 20.0)), f"clip{number}#0") for number in range(400)]
    assert min(drawn) >= -5.0
    assert max(drawn) <= 20.0
    assert np.histogram(drawn, 5, (-5.0, 20.0))[0].min() > 50
    assert drawn[3] == draw_snr_db(NoiseSettings(kind="white", snr_db=(-5.0, 20.0)), "clip3#0")
    assert draw_snr_db(NoiseSettings(kind="white", snr_db=7.0), "x") == 7.0


@pytest.mark.parametrize("source_deg", [0.0, 15.0, 350.0])
def test_noise_comes_from_another_direction(source_deg):
    wanted = NoiseSettings(kind="directional", snr_db=0.0, min_distance_deg=40.0)
    drawn = np.array([draw_azimuth_deg(wanted, f"{number}#0", source_deg) for number in range(500)])
    distances = circular_error_deg(drawn, source_deg)
    assert drawn.min() >= 0.0
    assert drawn.max() < 360.0
    assert 40.0 <= distances.min() < 45.0
    assert distances.max() > 175.0
    unknown = [draw_azimuth_deg(wanted, f"{number}#0", np.nan) for number in range(500)]
    assert np.histogram(unknown, 4, (0, 360))[0].min() > 80
    assert draw_azimuth_deg(NoiseSettings(kind="directional", snr_db=0.0, azimuth_deg=12.0), "x", 12.0) == 12.0


@pytest.mark.parametrize(("keys", "named"), [
    ({"kind": "recorded", "snr_db": 0}, "recordings"),
    ({"kind": "white", "snr_db": 0, "recordings": "noise"}, "made"),
    ({"kind": "recorded", "snr_db": 0, "recordings": "noise", "label": "noise:"}, "leave one out"),
    ({"kind": "white", "snr_db": [20, 0]}, "lowest"),
    ({"kind": "pink", "snr_db": 0}, "kind"),
    ({"kind": "white"}, "snr_db"),
    ({"kind": "white", "snr_db": 0, "azimuth": 3}, "azimuth_deg"),
])
def test_wrong_settings_are_explained(keys, named):
    with pytest.raises(CatalogError, match=named):
        validated(NoiseSettings, keys, "[noise]")


def test_missing_or_wrong_geometry_is_explained():
    for kind in ("diffuse", "directional"):
        with pytest.raises(CatalogError, match="positions_m"):
            make_noise(NoiseSettings(kind=kind, snr_db=0), "a#0", 4, 100, RATE)
        with pytest.raises(CatalogError, match="3 positions, the waveform 4"):
            make_noise(NoiseSettings(kind=kind, snr_db=0), "a#0", 4, 100, RATE, SQUARE[:3])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Four recordings of two seconds, one for each azimuth, of 4 channels at 32 kHz; the azimuth is their frequency, in a way."""
    root = tmp_path_factory.mktemp("noises")
    (root / "noise").mkdir()
    times = np.arange(64000) / 32000
    for azimuth in (0, 90, 180, 270):
        channels = [np.sin(2 * np.pi * (500 + 10 * azimuth) * times + channel) * (1 + channel) / 10 for channel in range(4)]
        sf.write(root / "noise" / f"wind_{azimuth}_01.wav", np.stack(channels, axis=1), 32000, subtype="FLOAT")
    return root


def recorded(root, source_deg=None, example_id="a#0", samples=RATE, **changes):
    wanted = NoiseSettings(kind="recorded", snr_db=0, recordings="noise", **changes)
    bank = NoiseBank(root, list_recordings(root, wanted.recordings, wanted.azimuth_pattern))
    return make_noise(wanted, example_id, 4, samples, RATE, None, source_deg, bank)


def frequency_hz(waveform):
    return np.argmax(np.abs(np.fft.rfft(waveform[0]))) * RATE / waveform.shape[1]


def test_recordings_are_listed_with_what_they_are(recordings):
    listed = list_recordings(recordings, "noise", "_(?P<azimuth>[0-9]+)_")
    assert [one.clip.path for one in listed] == [f"noise/wind_{azimuth}_01.wav" for azimuth in (0, 180, 270, 90)]
    assert [one.azimuth_deg for one in listed] == [0.0, 180.0, 270.0, 90.0]
    assert {(one.sample_rate, one.samples) for one in listed} == {(32000, 64000)}
    assert listed == list_recordings(recordings, "noise/*.wav", "_(?P<azimuth>[0-9]+)_")
    assert len({one.sha256 for one in listed}) == 4


@pytest.mark.parametrize("source_deg", [5.0, 95.0, 175.0, 265.0])
def test_recorded_noise_comes_from_another_direction(recordings, source_deg):
    pattern = {"azimuth_pattern": "_(?P<azimuth>[0-9]+)_", "min_distance_deg": 100.0}
    azimuths = {(frequency_hz(recorded(recordings, source_deg, f"{n}#0", **pattern)) - 500) / 10 for n in range(20)}
    assert min(circular_error_deg(azimuth, source_deg) for azimuth in azimuths) > 170
    stated = recorded(recordings, source_deg, azimuth_pattern="_(?P<azimuth>[0-9]+)_", azimuth_deg=100.0)
    assert frequency_hz(stated) == pytest.approx(1400, abs=2)
    assert len({frequency_hz(recorded(recordings, source_deg, f"{n}#0")) for n in range(20)}) == 4  # azimuths are not known


def test_recorded_noise_is_a_stretch_of_the_file(recordings):
    found = recorded(recordings, samples=4000)
    assert found.shape == (4, 4000)
    assert np.array_equal(found, recorded(recordings, samples=4000))
    levels = np.sqrt(np.mean(found[:, 100:-100].astype(np.float64) ** 2, axis=1) * 2)
    assert levels == pytest.approx([0.1, 0.2, 0.3, 0.4], rel=0.02)
    picked = make_noise(
        NoiseSettings(kind="recorded", snr_db=0, recordings="noise", channels=(3, 1)), "a#0", 2, 4000, RATE,
        bank=NoiseBank(recordings, list_recordings(recordings, "noise")),
    )
    assert np.array_equal(picked, found[[3, 1]])


def test_short_recordings_are_repeated(recordings):
    found = recorded(recordings, samples=3 * RATE)
    assert found.shape == (4, 3 * RATE)
    assert np.array_equal(found[:, 2 * RATE :], found[:, :RATE])


def test_placed_recording_arrives_as_geometry_says(tmp_path):
    sf.write(tmp_path / "mono.wav", np.random.default_rng(0).standard_normal(3 * RATE) / 8, RATE, subtype="FLOAT")
    wanted = NoiseSettings(kind="directional", snr_db=0, recordings="mono.wav", azimuth_deg=70.0)
    bank = NoiseBank(tmp_path, list_recordings(tmp_path, "mono.wav"))
    found = make_noise(wanted, "a#0", 4, 8000, RATE, SQUARE, bank=bank)
    for (first, second), lag in zip(pairs(4), pair_lags(SQUARE, 70.0, RATE), strict=True):
        assert fine_lag(found[first], found[second]) == pytest.approx(lag, abs=1 / 16)


def test_suited_takes_the_farthest_where_none_is_far_enough(recordings):
    listed = list_recordings(recordings, "noise", "_(?P<azimuth>[0-9]+)_")
    assert [one.azimuth_deg for one in suited(listed[:1], None, 3.0, 90.0)] == [0.0]
    assert [one.azimuth_deg for one in suited(listed, None, 3.0, 179.0)] == [180.0]
    assert len(suited(listed, None, None, 30.0)) == 4


def test_noises_of_a_data_set_are_found_by_their_label(recordings):
    paths = [f"noise/wind_{azimuth}_01.wav" for azimuth in (0, 90, 180, 270)]
    table = clips_table({
        "clip_id": ["w0", "w90", "c", "bell"], "path": paths, "label": ["", "", "", "bell"], "channels": ["", "2,1", "", ""],
        "labels": ["noise:wind", "noise:wind", "noise:crowd", "bell"], "azimuth_deg": [0.0, 90.0, np.nan, 270.0],
        "reason": ["other_class"] * 3 + [""],
    })
    listed = list_noises(table, recordings, "noise:")
    assert [(one.clip.clip_id, one.azimuth_deg) for one in listed] == [("w0", 0.0), ("c", None), ("w90", 90.0)]
    assert listed == noise_recordings(NoiseSettings(kind="recorded", snr_db=0, label="noise:"), table, recordings)
    assert len(list_noises(table, recordings, "noise:wind")) == 2
    (picked,) = (one for one in listed if one.clip.clip_id == "w90")
    drawn = NoiseBank(recordings, [picked]).draw(np.random.default_rng(0), 4000, RATE)
    levels = np.sqrt(np.mean(drawn[:, 100:-100].astype(np.float64) ** 2, axis=1) * 2)
    assert levels == pytest.approx([0.3, 0.2], rel=0.02)
    with pytest.raises(MetadataError, match="begins so"):
        list_noises(table, recordings, "hum")
    assert noise_recordings(NoiseSettings(kind="white", snr_db=0), table, recordings) == ()


@pytest.mark.parametrize(("where", "pattern", "named"), [
    ("../noise", "", "leaves the data root"),
    ("/noise", "", "leaves the data root"),
    ("wind", "", "no noise recordings"),
    ("noise", "(", "regular expression"),
    ("noise", "_([0-9]+)_", "group `azimuth`"),
    ("noise", "_(?P<azimuth>[a-z]+)_", "no azimuth"),
])
def test_wrong_recordings_are_explained(recordings, where, pattern, named):
    with pytest.raises(AudioDataError, match=named):
        list_recordings(recordings, where, pattern)


def test_unfit_recordings_are_explained(tmp_path, recordings):
    with pytest.raises(CatalogError, match="4 channels, 2 are needed"):
        wanted = NoiseSettings(kind="recorded", snr_db=0, recordings="noise")
        make_noise(wanted, "a#0", 2, 100, RATE, bank=NoiseBank(recordings, list_recordings(recordings, "noise")))
    sf.write(tmp_path / "silent.wav", np.zeros((100, 4)), RATE)
    with pytest.raises(MetadataError, match="silent"):
        recorded_silence = NoiseSettings(kind="recorded", snr_db=0, recordings=".")
        make_noise(recorded_silence, "a#0", 4, 100, RATE, bank=NoiseBank(tmp_path, list_recordings(tmp_path, ".")))
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(MetadataError, match=r"text\.wav"):
        list_recordings(tmp_path, ".")
