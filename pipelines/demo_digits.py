"""Digits to see and to hear, made here for the demo of events: drawn in two fonts, and spoken by nobody as sequences of formants.

The images vary in font, size, slant and place, the sounds in the speaker's pitch and vocal tract, in tempo and level. Neither is MNIST or speech:
they show how the chain works, not how well a network does.
"""

import gzip
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy.signal import lfilter

from audiodata.audio import write_wav

SIDE = 28
SAMPLE_RATE = 16_000
FONTS = ("DejaVu Sans", "DejaVu Serif")
# first and second formant in Hz at the beginning, middle and end of each digit
FORMANTS_HZ = (
    ((300, 2200), (450, 1900), (500, 900)),
    ((350, 700), (650, 1100), (300, 1500)),
    ((250, 1800), (300, 1200), (300, 800)),
    ((300, 1400), (300, 2300), (280, 2700)),
    ((500, 900), (550, 850), (450, 1300)),
    ((700, 1200), (600, 1700), (350, 2200)),
    ((400, 2100), (400, 2000), (900, 2600)),
    ((550, 1800), (500, 1500), (450, 1500)),
    ((450, 2200), (350, 2400), (250, 2000)),
    ((350, 1500), (750, 1300), (300, 2100)),
)
BANDWIDTH_HZ = 90.0
GLIDE_STEPS = 24


def write_images(folder: Path, per_digit: int, seed: int) -> int:
    """Write ``digits-images-idx3-ubyte.gz`` and its labels; return how many images there are."""
    rng = np.random.default_rng([seed, 1])
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_digit)
    images = np.stack([draw_digit(int(label), rng) for label in labels])
    folder.mkdir(parents=True, exist_ok=True)
    _write_idx(folder / "digits-images-idx3-ubyte.gz", images)
    _write_idx(folder / "digits-labels-idx1-ubyte.gz", labels)
    return len(labels)


def _write_idx(path: Path, values: np.ndarray) -> None:
    header = (0x800 | values.ndim).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))


def draw_digit(digit: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a digit, uint8 [row, column], white on black."""
    face = font_manager.findfont(font_manager.FontProperties(family=FONTS[rng.integers(len(FONTS))]))
    font = ImageFont.truetype(face, int(rng.integers(20, 27)))
    image = Image.new("L", (SIDE, SIDE))
    at = (SIDE / 2 + rng.uniform(-1.5, 1.5), SIDE / 2 + rng.uniform(-1.5, 1.5))
    ImageDraw.Draw(image).text(at, str(digit), fill=255, font=font, anchor="mm")
    slant = rng.uniform(-0.25, 0.25)
    sheared = image.transform(image.size, Image.Transform.AFFINE, (1, slant, -slant * SIDE / 2, 0, 1, 0), Image.Resampling.BILINEAR)
    return np.asarray(sheared.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR), dtype=np.uint8)


def write_voices(folder: Path, speakers: int, per_digit: int, seed: int) -> int:
    """Write ``{digit}_{speaker}_{number}.wav`` for each speaker and digit; return how many files there are."""
    folder.mkdir(parents=True, exist_ok=True)
    for speaker in range(speakers):
        rng = np.random.default_rng([seed, 2, speaker])
        pitch_hz, tract = rng.uniform(90, 220), rng.uniform(0.88, 1.14)
        for digit in range(10):
            for number in range(per_digit):
                voice = speak_digit(digit, pitch_hz, tract, rng)
                write_wav(folder / f"{digit}_speaker{speaker}_{number}.wav", voice[np.newaxis], SAMPLE_RATE)
    return speakers * 10 * per_digit


def speak_digit(digit: int, pitch_hz: float, tract: float, rng: np.random.Generator) -> np.ndarray:
    """Make a digit's sound, float32 [sample]: a buzz through two resonances that glide from one target to the next."""
    samples = int(SAMPLE_RATE * rng.uniform(0.35, 0.55))
    pitch = pitch_hz * rng.uniform(0.92, 1.08) * np.linspace(1.08, 0.92, samples)
    buzz = np.diff(np.floor(np.cumsum(pitch) / SAMPLE_RATE), prepend=0.0) + 0.03 * rng.standard_normal(samples)
    targets = np.array(FORMANTS_HZ[digit], dtype=np.float64) * tract * rng.uniform(0.95, 1.05, size=(3, 2))
    sound = sum(_glide(buzz, targets[:, formant]) for formant in range(2))
    envelope = np.sin(np.linspace(0, np.pi, samples)) ** 0.5
    voice = sound * envelope
    level = 10 ** (rng.uniform(-12, -3) / 20)
    return (level * voice / np.abs(voice).max()).astype(np.float32)


def _glide(buzz: np.ndarray, targets_hz: np.ndarray) -> np.ndarray:
    """Filter by a resonance whose frequency moves in small steps through its targets (Klatt 1980, second-order resonator)."""
    centres = np.interp(np.linspace(0, 2, GLIDE_STEPS), np.arange(3), targets_hz)
    radius = np.exp(-np.pi * BANDWIDTH_HZ / SAMPLE_RATE)
    state, parts = np.zeros(2), []
    for centre, part in zip(centres, np.array_split(buzz, GLIDE_STEPS), strict=True):
        a1, a2 = -2 * radius * np.cos(2 * np.pi * centre / SAMPLE_RATE), radius**2
        filtered, state = lfilter([1 + a1 + a2], [1.0, a1, a2], part, zi=state)
        parts.append(filtered)
    return np.concatenate(parts)
