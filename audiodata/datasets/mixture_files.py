"""What WSJ0-2mix and LibriMix share: a file of the mixture, and one of the same name for each source, in folders side by side."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from audiodata.clips import clips_table
from audiodata.datasets.folder import find_files
from audiodata.datasets.speakers import SpeakerSettings, speaker_columns
from audiodata.errors import MetadataError
from audiodata.timing import samples_to_seconds

RATES = {"wav8k": 8000, "wav16k": 16000}


class TreeSettings(SpeakerSettings):
    """Keys that tell one of the forms in which both data sets are made; with those of `SpeakerSettings`.

    Attributes
    ----------
    speakers : int
        In a mixture: 2 or 3.
    rate : str
        "wav8k" or "wav16k".
    mode : str
        "min": cut to the shorter utterance; "max": the shorter one ends in silence.
    """

    speakers: Literal[2, 3] = 2
    rate: Literal["wav8k", "wav16k"] = "wav8k"
    mode: Literal["min", "max"] = "min"


class MixtureFiles(NamedTuple):
    """One mixture.

    Attributes
    ----------
    clip_id : str
    files : tuple of str
        The mixture and its sources, below the data root.
    speakers : tuple of str
    published : str
        The data set's own split.
    part : str
        Speakers count as the same only within a part; empty: everywhere.
    duration_s : float
        As a table tells it; NaN where none does.
    """

    clip_id: str
    files: tuple[str, ...]
    speakers: tuple[str, ...]
    published: str
    part: str = ""
    duration_s: float = math.nan


def files_table(settings: SpeakerSettings, root: Path, found: Sequence[MixtureFiles], classes: Sequence[str]) -> pd.DataFrame:
    """Make the clips table of mixtures that lie in files.

    Parameters
    ----------
    settings : SpeakerSettings
    root : Path
    found : sequence of MixtureFiles
        At least one.
    classes : sequence of str
        The catalog's ``[select]``.
    """
    speakers, parts = [one.speakers for one in found], [one.part for one in found]
    return clips_table({
        "clip_id": [one.clip_id for one in found],
        "path": [one.files[0] for one in found],
        "more_paths": ["|".join(one.files[1:]) for one in found],
        "duration_s": [one.duration_s for one in found],
        "published": [one.published for one in found],
        **speaker_columns(settings, root, speakers, classes, parts)._asdict(),
    })


def mixture_names(folder: Path, mixture: str, sources: Sequence[str]) -> list[str]:
    """List the mixtures of a folder; whether each source is there is for the build to say.

    Parameters
    ----------
    folder : Path
    mixture : str
        Folder in it that has the mixtures.
    sources : sequence of str
        Folders beside that, which must be there.

    Returns
    -------
    list of str
        File names, sorted.

    Raises
    ------
    MetadataError
        A folder is missing, or no sound file is in that of the mixtures.
    """
    missing = [name for name in (mixture, *sources) if not (folder / name).is_dir()]
    if missing:
        raise MetadataError(f"{folder}: has no folder {missing[0]}; expected {', '.join((mixture, *sources))} side by side")
    names = find_files(folder / mixture, ("wav", "flac"))
    if not names:
        raise MetadataError(f"{folder / mixture}: no sound files in it")
    return names


def seconds_of(samples: str, rate: str) -> float:
    """Duration of so many samples as a table tells them; a text that is no number is a ValueError.

    Examples
    --------
    >>> seconds_of("12000", "wav8k")
    1.5
    """
    if not samples.isdecimal() or not int(samples):
        raise ValueError("expected a number of samples")
    return samples_to_seconds(int(samples), RATES[rate])
