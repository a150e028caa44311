"""How fast a sound is placed round four microphones, beside pyroomacoustics doing the same; and how fast the files are made.

Times are CPU time of one core. Impulse responses are computed once a process and recalled, as in a run over many sounds.

    python tests/benchmarks/bench_simulation.py
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np
import pyroomacoustics
import soundfile as sf

from audiodata.fingerprint import hash_json
from audiodata.geometry import direction
from audiodata.records import ClipSpan
from audiodata.rooms import RoomSettings
from audiodata.simulation import FileSettings, PlacedSound, Scene, SoundTask, describe, render, responses_at
from audiodata.simulation.files import simulate_sound

RATE, SECONDS, ROUNDS = 16000, 1.0, 5
POSITIONS = ((-0.032, 0.0, 0.0), (0.0, -0.032, 0.0), (0.032, 0.0, 0.0), (0.0, 0.032, 0.0))
AZIMUTHS = tuple(range(0, 360, 5))
ROOM = RoomSettings(size_m=(6.0, 5.0, 3.0), array_m=(2.7, 2.2, 1.4), rt60_s=0.3)


def peer(sound, azimuth_deg):
    """Place a sound in pyroomacoustics' free field."""
    room = pyroomacoustics.AnechoicRoom(3, fs=RATE)
    room.add_source(1.5 * direction(azimuth_deg), signal=sound)
    room.add_microphone_array(np.array(POSITIONS).T)
    room.simulate()
    return room.mic_array.signals


def cpu_s(function):
    """CPU seconds of one call: other programs on the machine do not count."""
    started = time.process_time()
    function()
    return time.process_time() - started


def files_of(root, scene):
    """Return the task that makes 72 files of one sound."""
    settings = FileSettings()
    placed = tuple(PlacedSound(f"a@{azimuth}", f"made/a/{azimuth}/a.wav", float(azimuth)) for azimuth in AZIMUTHS)
    return SoundTask(str(root), scene, settings, hash_json(describe(scene, settings)), ClipSpan("a", "a.wav"), placed)


def main():
    sound = np.random.default_rng(0).standard_normal(round(SECONDS * RATE)) * 0.1
    scene = Scene(positions_m=POSITIONS)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(cpu_s(lambda: [render(sound, RATE, azimuth, scene) for azimuth in AZIMUTHS]))
        theirs.append(cpu_s(lambda: [peer(sound, azimuth) for azimuth in AZIMUTHS]))
    ours, theirs = (statistics.median(times) / len(AZIMUTHS) * 1e3 for times in (ours, theirs))
    print(f"1 s at 16 kHz, 4 channels, free field: {ours:.2f} ms, pyroomacoustics {theirs:.2f} ms: {theirs / ours:.1f} times as fast")
    for name, room in (("free field", None), ("room, RT60 0.3 s", ROOM)):
        one = Scene(positions_m=POSITIONS, snr_db=30.0, room=room)
        once = cpu_s(lambda one=one: [responses_at(one, float(azimuth), RATE) for azimuth in AZIMUTHS])
        with tempfile.TemporaryDirectory() as folder:
            sf.write(Path(folder) / "a.wav", sound, RATE)
            task = files_of(folder, one)
            made, kept = (cpu_s(lambda task=task: simulate_sound(task)) for _ in range(2))
        rates = f"{len(AZIMUTHS) / made:.0f} files/s made, {len(AZIMUTHS) / kept:.0f} files/s kept"
        print(f"{name}: {rates} (per core); impulse responses of 72 azimuths once a process: {once:.2f} s")


if __name__ == "__main__":
    main()
