"""One sound to its files: a file for each azimuth, each with a note in its header of what it was made from.

The note makes a second run cheap and safe at any moment: a file is whole when it has its name, and its note says whether it is the one
that is wanted.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf

from audiodata import sources
from audiodata.audio import resample, write_wav
from audiodata.clip_files import clip_path
from audiodata.errors import ClipError
from audiodata.fingerprint import canonical_json, hash_bytes, hash_json
from audiodata.records import ClipSpan
from audiodata.settings import Settings
from audiodata.simulation.rendering import add_sensor_noise, convolve_span, gain_to_fit, loudest_start, mono
from audiodata.simulation.scene import Scene, responses_at
from audiodata.timing import samples_to_seconds, seconds_to_samples

RENDERING_VERSION = 1
"""Counts changes of the code that change what is in a file."""


NOTE = {"distance_m", "fingerprint", "gain", "samples"}
"""Keys of the note in a file's header, as in `SimulatedFile`."""


class FileSettings(Settings):
    """What the files are, besides the scene; keys of `audiodata.datasets.simulated_array.SimulatedArraySettings`."""

    seed: int = 0
    sample_rate: int | None = None
    duration_s: float | None = None
    mix_channels: bool = False


class PlacedSound(NamedTuple):
    """One file that is wanted: the clip it holds, its path below the data root, and the azimuth."""

    clip_id: str
    path: str
    azimuth_deg: float


class SoundTask(NamedTuple):
    """Everything that a worker needs to place one sound.

    Attributes
    ----------
    root : str
        Data root.
    scene : Scene
    settings : FileSettings
    fingerprint : str
        Of scene, settings and code.
    sound : ClipSpan
        Where the sound lies.
    placed : tuple of PlacedSound
    """

    root: str
    scene: Scene
    settings: FileSettings
    fingerprint: str
    sound: ClipSpan
    placed: tuple[PlacedSound, ...]


class Sound(NamedTuple):
    """A sound as loaded, float64 [sample], and the span of it that is wanted (`length` None: to the end of its tail)."""

    samples: np.ndarray
    sample_rate: int
    start: int
    length: int | None


class SimulatedFile(NamedTuple):
    """What became of one file.

    Attributes
    ----------
    clip_id, path : str
    reason, detail : str
        Empty, or a key of `audiodata.reasons.REASONS` and the message.
    made : bool
        False where the file was there already.
    fingerprint : str
        Of all that the file's bytes depend on.
    distance_m : float
        Of the source.
    gain : float
        What the sound was multiplied by to fit below full scale.
    sample_rate, samples : int
    """

    clip_id: str
    path: str
    reason: str = ""
    detail: str = ""
    made: bool = False
    fingerprint: str = ""
    distance_m: float = float("nan")
    gain: float = float("nan")
    sample_rate: int = 0
    samples: int = 0

    @property
    def duration_s(self) -> float:
        """Length of the file; NaN where there is none."""
        return samples_to_seconds(self.samples, self.sample_rate) if self.sample_rate else float("nan")


def simulate_sound(task: SoundTask) -> list[SimulatedFile]:
    """Make the files of one sound that are missing or were made from something else; one row a file, in order.

    A sound that can't be used leaves no files, not even those of an earlier run: they would be of something else.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        What concerns all sounds: a direction that has no response, a disk that is full.
    """
    root = Path(task.root)
    try:
        prints = _fingerprints(root, task)
        rows = [_present(root / one.path, one, wanted) for one, wanted in zip(task.placed, prints, strict=True)]
        if all(rows):
            return rows
        sound = _load(root, task)
    except ClipError as error:
        return [_failed(root, one, error) for one in task.placed]
    return [row or _made(root, task, one, wanted, sound) for row, one, wanted in zip(rows, task.placed, prints, strict=True)]


def _fingerprints(root: Path, task: SoundTask) -> list[str]:
    """Hash what the bytes of each file depend on; the clip's id is the seed of its noise."""
    sound = task.sound
    for path in sound.paths:
        if not clip_path(root, path).is_file():
            raise ClipError("missing_file", f"{path}: no such file")
    content = sources.input_hash("audio", root, sound)
    span = [sound.start_s, sound.duration_s, list(sound.channels)]
    return [hash_json([task.fingerprint, content, span, one.clip_id, one.azimuth_deg]) for one in task.placed]


def _load(root: Path, task: SoundTask) -> Sound:
    """Load a sound as mono at the wanted rate."""
    waveform, rate = sources.SOURCES["audio"].load(root, task.sound)
    try:
        sound = mono(waveform, task.settings.mix_channels)
    except ClipError as error:
        raise ClipError(error.reason, f"{task.sound.path}: {error.message}") from None
    if not np.isfinite(sound).all():
        raise ClipError("not_finite", f"{task.sound.path}: holds NaN or infinite samples")
    wanted = task.settings.sample_rate or rate
    samples = resample(sound[np.newaxis].astype(np.float32), rate, wanted)[0].astype(np.float64)
    length = None if task.settings.duration_s is None else seconds_to_samples(task.settings.duration_s, wanted)
    return Sound(samples, wanted, 0 if length is None else loudest_start(samples, length), length)


def _made(root: Path, task: SoundTask, one: PlacedSound, fingerprint: str, sound: Sound) -> SimulatedFile:
    heard = responses_at(task.scene, one.azimuth_deg, sound.sample_rate)
    recording = convolve_span(sound.samples, heard.responses, sound.start, sound.length)
    if task.scene.snr_db is not None:
        recording = add_sensor_noise(recording, task.scene.snr_db, _generator(task.settings.seed, one.clip_id))
    gain = gain_to_fit(recording)
    note = {"distance_m": round(heard.distance_m, 6), "fingerprint": fingerprint, "gain": gain, "samples": recording.shape[1]}
    path = root / one.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, (gain * recording).astype(np.float32), sound.sample_rate, comment=canonical_json(note))
    return SimulatedFile(one.clip_id, one.path, made=True, sample_rate=sound.sample_rate, **note)


def _generator(seed: int, clip_id: str) -> np.random.Generator:
    """Noise of one file: it depends on the seed and the clip's id alone."""
    return np.random.default_rng(int(hash_bytes(f"{seed}\x1fnoise\x1f{clip_id}".encode())[:16], 16))


def _present(path: Path, one: PlacedSound, fingerprint: str) -> SimulatedFile | None:
    """Describe a file that is there and is the one wanted."""
    found = read_note(path)
    if found is None or found[0].get("fingerprint") != fingerprint:
        return None
    note, sample_rate = found
    return SimulatedFile(one.clip_id, one.path, sample_rate=sample_rate, **note)


def read_note(path: Path) -> tuple[dict[str, Any], int] | None:
    """Read what a file's header says it was made from.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict, int or None
        Note (`NOTE`) and sample rate in Hz; None where the file is not there, not whole, or not ours.
    """
    try:
        with sf.SoundFile(path) as file:
            note = json.loads(file.comment)
            rate, samples = file.samplerate, file.frames
    except (sf.LibsndfileError, OSError, ValueError):
        return None
    ours = isinstance(note, dict) and note.keys() == NOTE
    return (note, rate) if ours and note["samples"] == samples else None


def _failed(root: Path, one: PlacedSound, error: ClipError) -> SimulatedFile:
    if read_note(root / one.path) is not None:
        (root / one.path).unlink()
    return SimulatedFile(one.clip_id, one.path, error.reason, error.message)
