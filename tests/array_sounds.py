"""Sounds as an array of microphones hears them in free field, exact to the float, and their cross-correlations by definition."""

from itertools import combinations

import numpy as np

from audiodata.geometry import arrival_times_s

SAMPLE_RATE = 16000
# Of a round array of 64 mm, and of one that looks the same from no two sides.
ROUND = ((-0.032, 0.0, 0.0), (0.0, -0.032, 0.0), (0.032, 0.0, 0.0), (0.0, 0.032, 0.0))
UNEVEN = ((0.05, 0.01, 0.0), (-0.06, 0.03, 0.0), (0.02, -0.09, 0.0), (-0.01, 0.07, 0.0))


def delayed(mono, delays_s, sample_rate=SAMPLE_RATE):
    """Waveform [channel, sample]: the sound, periodic, delayed by any number of seconds through its spectrum's phase."""
    spectrum = np.fft.rfft(mono)
    spectrum[-1] = 0  # a delayed Nyquist frequency is not real
    frequencies_hz = np.fft.rfftfreq(len(mono), 1 / sample_rate)
    return np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequencies_hz * np.asarray(delays_s)[:, None]), len(mono))


def heard(mono, positions_m, azimuth_deg, sample_rate=SAMPLE_RATE):
    """Waveform [channel, sample] of a sound from far away."""
    return delayed(mono, arrival_times_s(positions_m, azimuth_deg), sample_rate)


def correlations(waveform, max_lag=25, interpolation=1):
    """GCC-PHAT [pair, lag] of the whole waveform by definition: irfft of the normalised cross spectrum."""
    spectra = np.fft.rfft(waveform)
    points = interpolation * waveform.shape[1]
    found = []
    for a, b in combinations(range(len(waveform)), 2):
        cross = spectra[a] * spectra[b].conj()
        cross[-1] = 0
        phase = np.divide(cross, np.abs(cross), out=np.zeros_like(cross), where=np.abs(cross) > 1e-12)
        lags = np.fft.irfft(phase, points) * interpolation
        found.append(np.roll(lags, max_lag * interpolation)[: 2 * max_lag * interpolation + 1])
    return np.array(found, np.float32)
