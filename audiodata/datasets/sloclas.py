"""SLoClas: sounds of ten classes, each played from 72 directions around four microphones, and outdoor noises from four.

Size: 71 136 recordings, 23.3 h, 48 kHz (988 sounds x 72 azimuths), and 256 recordings, 13 min, of 6 noises from 4 azimuths.
Origin: https://bidishasharma.github.io/SLoClass, files at https://zenodo.org/records/5211296
Paper: X. Qian, B. Sharma, A. El Abridi, H. Li, "SLoClas: A Database for Joint Sound Localization and Classification", O-COCOSDA 2021.
Licence: released for research; read the terms at the place of download. The sounds that were played are from another collection.
Access: download and unpack below the data root.

How the files are called is not documented, so `SLoClasSettings.pattern` reads it from their paths. The loudspeaker stood 1.5 m from the
centre of a ReSpeaker Mic Array v2.0: four microphones on a circle of 64 mm. Files have the four microphones, or the board's six channels
(processed sound, the four microphones, playback), or one microphone each. Which microphone faces azimuth 0 is not documented either:
`mic_order`, `azimuth_zero_deg` and `clockwise` say it.

The paper's own split deals out recordings at random, so that a sound is learnt from one direction and tested from the next: the same sound
is on both sides. ``grouping = "source"`` (the default) keeps a sound on one side; ``grouping = "segment"`` is for comparison with the paper.
"""

import logging
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets.azimuths import AzimuthConvention, parse_azimuth
from audiodata.datasets.folder import find_files
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.sloclas_names import PATTERNS, SoundName, checked_pattern, read_names
from audiodata.errors import CatalogError, MetadataError
from audiodata.text_hashes import unit_hashes

log = logging.getLogger(__name__)

CLASSES = ("bells", "bottles", "buzzer", "cymbals", "horn", "metal", "particle", "phone", "ring", "whistle")
NOISES = ("crowd", "machine", "traffic", "car", "traffic and car", "animal", "water", "wind", "noise")
EXTENSIONS = ("wav", "flac")
NOISE = "noise:"  # before the name of a noise in `labels`

# The authors' split, as their program makes it: 70 % of a random permutation of the recordings, seeded with 7.
AUTHORS_SEED, AUTHORS_TRAIN_SHARE = 7, 0.7

# The board's firmware for six channels: processed, four microphones, playback.
BOARD_CHANNELS, BOARD_MICROPHONES = 6, (1, 2, 3, 4)


