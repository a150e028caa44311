"""Recordings of four microphones in free field with known directions, and a cache of them, for the tests of directions."""

from pathlib import Path

import numpy as np
import soundfile as sf
from array_sounds import SAMPLE_RATE, UNEVEN, heard

from audiodata.catalog import parse_catalog
from pipelines import build

FRAMES = {"window_length": 512, "hop_length": 256}
CLASSES = ("low", "high")
TABLES = {
    "dataset": {"name": "sloclas", "path": "recordings"},
    "split": {"scheme": "held_out", "held_out": {"test": ["low/0", "high/0"]}},
    "audio": {"sample_rate": SAMPLE_RATE, "channels": 4},
    "array": {"positions_m": UNEVEN},
    "segment": {"length_s": 0.25},
    "features": {
        "gcc_phat": FRAMES | {"max_lag": 9, "interpolation": 4},
        "log_mel": FRAMES | {"n_mels": 16},
        "level_difference": FRAMES | {"n_mels": 16},
        "phase_difference": FRAMES | {"n_mels": 16},
    },
}


def write_recordings(root: Path, azimuths_deg=(30, 120, 210, 300), sounds: int = 3, seconds: float = 0.25) -> None:
    """Noises of two classes, low and high, as ``recordings/<class>/<azimuth>/<id>.wav``; the same sound at every azimuth."""
    samples = round(seconds * SAMPLE_RATE)
    slopes = {"low": -0.5, "high": 0.0}  # of the amplitude over frequency, as an exponent
    for number, name in enumerate(CLASSES):
        for sound in range(sounds):
            spectrum = np.fft.rfft(np.random.default_rng(10 * number + sound).standard_normal(samples))
            mono = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1) ** slopes[name], samples)
            for azimuth_deg in azimuths_deg:
                folder = root / "recordings" / name / str(azimuth_deg)
                folder.mkdir(parents=True, exist_ok=True)
                waveform = heard(0.1 * mono / mono.std(), UNEVEN, azimuth_deg)
                sf.write(folder / f"{sound}.wav", waveform.T, SAMPLE_RATE, subtype="FLOAT")


def build_located(root: Path, out: Path, **tables) -> Path:
    """Build a cache of what `write_recordings` wrote."""
    build.build(parse_catalog(TABLES | tables, "located", "located"), root, out)
    return out
