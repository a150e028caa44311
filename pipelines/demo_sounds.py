"""The demo's own data set: four classes of synthesized sound, three kinds each, no two files alike.

Level, length, onset and background noise are drawn the same way for every class, so that a network has to listen. Some files are broken on
purpose, because real folders have such files.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

SAMPLE_RATE = 16000
Maker = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _decay(time: np.ndarray, start_s: float, decay_s: float) -> np.ndarray:
    return np.where(time >= start_s, np.exp(-np.maximum(time - start_s, 0) / decay_s), 0.0)


def _struck(time: np.ndarray, rng: np.random.Generator, base_hz: float, ratios: list[float], gap_s: float, decay_s: float) -> np.ndarray:
    """Decaying partials, struck again and again."""
    strikes = np.arange(rng.uniform(0, 0.2), time[-1], gap_s * rng.uniform(0.8, 1.2))
    envelope = sum(rng.uniform(0.5, 1) * _decay(time, start_s, decay_s) for start_s in strikes)
    partials = sum(np.sin(2 * np.pi * base_hz * ratio * time) / (1 + number) for number, ratio in enumerate(ratios))
    return envelope * partials


def church_bell(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low partials with the minor third of a cast bell."""
    return _struck(time, rng, rng.uniform(250, 500), [0.5, 1, 1.19, 1.5, 2, 2.51, 3.01], 1.0, 0.6)


def glass(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """High inharmonic partials that die fast."""
    return _struck(time, rng, rng.uniform(1400, 2400), [1, 1.63, 2.32, 2.9], 0.4, 0.12)


def wooden_bar(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bar free at both ends: partials at 1, 2.76 and 5.4 times the lowest."""
    return _struck(time, rng, rng.uniform(400, 900), [1, 2.76, 5.4], 0.25, 0.07)


def _harmonics(time: np.ndarray, rng: np.random.Generator, base_hz: float, count: int, drift: float) -> np.ndarray:
    """A harmonic buzz whose pitch wanders slowly."""
    wander = 1 + drift * np.sin(2 * np.pi * rng.uniform(0.2, 0.8) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(base_hz * wander) / SAMPLE_RATE
    return sum(rng.uniform(0.4, 1) * np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, count + 1))


def motor(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Many harmonics of a slow rotation."""
    return _harmonics(time, rng, rng.uniform(45, 110), 30, 0.05)


def transformer_hum(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Few harmonics of the mains, beating slowly."""
    beat = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 4) * time)
    return beat * _harmonics(time, rng, rng.choice([100.0, 120.0]), 6, 0.001)


def rotor(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low noise chopped by blades."""
    chopped = np.clip(np.sin(2 * np.pi * rng.uniform(9, 18) * time), 0, 1) ** 3
    return chopped * _noise(time, rng, 60, 700)


def _whistled(time: np.ndarray, hz: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    return envelope * np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE)


def chirps(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short upward sweeps."""
    phase = (time * rng.uniform(3, 7)) % 1
    return _whistled(time, rng.uniform(2200, 3500) * (1 + 0.5 * phase), np.where(phase < 0.5, np.sin(2 * np.pi * phase), 0))


def trill(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two pitches in fast alternation."""
    step = np.sign(np.sin(2 * np.pi * rng.uniform(14, 26) * time))
    return _whistled(time, rng.uniform(2500, 4500) * (1 + 0.08 * step), 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 2) * time))


def whistle(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Long gliding notes with vibrato."""
    glide = 1 + 0.25 * np.sin(2 * np.pi * rng.uniform(0.4, 1.2) * time + rng.uniform(0, 6))
    vibrato = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(5, 8) * time)
    return _whistled(time, rng.uniform(1500, 3000) * glide * vibrato, np.abs(np.sin(2 * np.pi * rng.uniform(0.5, 1) * time)))


def _noise(time: np.ndarray, rng: np.random.Generator, low_hz: float, high_hz: float) -> np.ndarray:
    sections = scipy.signal.butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE, output="sos")
    return scipy.signal.sosfilt(sections, rng.standard_normal(len(time)))


def rain(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hiss with single drops."""
    drops = (rng.random(len(time)) < rng.uniform(30, 120) / SAMPLE_RATE) * rng.uniform(2, 6, len(time))
    click = np.exp(-np.arange(200) / 25) * rng.standard_normal(200)
    return _noise(time, rng, 1500, 7500) + scipy.signal.fftconvolve(drops, click)[: len(time)]


def wind(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low noise in gusts."""
    gusts = 0.3 + np.abs(np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * time + rng.uniform(0, 6))) ** 2
    return gusts * _noise(time, rng, 80, rng.uniform(500, 1000))


def surf(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Broad noise that swells and ebbs."""
    swell = np.abs(np.sin(np.pi * rng.uniform(0.4, 0.8) * time + rng.uniform(0, 3))) ** 1.5
    return swell * _noise(time, rng, 200, 5000)


CLASSES: dict[str, tuple[Maker, ...]] = {
    "bird": (chirps, trill, whistle),
    "engine": (motor, transformer_hum, rotor),
    "percussion": (church_bell, glass, wooden_bar),
    "weather": (rain, wind, surf),
}


def synthesize(maker: Maker, rng: np.random.Generator) -> np.ndarray:
    """Make one recording.

    Parameters
    ----------
    maker : callable
        A kind of sound.
    rng : numpy Generator
        Decides everything that varies.

    Returns
    -------
    array of float32 [sample]
        1.5 to 2.5 s long, -38 to -18 dB RMS, over noise that is 12 to 30 dB lower.
    """
    time = np.arange(int(rng.uniform(1.5, 2.5) * SAMPLE_RATE)) / SAMPLE_RATE
    sound = maker(time, rng)
    sound = sound / np.sqrt(np.mean(sound**2))
    noise = rng.standard_normal(len(time)) * 10 ** (-rng.uniform(12, 30) / 20)
    mixed = (sound + noise) * 10 ** (rng.uniform(-38, -18) / 20)
    return np.clip(mixed, -0.99, 0.99).astype(np.float32)


def write_sounds(folder: Path, per_kind: int, seed: int) -> int:
    """Write the data set as ``<class>/<kind>-<number>.wav`` with four broken files among them, and return the number of files."""
    count = 0
    for class_name, makers in CLASSES.items():
        (folder / class_name).mkdir(parents=True, exist_ok=True)
        for maker in makers:
            for number in range(per_kind):
                rng = np.random.default_rng([seed, count])
                soundfile.write(folder / class_name / f"{maker.__name__}-{number:03d}.wav", synthesize(maker, rng), SAMPLE_RATE, "PCM_16")
                count += 1
    return count + _write_broken(folder)


def _write_broken(folder: Path) -> int:
    """Write what every real folder has: silence, a copy, half a file, and text with a sound's name."""
    whole = (folder / "bird" / "trill-000.wav").read_bytes()
    soundfile.write(folder / "weather" / "silent.wav", np.zeros(2 * SAMPLE_RATE, np.float32), SAMPLE_RATE, "PCM_16")
    (folder / "bird" / "trill-000-copy.wav").write_bytes(whole)
    (folder / "bird" / "half.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "engine" / "not-a-sound.wav").write_text("404 Not Found\n")
    return 4
