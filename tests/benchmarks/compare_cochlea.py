"""Made cochlea events beside recorded ones: rates of channels, intervals, and how events lock to a tone.

    python tests/benchmarks/compare_cochlea.py [--data FOLDER] [--out PICTURE.png]

Recorded: a digital cochlea (NAS, 64 channels, ON and OFF) that hears speech with pauses, and a tone of 130 Hz. Made: spoken digits, and a tone of
130 Hz, through `audiodata.events.cochlea` with its default settings. The sensors are of different kinds and the speech is not the same, so what
can be compared are orders of magnitude; the recorded one counts its channels from high to low. Locking is the length of the mean of unit
vectors that turn with the tone: 1 where all ON events of a channel come in the same phase.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.event_pictures import statistics
from audiodata.events.cochlea import CochleaConfig, cochlea
from audiodata.events.readers import read_events
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events
from audiodata.events.statistics import Summary, address_rates, summarise

QUANTILES = (5, 25, 50, 75, 95)
ROWS: dict[str, Callable[[Summary], str]] = {
    "recordings": lambda found: f"{found.recordings}",
    "events of a recording, median": lambda found: f"{found.events:,.0f}",
    "seconds of a recording, median": lambda found: f"{found.duration_s:.2f}",
    "events / s, median": lambda found: f"{found.event_rate_hz:,.0f}",
    "channels with an event, median share": lambda found: f"{found.active_share:.2f}",
    "ON events, share": lambda found: f"{found.on_share:.3f}",
    "events / s of an active channel, quantiles 5 25 50 75 95 %": lambda found: _quantiles(found.rate_quantiles_hz),
    "intervals of a channel and polarity / us, same quantiles": lambda found: _quantiles(found.interval_quantiles_us),
}


def _quantiles(values: np.ndarray) -> str:
    return " ".join(f"{values[quantile - 1]:,.0f}" for quantile in QUANTILES)


def locking(events: Events, frequency_hz: float) -> np.ndarray:
    """Per channel; 0 for one with fewer than 20 ON events."""
    on = events.array[events.array["p"] == 1]
    counts = np.bincount(on["x"], minlength=64)
    turns = np.exp(2j * np.pi * frequency_hz * on["t"] / MICROSECONDS_PER_SECOND)
    sums = np.bincount(on["x"], turns.real, 64) + 1j * np.bincount(on["x"], turns.imag, 64)
    return np.where(counts >= 20, np.abs(sums) / np.maximum(counts, 1), 0.0)


def print_tone(name: str, events: Events) -> None:
    """Print the frequency that the events of the best channel lock to, and how many channels lock."""
    frequencies = np.arange(120, 141, 0.25)
    found = np.array([locking(events, frequency) for frequency in frequencies])
    row, channel = np.unravel_index(np.argmax(found), found.shape)
    rates = address_rates(events)
    print(
        f"tone of 130 Hz, {name}: channel {channel} locks to {frequencies[row]:.2f} Hz by {found[row, channel]:.2f}, {rates[channel]:,.0f} events/s;"
        f" {np.count_nonzero(found.max(axis=0) > 0.5)} channels above 0.5; busiest: {np.argmax(rates)}, {rates.max():,.0f} events/s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder, config = arguments.data / "events" / "cochlea_aedat", CochleaConfig()
    speech = {"format": "headerless", "address_bytes": 4, "tick_us": 1.0, "ears": 2, "ear": "left"}
    sensor = summarise([read_events(folder / "enun_stereo_64ch_ONOFF_addr4b_ts1.aedat", speech)])
    files = sorted((arguments.data / "spoken_digits" / "recordings").glob("*_[0-4].wav"))
    made = summarise([cochlea(*sf.read(file, dtype="float32"), config, 0) for file in files])
    for name, shown in ROWS.items():
        print(f"{name:60} made {shown(made):32} recorded {shown(sensor)}")
    tone = (0.3 * np.sin(2 * np.pi * 130 * np.arange(8000) / 16000)).astype(np.float32)
    print_tone("made", cochlea(tone, 16000, config, 0))
    hum = {"format": "headerless", "address_bytes": 2, "tick_us": 0.2}
    print_tone("recorded", read_events(folder / "130Hz_mono_64ch_ONOFF_addr2b_ts02.aedat", hum))
    if arguments.out:
        statistics(made, sensor).savefig(arguments.out, dpi=130)


if __name__ == "__main__":
    main()
