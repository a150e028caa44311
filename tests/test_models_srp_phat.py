"""Directions by calculation: every azimuth found in free field, wrong arrays found out, the same numbers as the library's."""

from functools import cache

import numpy as np
import pytest
import torch
from array_sounds import ROUND, SAMPLE_RATE, UNEVEN, correlations, heard

from audiodata import localization
from audiodata.errors import AudioDataError
from audiodata.features.spatial import gcc_phat
from audiodata.geometry import circular_error_deg, pair_lags
from models.located import decode_azimuth
from models.metrics import Meter, parameter_count
from models.srp_phat import ArgmaxConfig, GccArgmax, SrpPhat, SrpPhatConfig

AZIMUTHS = np.arange(0.0, 360.0, 5.0)


@cache
def sounds(positions=ROUND, **lag_axis):
    """GCC-PHAT of noise from each of 72 azimuths, [azimuth, pair, lag, frame]."""
    noise = np.random.default_rng(0).standard_normal(4096)
    found = np.stack([correlations(heard(noise, positions, azimuth), **lag_axis) for azimuth in AZIMUTHS])
    return torch.from_numpy(found).unsqueeze(-1)


def made(kind, gcc, positions=ROUND, **settings):
    config = {SrpPhat: SrpPhatConfig, GccArgmax: ArgmaxConfig}[kind](positions_m=positions, sample_rate=SAMPLE_RATE, **settings)
    return kind(config, {"gcc_phat": tuple(gcc.shape[1:])}, 3)


def errors(network, gcc):
    return circular_error_deg(decode_azimuth(network({"gcc_phat": gcc}).azimuth).numpy(), AZIMUTHS)


@pytest.mark.parametrize("positions", [ROUND, UNEVEN])
@pytest.mark.parametrize(
    ("between", "interpolation", "largest"),
    # A line between integer lags rounds the peak off; one between eighths of a sample does not. Integer lags tell all if read as a signal.
    [("sinc", 1, 1.0), ("sinc", 4, 1.0), ("linear", 8, 1.0)],
)
def test_steered_power_finds_all_72_azimuths(positions, between, interpolation, largest):
    gcc = sounds(positions, interpolation=interpolation)
    network = made(SrpPhat, gcc, positions, interpolation=interpolation, between=between)
    assert errors(network, gcc).max() <= largest


@pytest.mark.parametrize("positions", [ROUND, UNEVEN])
def test_peaks_find_all_72_azimuths(positions):
    gcc = sounds(positions, interpolation=8)
    assert errors(made(GccArgmax, gcc, positions, interpolation=8), gcc).max() <= 1.0


@pytest.mark.parametrize("kind", [SrpPhat, GccArgmax])
def test_microphones_in_another_order_are_looked_for_elsewhere(kind):
    gcc = sounds(UNEVEN, interpolation=8)
    swapped = (UNEVEN[1], UNEVEN[0], *UNEVEN[2:])
    assert np.median(errors(made(kind, gcc, swapped, interpolation=8), gcc)) > 20


@pytest.mark.parametrize("kind", [SrpPhat, GccArgmax])
def test_an_array_seen_in_a_mirror_finds_the_mirror_image(kind):
    gcc = sounds(UNEVEN, interpolation=8)
    mirrored = tuple((x, -y, z) for x, y, z in UNEVEN)
    found = decode_azimuth(made(kind, gcc, mirrored, interpolation=8)({"gcc_phat": gcc}).azimuth).numpy()
    assert circular_error_deg(found, -AZIMUTHS).max() <= 2


def test_the_cached_feature_leads_to_the_same_directions():
    """Frames under a Hann window in place of one whole period; sounds at both ends of it differ a little."""
    noise = 0.1 * np.random.default_rng(3).standard_normal(8192)
    waveforms = [heard(noise, ROUND, azimuth).astype(np.float32) for azimuth in AZIMUTHS]
    gcc = torch.from_numpy(np.stack([gcc_phat(waveform, window_length=1024, hop_length=512) for waveform in waveforms])).movedim(2, 3)
    assert errors(made(SrpPhat, gcc), gcc).max() <= 1.0


def test_two_microphones_cannot_tell_front_from_back_and_say_so_in_equal_scores():
    two = ((0.0, 0.05, 0.0), (0.0, -0.05, 0.0))
    gcc = torch.from_numpy(correlations(heard(np.random.default_rng(0).standard_normal(4096), two, 30.0)))[None, ..., None]
    scores = made(SrpPhat, gcc, two)({"gcc_phat": gcc}).azimuth[0]
    assert scores[30] == pytest.approx(scores[150].item(), abs=1e-6)
    assert scores[30] > scores[330]


