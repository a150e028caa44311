"""The same waveform, or the same events, give the same bytes on any processor and in any thread, and imports stay light."""

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from audiodata.events.record import make_events
from audiodata.features import FEATURES, extract, extract_events, kernels
from audiodata.features.differences import LevelDifferenceConfig, PhaseDifferenceConfig
from audiodata.features.spatial import GccPhatConfig
from audiodata.features.spectral import LogMelConfig, MfccConfig

ROOT = Path(__file__).resolve().parents[1]
FRAMING = {"window_length": 1024, "hop_length": 256}
CONFIGS = {
    "gcc_phat": GccPhatConfig(**FRAMING),
    "level_difference": LevelDifferenceConfig(**FRAMING, n_mels=51),
    "log_mel": LogMelConfig(window_length=1024, hop_length=256, n_mels=51, f_min_hz=250, top_db=80),
    "mfcc": MfccConfig(window_length=400, hop_length=160, n_mels=80, mel_scale="htk"),
    "phase_difference": PhaseDifferenceConfig(**FRAMING, n_mels=40),
}


def made(seed=0):
    """A tone over quiet noise (float64 frames), then noise (float32 frames)."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal((2, 16000))
    samples[:, :6000] = np.sin(np.arange(6000) * 0.3) + 1e-5 * samples[:, :6000]
    return np.round(samples * 2**20).astype(np.float32) / np.float32(2**20)


def made_events():
    """What a camera and a cochlea might give."""
    rng = np.random.default_rng(0)
    t, x, y, p = (np.sort(rng.integers(0, end, 20_000)) if end > 128 else rng.integers(0, end, 20_000) for end in (500_000, 128, 128, 2))
    return {"visual": make_events(t, x, y, p, (128, 128, 2)), "auditory": make_events(t, x // 2, None, p, (64, 1, 2))}


def event_configs():
    """Every feature of events, with all steps before it; those of an extra where it is installed."""
    steps = {"visual": {"remove_harmonics": True, "stabilise": "mnist_dvs", "denoise_us": 3000, "size": 28}, "auditory": {"denoise_us": 500}}
    known = {name: feature for name, feature in FEATURES.items() if feature.source in steps}
    found = {name: feature for name, feature in known.items() if all(map(importlib.util.find_spec, feature.packages))}
    return {name: feature.config(**steps[feature.source]) for name, feature in found.items()}


def digest():
    """SHA-256 of the features' bytes."""
    found = extract(made(), 16000, CONFIGS) | extract_events(made_events(), event_configs(), window_s=0.5)
    found["finer"] = extract(made(), 16000, {"gcc_phat": GccPhatConfig(window_length=401, interpolation=4)})["gcc_phat"]
    return hashlib.sha256(b"".join(found[name].tobytes() for name in sorted(found))).hexdigest()


def elsewhere(code, **environment):
    """What a new process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        env=os.environ | environment,
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.strip()


DIGEST = "import sys; sys.path[:0] = ['..', '.']; import test_features_bytes; print(test_features_bytes.digest())"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the promise is for x86-64")
def test_a_processor_without_wide_vectors_gives_the_same_bytes():
    wide = [name for name in np._core._multiarray_umath.__cpu_dispatch__ if np._core._multiarray_umath.__cpu_features__[name]]
    plain = elsewhere(
        DIGEST,
        NUMBA_CPU_NAME="x86-64",
        NUMBA_CPU_FEATURES="",
        NPY_DISABLE_CPU_FEATURES=" ".join(wide),
        GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
    )
    assert plain == digest()


def test_threads_do_not_disturb_each_other():
    expected = digest()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: digest(), range(8))) == {expected}


def test_importing_the_features_loads_nothing_heavy():
    heavy = ["torch", "dask", "librosa", "yt_dlp", "numba", "scipy"]
    code = "import sys; sys.path.insert(0, '..'); import audiodata.features; print(*sys.modules)"
    loaded = elsewhere(code).split()
    assert "audiodata.features" in loaded
    assert not set(heavy) & set(loaded)


def test_without_a_place_for_compiled_code_it_is_compiled_anew(monkeypatch):
    njit = numba.njit

    def no_place(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", no_place)
    assert kernels.compiled(lambda value: value + 1)(1) == 2
