"""Which recordings of noise there are: files below a folder, or what a data set itself lists as noise."""

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from audiodata.errors import MetadataError
from audiodata.geometry import wrapped_azimuth_deg
from audiodata.mixing import NoiseSettings
from audiodata.noise_bank import NoiseRecording
from audiodata.planning import clip_spans
from audiodata.records import ClipSpan
from audiodata.sources import inspect

ENDINGS = (".wav", ".flac", ".ogg", ".aiff", ".aif")


def noise_recordings(settings: NoiseSettings, table: pd.DataFrame, root: Path) -> tuple[NoiseRecording, ...]:
    """List the recordings that a catalog's [noise] names.

    Parameters
    ----------
    settings : NoiseSettings
    table : DataFrame
        The clips table, with the clips that are left out.
    root : Path
        The data root.

    Returns
    -------
    tuple of NoiseRecording
        Empty for noise that is made.

    Raises
    ------
    MetadataError
        As `list_recordings` and `list_noises`.
    """
    if settings.recordings:
        return list_recordings(root, settings.recordings, settings.azimuth_pattern)
    return list_noises(table, root, settings.label) if settings.label else ()


def list_noises(table: pd.DataFrame, root: Path, label: str) -> tuple[NoiseRecording, ...]:
    """List the clips of a data set that are noise.

    Parameters
    ----------
    table : DataFrame
        The clips table, with the clips that are left out.
    root : Path
        The data root.
    label : str
        How one of a noise's ``labels`` begins, for instance ``"noise:"`` or ``"noise:wind"`` for SLoClas.

    Returns
    -------
    tuple of NoiseRecording
        With the table's azimuths, in the order of their files.

    Raises
    ------
    MetadataError
        There is none, or one can't be read.
    """
    is_noise = [any(one.startswith(label) for one in labels.split(";")) for labels in table["labels"]]
    noises = table[is_noise].assign(reason="")
    if noises.empty:
        raise MetadataError(f"[noise] label = {label!r}: no clip of the data set has a label that begins so; see `labels` in its documentation")
    azimuths = dict(zip(noises["clip_id"], noises["azimuth_deg"], strict=True))
    return tuple(_describe(Path(root), clip, _known(azimuths[clip.clip_id])) for clip in clip_spans(noises))


def list_recordings(root: Path, where: str = ".", azimuth_pattern: str = "") -> tuple[NoiseRecording, ...]:
    """List the sound files of a folder as recordings of noise.

    Parameters
    ----------
    root : Path
        The data root.
    where : str
        A folder below it, a file, or a glob like ``"noise/**/*.wav"``.
    azimuth_pattern : str
        Regular expression that is searched for in each path; its group ``azimuth`` is in degrees, counter-clockwise from the front. Empty:
        azimuths are not known.

    Returns
    -------
    tuple of NoiseRecording
        In the order of their paths.

    Raises
    ------
    MetadataError
        There is none, one can't be read, or the pattern does not fit.
    """
    pattern = _compiled(azimuth_pattern)
    names = sorted(path.relative_to(root).as_posix() for path in _paths(Path(root), where))
    if not names:
        raise MetadataError(f"{where}: no noise recordings ({', '.join(ENDINGS)}) below {root}; name a folder or a glob below the data root")
    return tuple(_describe(Path(root), ClipSpan(name, name), _azimuth(name, pattern)) for name in names)


def _compiled(pattern: str) -> re.Pattern | None:
    if not pattern:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise MetadataError(f"azimuth_pattern {pattern!r}: not a regular expression ({error})") from None
    if "azimuth" not in compiled.groupindex:
        raise MetadataError(f"azimuth_pattern {pattern!r}: has no group `azimuth`; write for instance '_(?P<azimuth>[0-9]+)_'")
    return compiled


def _paths(root: Path, where: str) -> list[Path]:
    if PurePosixPath(where).is_absolute() or ".." in PurePosixPath(where).parts:
        raise MetadataError(f"{where}: leaves the data root; the path of noise recordings must be relative and below it")
    start = root / where
    if start.is_file():
        return [start]
    found = start.rglob("*") if start.is_dir() else root.glob(where)
    return [path for path in found if path.is_file() and path.suffix.lower() in ENDINGS]


def _describe(root: Path, clip: ClipSpan, azimuth_deg: float | None) -> NoiseRecording:
    found, _ = inspect("audio", root, clip)
    if found.reason:
        raise MetadataError(f"{clip.path}: can't serve as noise ({found.reason}: {found.detail}); remove it")
    return NoiseRecording(clip, found.sha256, found.sample_rate, found.samples, azimuth_deg)


def _known(azimuth_deg: float) -> float | None:
    return None if pd.isna(azimuth_deg) else float(azimuth_deg)


def _azimuth(name: str, pattern: re.Pattern | None) -> float | None:
    if pattern is None:
        return None
    match = pattern.search(name)
    try:
        return float(wrapped_azimuth_deg(float(match["azimuth"])))
    except (TypeError, ValueError):
        raise MetadataError(f"{name}: azimuth_pattern {pattern.pattern!r} finds no azimuth in degrees in it") from None
