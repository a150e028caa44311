"""Made speech: voices of different pitch with pauses, and the trees in which mixtures of speech are published."""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
PITCHES_HZ = {"anna": 220.0, "bert": 110.0, "carl": 95.0, "dora": 240.0, "emil": 130.0, "fay": 200.0, "gus": 85.0, "hope": 260.0, "ian": 120.0}
SEXES = {name: "F" if pitch > 160 else "M" for name, pitch in PITCHES_HZ.items()}


def utterance(pitch_hz, seed, seconds=1.0, rate=RATE):
    """Syllables of a harmonic tone with pauses between, float32 [sample]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * n * pitch_hz * time_s + rng.uniform(0, 6)) / n for n in range(1, 8))
    syllables = np.repeat(rng.uniform(0, 1, len(time_s) // (rate // 10) + 1) > 0.3, rate // 10)[: len(time_s)]
    return (rng.uniform(0.02, 0.2) * tone * syllables + 1e-4 * rng.standard_normal(len(time_s))).astype(np.float32)


def write(path, samples, rate=RATE, subtype="PCM_16"):
    """Write a sound file, with its folders."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


def write_speakers(root, speakers=("anna", "bert", "carl", "dora", "emil", "fay"), count=3, rate=RATE):
    """Write ``<speaker>/<number>.wav`` of different lengths, and ``speakers.csv``."""
    for number, name in enumerate(speakers):
        for take in range(count):
            write(root / name / f"{take}.wav", utterance(PITCHES_HZ[name], [number, take], 0.8 + 0.1 * ((number + take) % 5), rate), rate)
    write_sexes(root / "speakers.csv", speakers)
    return root


def write_sexes(path, speakers=PITCHES_HZ):
    """Write the sexes of speakers as a CSV."""
    path.write_text("speaker_id,sex\n" + "".join(f"{name},{SEXES[name]}\n" for name in speakers))


def write_mixture(folder, mixture, name, sources, noise=None):
    """Write a mixture and its sources as 16-bit files of one name; the sum is exact before rounding."""
    for number, samples in enumerate(sources, 1):
        write(folder / f"s{number}" / name, samples)
    write(folder / mixture / name, sum(sources) + (0 if noise is None else noise))


WSJ0 = {
    "tr": ("011a0101_1.4493_012c0203_-1.4493.wav", "012c0204_0.5_013o0305_-0.5.wav", "014a0101_2_015a0101_-2.wav"),
    "cv": ("011a0109_0.72115_013o030r_-0.72115.wav", "014a0102_1_012a0101_-1.wav"),
    "tt": ("420a010a_1.9146_421o0302_-1.9146.wav", "421a010b_0.1_422o0303_-0.1.wav"),
}


def write_wsj0(root, mode="min"):
    """Write a WSJ0-2mix tree; returns the folder of its parts."""
    base = root / "2speakers" / "wav8k" / mode
    for part, names in WSJ0.items():
        for number, name in enumerate(names):
            write_mixture(base / part, "mix", name, [utterance(pitch, [number, ord(part[0]), ord(part[1])]) for pitch in (110.0, 210.0)])
    return base


def write_wsj0_lists(root, samples=RATE):
    """Write the lists of paths and lengths, as made on another machine."""
    for part, names in WSJ0.items():
        for kind in ("mix", "s1", "s2"):
            path = root / "lists" / part / f"{kind}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([[f"/data/wsj0-mix/2speakers/wav8k/min/{part}/{kind}/{name}", samples] for name in names], indent=4))


LIBRI = {
    "train-100": ("103-1240-0003_1235-135887-0017", "1235-135887-0018_200-124139-0001", "19-198-0000_26-495-0001"),
    "dev": ("2412-153948-0008_777-126732-0053", "3536-8226-0026_1673-143397-0009"),
    "test": ("4077-13754-0001_5142-33396-0065",),
}
MINI = {"train": LIBRI["train-100"], "val": LIBRI["dev"]}


def write_librimix(root, tables=True, mini=False, mixtures=("mix_clean",)):
    """Write a Libri2Mix or MiniLibriMix tree, with its tables of another machine's paths; returns the folder of its subsets."""
    base = root / "MiniLibriMix" if mini else root / "Libri2Mix" / "wav8k" / "min"
    elsewhere = "MiniLibriMix" if mini else "/export/home/mixer/data/Libri2Mix/wav8k/min"
    for subset, names in (MINI if mini else LIBRI).items():
        for number, name in enumerate(names):
            sources = [utterance(pitch, [number, len(subset)]) for pitch in (100.0, 230.0)]
            noise = 0.01 * np.random.default_rng(number).standard_normal(RATE).astype(np.float32)
            for mixture in mixtures:
                write_mixture(base / subset, mixture, f"{name}.wav", sources, None if mixture == "mix_clean" else noise)
        for mixture in mixtures if tables else ():
            write_librimix_table(base, elsewhere, subset, mixture, names)
    return base


def write_librimix_table(base, elsewhere, subset, mixture, names):
    """Write ``metadata/mixture_<subset>_<mixture>.csv``."""
    (base / "metadata").mkdir(parents=True, exist_ok=True)
    with (base / "metadata" / f"mixture_{subset}_{mixture}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        noise = [] if mixture == "mix_clean" else ["noise"]
        table.writerow(["mixture_ID", "mixture_path", "source_1_path", "source_2_path", *(f"{name}_path" for name in noise), "length"])
        for name in names:
            kinds = [mixture, "s1", "s2", *noise]
            table.writerow([name, *(f"{elsewhere}/{subset}/{kind}/{name}.wav" for kind in kinds), RATE])
