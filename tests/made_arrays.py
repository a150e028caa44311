"""Sounds heard by arrays of microphones in free field, exactly, and what correlations of them should be, the slow way."""

from itertools import combinations

import numpy as np

from audiodata.geometry import arrival_times_s

SQUARE = [[0.05, 0.05, 0.0], [-0.05, 0.05, 0.0], [-0.05, -0.05, 0.0], [0.05, -0.05, 0.0]]
UNEVEN = [[0.06, 0.01, 0.0], [-0.02, 0.05, 0.0], [-0.05, -0.03, 0.0], [0.01, -0.07, 0.0]]


def delayed(sound, delays):
    """A sound taken as one period, delayed by fractions of samples: float64 [delay, sample], by a shift of its phases."""
    spectrum = np.fft.rfft(sound)
    spectrum[0] = spectrum[-1] = 0  # the Nyquist frequency can't be delayed by a fraction
    turns = np.outer(np.asarray(delays), np.arange(spectrum.size)) / sound.size
    return np.fft.irfft(spectrum * np.exp(-2j * np.pi * turns), sound.size)


def heard(positions_m, azimuth_deg, sample_rate, samples=16384, seed=0, elevation_deg=0.0):
    """Noise from far away in a direction, float32 [channel, sample]."""
    noise = 0.1 * np.random.default_rng(seed).standard_normal(samples)
    return delayed(noise, arrival_times_s(positions_m, azimuth_deg, elevation_deg) * sample_rate).astype(np.float32)


def spectra_of(waveform, config):
    """Spectra of centred frames under a periodic Hann window, complex128 [channel, frame, bin]."""
    n_fft, length = config.framing.n_fft, config.window_length
    window = np.zeros(n_fft)
    window[(n_fft - length) // 2 :][:length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    padded = np.pad(waveform.astype(np.float64), ((0, 0), (n_fft // 2, n_fft // 2)))
    starts = range(0, padded.shape[1] - n_fft + 1, config.hop_length)
    return np.array([[np.fft.rfft(channel[start : start + n_fft] * window) for start in starts] for channel in padded])


def gcc_by_irfft(waveform, config):
    """GCC-PHAT by one inverse FFT per pair and frame, float64 [pair, frame, lag]."""
    n_fft, finer = config.framing.n_fft, config.interpolation
    spectra = spectra_of(waveform, config)
    bins = np.arange(spectra.shape[2])
    counts = (bins >= config.band[0]) & (bins < config.band[1])
    both_signs = np.where((bins == 0) | (2 * bins == n_fft), 1, 2)[counts].sum()
    steps = config.max_lag * finer
    found = []
    for first, second in combinations(range(len(waveform)), 2):
        cross = spectra[first] * spectra[second].conj()
        size = np.abs(cross)
        phases = np.divide(cross, size, out=np.zeros_like(cross), where=(size > 0) & counts)
        if finer > 1 and n_fft % 2 == 0:
            phases[:, -1] /= 2
        correlation = np.fft.irfft(phases, n_fft * finer) * finer * n_fft / both_signs
        found.append(np.concatenate([correlation[:, correlation.shape[1] - steps :], correlation[:, : steps + 1]], axis=1))
    return np.array(found)
