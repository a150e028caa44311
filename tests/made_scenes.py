"""Scenes, sounds and SOFA files with known properties, for the tests of the simulator."""

import h5py
import numpy as np

from audiodata.simulation import Scene

SQUARE = ((0.05, 0.05, 0.0), (-0.05, 0.05, 0.0), (-0.05, -0.05, 0.0), (0.05, -0.05, 0.0))
UNEVEN = ((0.04, 0.01, 0.0), (-0.03, 0.05, 0.01), (0.0, -0.06, 0.02), (0.02, -0.01, -0.03))  # no two pairs alike
RATE = 16000


def free_field(positions_m=UNEVEN, **keys):
    return Scene(positions_m=positions_m, **keys)


def band_limited_noise(samples, seed=0, top=0.9):
    """Noise with nothing above `top` of half the sample rate and quiet ends, float64 [sample]."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum[int(top * len(spectrum)) :] = 0
    return 0.1 * np.fft.irfft(spectrum, samples) * np.hanning(samples)


def measured_lag(later, reference):
    """Lag of one signal behind another in samples, to a few thousandths: where their cross-correlation peaks between samples."""
    size, finer = 2 * max(len(later), len(reference)), 32
    cross = np.fft.rfft(later, size) * np.conj(np.fft.rfft(reference, size))
    found = np.fft.irfft(np.concatenate([cross, np.zeros((finer - 1) * size // 2)]), finer * size)
    at = int(np.argmax(found))
    before, here, after = found[at - 1], found[at], found[(at + 1) % len(found)]
    at += 0.5 * (before - after) / (before - 2 * here + after)
    return (at if at < len(found) / 2 else at - len(found)) / finer


def write_sofa(path, taps, positions, *, kind="spherical", delays=None, listener=(0, 0, 0), view=(1, 0, 0), data="FIR"):
    """Write a small SOFA file: taps [measurement, receiver, sample], positions [measurement, 3]."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"Conventions": "SOFA", "SOFAConventions": "SimpleFreeFieldHRIR", "DataType": data})
        file["Data.IR"] = np.asarray(taps, dtype=np.float64)
        file["Data.SamplingRate"] = np.array([float(RATE)])
        file["Data.Delay"] = np.zeros((1, np.shape(taps)[1])) if delays is None else np.asarray(delays, dtype=np.float64)
        for name, values, form in (
            ("SourcePosition", positions, kind),
            ("ListenerPosition", [listener], "cartesian"),
            ("ListenerView", [view], "cartesian"),
            ("ListenerUp", [(0, 0, 1)], None),
        ):
            file[name] = np.asarray(values, dtype=np.float64)
            if form:
                file[name].attrs["Type"] = form
    return path