class SLoClasSettings(AzimuthConvention):
    """Keys of ``[dataset]`` for SLoClas and for what is laid out like it; see also `AzimuthConvention`.

    Attributes
    ----------
    path : str
        Folder below the data root that has the recordings.
    pattern : str or None
        Regular expression that fits a file's whole path below `path` (with ``/``). Named groups: ``cls`` (class), ``azi`` (azimuth in
        degrees), ``id`` (of the sound that was played, the same at every azimuth), and ``mic`` where each microphone has its own file.
        None: ``<class>/<azimuth>/<id>.wav`` or ``<class>_<azimuth>_<id>.wav``, also with ``_mic<number>`` at the end. Files that it does
        not fit are left out (``other_class``).
    noise_pattern : str or None
        Likewise for noises, and looked at first; none of the groups is needed.
    noises : tuple of str
        What ``cls`` is called for noises, in any case. They belong to no class (``other_class``) and are listed for mixing, with
        ``noise:<name>`` in ``labels``. A class that the catalog chooses is no noise.
    class_names : dict of str to str
        What classes are called where the paths call them otherwise, e.g. ``{ class1 = "bells" }``.
    mic_order : tuple of int
        Which microphone is first, second, ... in the order of the catalog's ``[array]``; counted from 0, in the order of the channels or of
        the names of their files. Empty: as they come.
    grouping : "source" or "segment"
        What stays on one side of a split: all recordings of a sound, or nothing but the recording itself.
    """

    path: str = "."
    pattern: str | None = None
    noise_pattern: str | None = None
    noises: tuple[str, ...] = NOISES
    class_names: dict[str, str] = {}
    mic_order: tuple[int, ...] = ()
    grouping: Literal["source", "segment"] = "source"

    @field_validator("path")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        if value != "." and not is_safe_path(value.removesuffix("/")):
            raise ValueError("must lie below the data root (which --data gives)")
        return value

    @field_validator("pattern")
    @classmethod
    def _tells_all(cls, value: str | None) -> str | None:
        return checked_pattern(value, needed=("cls", "azi", "id"))

    @field_validator("noise_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return checked_pattern(value, needed=())

    @field_validator("mic_order")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(value) != list(range(len(value))):
            raise ValueError("must name each microphone once, counted from 0, e.g. [3, 0, 1, 2]")
        return value


class Header(NamedTuple):
    """What a file's header promises; 0 channels and NaN where it can't be read (a build will say why)."""

    channels: int
    duration_s: float


def read_clips(settings: SLoClasSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings.

    Parameters
    ----------
    settings : SLoClasSettings
    root : Path
    classes : sequence of str
        Classes to keep, in this order; empty: all that are no noise, sorted.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table. ``published`` is a split by seeded hash in the shares of the paper's, since the order of files that the paper's depends
        on is not known; with ``grouping = "source"`` it puts groups on two sides, and a build refuses it.

    Raises
    ------
    CatalogError, MetadataError
        An unknown class; no files; none that the pattern fits; an azimuth that is none.

    Notes
    -----
    Where each microphone has its own file and one is missing, the clip stays in the table and names the file that should be there, so that
    a build puts it into the ledger (``missing_file``).
    """
    if quality is not None:
        raise CatalogError("[select] quality: the data set `sloclas` has no ratings of its labels; leave the key out")
    folder = Path(root) / settings.path
    names = _names(settings, folder)
    label, labels, reason = _labels(settings, names, classes)
    azimuths_deg = _azimuths_deg(folder, names)
    clip_ids = [name.clip for name in names]
    groups = _groups(settings, folder, labels, names, azimuths_deg)
    headers = [_header(folder, name) for name in names]
    files = [[posixpath.normpath(posixpath.join(settings.path, file)) for file in name.files] for name in names]
    return clips_table(
        {
            "clip_id": clip_ids,
            "path": [first for first, *_ in files],
            "more_paths": ["|".join(more) for _, *more in files],
            "channels": [_picked(header.channels, settings.mic_order) for header in headers],
            "duration_s": [header.duration_s for header in headers],
            "group_id": groups,
            "label": label,
            "labels": labels,
            "azimuth_deg": settings.converted(azimuths_deg),
            "published": np.where(unit_hashes(AUTHORS_SEED, "published", clip_ids) < AUTHORS_TRAIN_SHARE, "train", "test"),
            "reason": reason,
        }
    )


def _names(settings: SLoClasSettings, folder: Path) -> list[SoundName]:
    files = find_files(folder, EXTENSIONS)
    if not files:
        raise MetadataError(f"{folder}: no sound files in it or below (looked for {', '.join(EXTENSIONS)}); is the data root right?")
    names = read_names(files, [settings.pattern] if settings.pattern else PATTERNS, settings.noise_pattern)
    if not any(name.cls and name.azimuth for name in names):
        raise MetadataError(
            f"{folder}: class and azimuth can be read from none of {len(files)} paths; the first is {files[0]}; say by `pattern` in [dataset] "
            "how class (cls), azimuth (azi) and sound (id) stand in a path"
        )
    return names


def _labels(settings: SLoClasSettings, names: Sequence[SoundName], classes: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return label, labels and reason of each clip; a noise has its name in `labels` alone."""
    labels = _kinds(settings, names, classes)
    known = ["" if kind.startswith(NOISE) else kind for kind in labels]
    strange = sorted(set(known) - set(classes) - {""}) if classes else []
    if strange:
        count = sum(kind in strange for kind in known)
        log.warning("%d recordings are of classes that are not chosen, and left out: %s", count, ", ".join(strange))
    label, reason = choose_labels(known, classes)
    return label, labels, reason


def _kinds(settings: SLoClasSettings, names: Sequence[SoundName], classes: Sequence[str]) -> list[str]:
    """Return the class of each clip, spelt as the catalog or the data set does, or ``noise:`` and the name of a noise."""
    spelt = {_plain(name): name for name in (*CLASSES, *classes)}
    noises = {_plain(name) for name in settings.noises} - {_plain(name) for name in classes}
    meaning = {}
    for cls in {name.cls for name in names}:
        said = settings.class_names.get(cls, cls)
        plain = _plain(said)
        meaning[cls, True] = NOISE + (plain or "noise")
        meaning[cls, False] = NOISE + plain if plain in noises else spelt.get(plain, said)
    return [meaning[name.cls, name.noise] for name in names]


def _plain(name: str) -> str:
    """Return a name as it is compared: in lower case, its words with single spaces between them."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _azimuths_deg(folder: Path, names: Sequence[SoundName]) -> np.ndarray:
    """Return azimuths as the paths tell them, NaN where they don't."""
    parsed = {"": np.nan}
    for name in names:
        if name.azimuth not in parsed:
            try:
                parsed[name.azimuth] = parse_azimuth(name.azimuth)
            except ValueError as error:
                raise MetadataError(f"{folder / name.files[0]}: {error}; rename it, or say by `pattern` where the azimuth stands") from None
    return np.array([parsed[name.azimuth] for name in names])


def _groups(
    settings: SLoClasSettings, folder: Path, labels: Sequence[str], names: Sequence[SoundName], azimuths_deg: np.ndarray
) -> list[str]:
    """Return what stays on one side of a split."""
    if settings.grouping == "segment":
        return [name.clip for name in names]
    groups = [f"{kind}/{name.source}" if name.source else name.clip for kind, name in zip(labels, names, strict=True)]
    if len(names) > len(set(groups)):
        return groups
    directions = np.unique(azimuths_deg[np.isfinite(azimuths_deg)])
    if len(directions) > 1:
        log.warning(
            "%s: no sound is there from two of the %d azimuths, so nothing is kept together; does `id` in `pattern` stand for the sound alone?",
            folder, len(directions),
        )
    return groups


def _header(folder: Path, name: SoundName) -> Header:
    """Return channels and duration of a recording; of one in several files the build says whether they are equally long."""
    return read_header(f"{folder}/{name.files[0]}") if len(name.files) == 1 else Header(len(name.files), np.nan)


def _picked(count: int, order: Sequence[int]) -> str:
    """Return which of a recording's channels are its microphones, in the order asked for; empty where all of them are, as they come."""
    microphones = BOARD_MICROPHONES if count == BOARD_CHANNELS else tuple(range(count))
    if order and len(order) != len(microphones):
        return ""  # mono where four are due: for the build to say, file by file
    chosen = [microphones[number] for number in order] if order else list(microphones)
    return "" if chosen == list(range(count)) else ",".join(map(str, chosen))


def read_header(path: str) -> Header:
    """Read the header of a sound file."""
    import soundfile  # not at the top: lists of clips are read without it

    try:
        with soundfile.SoundFile(path) as file:
            return Header(file.channels, file.frames / file.samplerate if file.frames else np.nan)
    except (OSError, soundfile.LibsndfileError):
        return Header(0, np.nan)