def test_power_is_the_sum_of_the_correlations_at_the_geometric_lags():
    """A slow way there: shift the spectrum of each pair back by its lag and sum its real part (a Dirichlet kernel in place of the sinc)."""
    noise = np.random.default_rng(0).standard_normal(4096)
    waveform = heard(noise, UNEVEN, 77.0)
    gcc = torch.from_numpy(correlations(waveform, max_lag=400))[None, ..., None]
    spectra, expected = np.fft.rfft(waveform), np.zeros(360)
    for pair, (a, b) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        cross = (spectra[a] * spectra[b].conj())[1:-1]
        phase = cross / np.abs(cross)
        turns = np.outer(pair_lags(UNEVEN, np.arange(360.0), SAMPLE_RATE)[:, pair], np.arange(1, len(phase) + 1)) / len(noise)
        expected += (phase * np.exp(2j * np.pi * turns)).real.sum(1) * 2 / len(noise)
    found = made(SrpPhat, gcc, UNEVEN, max_lag=400)({"gcc_phat": gcc}).azimuth[0]
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("between", ["linear", "sinc"])
def test_steered_power_is_that_of_the_library(between):
    gcc = sounds(UNEVEN, interpolation=4)[::9].expand(-1, -1, -1, 2)
    network = made(SrpPhat, gcc, UNEVEN, interpolation=4, between=between)
    found = network({"gcc_phat": gcc}).azimuth
    for each, scores in zip(gcc, found, strict=True):
        frames = each.movedim(1, 2).numpy()
        power = localization.srp_phat(frames, network.lags, UNEVEN, SAMPLE_RATE, np.arange(360.0), between=between)
        np.testing.assert_allclose(scores, power.mean(0), atol=1e-4)


def test_peaks_lead_to_the_azimuths_of_the_library():
    gcc = sounds(UNEVEN, interpolation=2) + 0.1 * torch.randn(72, 6, 101, 3, generator=torch.Generator().manual_seed(0))
    network = made(GccArgmax, gcc, UNEVEN, interpolation=2)
    found = decode_azimuth(network({"gcc_phat": gcc}).azimuth).tolist()
    place = (network.lags, UNEVEN, SAMPLE_RATE, np.arange(360.0))
    assert found == [localization.argmax_azimuth_deg(each.movedim(1, 2).numpy(), *place) for each in gcc]


@pytest.mark.parametrize("kind", [SrpPhat, GccArgmax])
def test_says_nothing_about_classes_and_learns_nothing(kind):
    gcc = sounds()[:2]
    network = made(kind, gcc)
    meter = Meter(network)
    with meter.watching():
        output = network({"gcc_phat": gcc})
    assert not kind.classifies
    assert output.azimuth.shape == (2, 360)
    assert torch.equal(output.label, torch.zeros(2, 3))
    assert (parameter_count(network), len(network.state_dict()), meter.macs, meter.spikes) == (0, 0, {}, {})


@pytest.mark.parametrize("kind", [SrpPhat, GccArgmax])
def test_silence_gives_finite_scores(kind):
    gcc = torch.zeros(2, 6, 51, 4)
    assert made(kind, gcc)({"gcc_phat": gcc}).azimuth.isfinite().all()


def test_peaks_beyond_what_the_array_allows_are_not_looked_at():
    gcc = sounds(ROUND, interpolation=8)
    network = made(GccArgmax, gcc, interpolation=8)
    before = network({"gcc_phat": gcc}).azimuth
    gcc = gcc.clone()
    gcc[:, :, :100] = 2.0  # lags below -12.5 samples, of 3 that are possible
    assert torch.equal(network({"gcc_phat": gcc}).azimuth, before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"positions_m": ()}, ["positions_m", "[array]"]),
        ({"sample_rate": None}, ["sample_rate"]),
        ({"positions_m": UNEVEN[:3]}, ["expected 3 pairs", "got 6 x 51"]),
        ({"interpolation": 2}, ["101 lags", "got 6 x 51"]),
        ({"max_lag": 2}, ["max_lag = 2", "samples apart"]),
    ],
)
def test_an_array_that_does_not_fit_is_one_line(settings, words):
    config = SrpPhatConfig(**{"positions_m": UNEVEN, "sample_rate": SAMPLE_RATE} | settings)
    with pytest.raises(AudioDataError) as error:
        SrpPhat(config, {"gcc_phat": (6, 51, 4)}, 3)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)
