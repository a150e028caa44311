"""AudioSet: 10 s of sound from YouTube videos, labelled with the classes of an ontology.

Size: 2 084 320 segments of as many videos (22 160 balanced train, 20 371 eval, 2 041 789 unbalanced train), 527 labels;
strong labels (events with times) for 103 463 train and 16 996 eval segments, 456 labels.
Origin: https://research.google.com/audioset
Paper: J. F. Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017;
S. Hershey et al., "The benefit of temporally-strong labels in audio event classification", ICASSP 2021.
Licence: labels CC BY 4.0, ontology CC BY-SA 4.0, both Google Inc.; the videos belong to their uploaders.
Access: the lists from their publisher (`fetch = true`, or by hand into the data root); the sound from YouTube, clip by
clip, with ``python -m pipelines download``. About 15 to 20 % of the videos are gone.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets import audioset_files
from audiodata.datasets.audioset_lists import (
    event_spans,
    merge_spans,
    read_class_labels,
    read_display_names,
    read_quality,
    read_segments,
    read_strong,
    read_video_ids,
    whole_segments,
)
from audiodata.datasets.ontology import Ontology, load_ontology
from audiodata.errors import CatalogError
from audiodata.settings import Settings
from audiodata.splits import SPELLINGS
from audiodata.text_hashes import first_words

WEAK_LISTS = ("balanced_train_segments.csv", "eval_segments.csv")


class AudioSetSettings(Settings):
    """Keys of ``[dataset]`` for AudioSet.

    Attributes
    ----------
    segments : tuple of str
        Weak lists to read; a clip that is named in several appears once. Default: balanced train and eval, if `strong`
        names nothing. A list's published split is the word in its name: train, eval, val or test.
    strong : tuple of str
        Strong lists to read instead.
    events : bool
        For strong lists: each event a clip of its own, rather than each segment of 10 s with the labels of its events.
    rerated_only : bool
        Leave out videos whose labels were not rated a second time (``rerated_video_ids.txt``).
    metadata : str or None
        Folder below the data root that has the lists; None: the root itself, then ``metadata`` below it.
    fetch : bool
        Fetch lists that are missing from their publisher. Off: nothing is ever fetched.
    sources, checksums : dict of str to str
        Other address, other SHA-256, by file name, where the publisher has moved or changed a file.
    """

    segments: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    events: bool = False
    rerated_only: bool = False
    metadata: str | None = None
    fetch: bool = False
    sources: dict[str, str] = Field(default_factory=dict)
    checksums: dict[str, str] = Field(default_factory=dict)

    @field_validator("segments", "strong")
    @classmethod
    def _below_the_root(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not is_safe_path(name):
                raise ValueError(f"`{name}` must be relative and lead nowhere but down")
        return value

    @field_validator("metadata")
    @classmethod
    def _folder_below_the_root(cls, value: str | None) -> str | None:
        if value is not None and not is_safe_path(value):
            raise ValueError("must be a folder below the data root")
        return value

    @model_validator(mode="after")
    def _one_kind_of_list(self) -> "AudioSetSettings":
        if self.segments and self.strong:
            raise ValueError("`segments` or `strong`, not both: their labels don't mean the same")
        if self.events and not self.strong:
            raise ValueError("`events` needs `strong` lists")
        return self

    def folders(self, root: Path) -> tuple[Path, ...]:
        """Folders in which the lists are looked for."""
        return (root, root / "metadata") if self.metadata is None else (root / self.metadata,)

    def lists(self) -> tuple[str, ...]:
        """Names of the lists that are read."""
        return self.strong or self.segments or WEAK_LISTS


def needed_files(settings: AudioSetSettings, quality: float | None) -> tuple[str, ...]:
    """Names of all files that a catalog needs."""
    names = ["ontology.json", *settings.lists()]
    names += ["mid_to_display_name.tsv"] if settings.strong else []
    names += ["qa_true_counts.csv"] if quality is not None else []
    names += ["rerated_video_ids.txt"] if settings.rerated_only else []
    return tuple(names)


def fetch_metadata(settings: AudioSetSettings, root: Path, quality: float | None = None) -> list[Path]:
    """Fetch the files that a catalog needs and that are not there; files that are there are left as they are.

    Parameters
    ----------
    settings : AudioSetSettings
    root : Path
        Data root; the files go to the last of the folders in which they are looked for.
    quality : float or None
        The catalog's threshold, which needs a file of its own.

    Raises
    ------
    MetadataError, EnvironmentFault
        As `audioset_files.fetch`.
    """
    folders = settings.folders(Path(root))
    missing = [name for name in needed_files(settings, quality) if audioset_files.find(name, folders) is None]
    return audioset_files.fetch(missing, folders[-1], settings.sources, settings.checksums)


def read_clips(settings: AudioSetSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """Read the lists and choose.

    Parameters
    ----------
    settings : AudioSetSettings
    root : Path
    classes : sequence of str
        Names or mids, at any level of the ontology. A clip is of a class if one of its labels is the class or lies
        below it; a clip that is of several is left out (``several_classes``). Labels below other classes don't matter.
    quality : float or None
        Least share of rated clips that truly have the label, for the best of the labels that put a clip into its class
        (``low_quality``); a label that was never rated counts as 0.

    Returns
    -------
    DataFrame
        Clips table; ``labels`` are display names.

    Raises
    ------
    CatalogError, MetadataError
        No class chosen, an unknown or ambiguous or nested one; a file that is missing or wrong.
    """
    if not classes:
        raise CatalogError('[select] classes: AudioSet needs them, by name or mid, e.g. classes = ["Music", "Animal"]')
    if settings.fetch:
        fetch_metadata(settings, root, quality)
    folders = settings.folders(Path(root))
    ontology = _ontology(folders)
    chosen = ontology.choose(classes)
    rates = read_quality(audioset_files.require("qa_true_counts.csv", folders)) if quality is not None else {}
    spans, clip_id, published = _read_spans(settings, folders, ontology)
    choice = choose(spans["labels"].combine_chunks(), ontology, chosen, rates, quality or 0.0)
    reason = choice.reason
    if settings.rerated_only:
        reason = _only(spans["ytid"], read_video_ids(audioset_files.require("rerated_video_ids.txt", folders)), reason)
    return clips_table(
        {
            "clip_id": clip_id,
            "path": _paths(spans["ytid"], clip_id),
            "recording_id": spans["ytid"],
            "start_s": spans["start_ms"].to_numpy() / 1000,
            "duration_s": (spans["end_ms"].to_numpy() - spans["start_ms"].to_numpy()) / 1000,
            "label": pa.array([*classes, ""]).take(pa.array(choice.number)),
            "labels": choice.names,
            "published": published,
            "reason": reason,
        }
    )


def _ontology(folders: Sequence[Path]) -> Ontology:
    """Read the ontology, with the names that the label tables spell otherwise where these are at hand."""
    ontology = load_ontology(audioset_files.require("ontology.json", folders))
    tables = {"class_labels_indices.csv": read_class_labels, "mid_to_display_name.tsv": read_display_names}
    for name, read in tables.items():
        path = audioset_files.find(name, folders)
        if path is not None:
            ontology = ontology.with_names(read(path))
    return ontology


def _read_spans(
    settings: AudioSetSettings, folders: Sequence[Path], ontology: Ontology
) -> tuple[pa.Table, pa.ChunkedArray, pa.ChunkedArray]:
    """Read all lists into spans, clip ids and published splits, one row a clip."""
    parts = []
    for name in settings.lists():
        path = audioset_files.require(name, folders)
        spans = _read_list(settings, path, ontology)
        parts.append(spans.append_column("published", pa.repeat(published_split(name), len(spans))))
    spans = pa.concat_tables(parts)
    spans, clip_id = merge_spans(spans, _clip_ids(spans, with_end=settings.events))
    return spans, clip_id, spans["published"]


def _read_list(settings: AudioSetSettings, path: Path, ontology: Ontology) -> pa.Table:
    if not settings.strong:
        return read_segments(path, ontology.nodes)
    events = read_strong(path, ontology.nodes)
    return event_spans(events) if settings.events else whole_segments(events)


def published_split(name: str) -> str:
    """Return the word in a list's name that tells its split, e.g. "train" or "eval"; empty if there is none."""
    words = re.split(r"[^a-z]+", Path(name).stem.lower())
    return next((word for word in words if word in SPELLINGS), "")


def _clip_ids(spans: pa.Table, with_end: bool) -> pa.ChunkedArray:
    """Name clips by video and milliseconds; events need their end too, since two may begin together."""
    parts = [spans["ytid"], spans["start_ms"].cast(pa.string())]
    parts += [spans["end_ms"].cast(pa.string())] if with_end else []
    return pc.binary_join_element_wise(*parts, "_")


def _paths(ytid: pa.ChunkedArray, clip_id: pa.ChunkedArray) -> pa.ChunkedArray:
    """Spread the files over 256 folders by hash, since file systems are slow with a million files in one."""
    first_bytes = (first_words(ytid) >> np.uint64(56)).astype(np.uint8)
    folders = pa.array([f"clips/{number:02x}/Y" for number in range(256)]).take(pa.array(first_bytes))
    return pc.binary_join_element_wise(folders, clip_id.combine_chunks(), ".flac", "")


class Choice(NamedTuple):
    """What the catalog's choice makes of each clip.

    Attributes
    ----------
    number : array of int64, shape [clip]
        Index of its class; the number of classes where it has none.
    names : pyarrow.Array of str
        Its labels as display names, joined by ";".
    reason : pyarrow.Array of str
        Empty, or why it is left out.
    """

    number: np.ndarray
    names: pa.Array
    reason: pa.Array


def choose(
    labels: pa.ListArray, ontology: Ontology, chosen: Sequence[str], rates: Mapping[str, float], least: float
) -> Choice:
    """Put each clip into the one chosen class that its labels reach.

    Parameters
    ----------
    labels : pyarrow.ListArray of str
        Mids of each clip; all are in the ontology.
    ontology : Ontology
    chosen : sequence of str
        Mids of the classes, none below another.
    rates : mapping of str to float
        Quality by mid; a mid that is missing counts as 0.
    least : float
        Clips whose best label in their class has a lower quality are left out.

    Returns
    -------
    Choice
    """
    starts = labels.offsets.to_numpy() - labels.offsets[0].as_py()
    encoded = pc.dictionary_encode(labels.flatten())
    mids = encoded.dictionary.to_pylist()
    lowest, highest = _reach(mids, ontology, chosen)
    rate = np.where(highest >= 0, [rates.get(mid, 0.0) for mid in mids], -1.0)
    codes = encoded.indices.to_numpy()
    # by the first and the last class that a clip's labels reach, since "several" means that these two differ
    first = _per_clip(np.minimum, starts, lowest[codes], len(chosen))
    last = _per_clip(np.maximum, starts, highest[codes], -1)
    best = _per_clip(np.maximum, starts, rate[codes], -1.0)
    reason = np.select([last < 0, first < last, best < least], [1, 2, 3], default=0)
    number = np.where((last >= 0) & (first == last), first, len(chosen))
    names = pa.array([ontology.name(mid).replace(";", ",") for mid in mids], pa.string()).take(encoded.indices)
    return Choice(
        number,
        pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), names), ";"),
        pa.array(["", "other_class", "several_classes", "low_quality"]).take(pa.array(reason)),
    )


def _reach(mids: Sequence[str], ontology: Ontology, chosen: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest index of the chosen classes above each mid (beyond the ends where none is)."""
    below = [ontology.descendants(mid) for mid in chosen]
    reached = [[number for number, inside in enumerate(below) if mid in inside] for mid in mids]
    lowest = np.array([numbers[0] if numbers else len(chosen) for numbers in reached], dtype=np.int64)
    highest = np.array([numbers[-1] if numbers else -1 for numbers in reached], dtype=np.int64)
    return lowest, highest


def _per_clip(reduce: np.ufunc, starts: np.ndarray, values: np.ndarray, nothing: float) -> np.ndarray:
    """Reduce the values of each clip's labels to one; `nothing` for a clip without labels."""
    reduced = np.full(len(starts) - 1, nothing, dtype=values.dtype)
    filled = np.diff(starts) > 0
    if filled.any():
        reduced[filled] = reduce.reduceat(values, starts[:-1][filled])
    return reduced


def _only(ytid: pa.ChunkedArray, allowed: frozenset[str], reason: pa.Array) -> pa.Array:
    fits = pc.or_(pc.is_in(ytid, pa.array(sorted(allowed), pa.string())).combine_chunks(), pc.not_equal(reason, ""))
    return pc.if_else(fits, reason, "low_quality")


def write_class_lists(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write one CSV a class with the links of its clips, which is how the three-class set was first described.

    Parameters
    ----------
    table : DataFrame
        Clips table of AudioSet; only candidates are written.
    folder : Path
        Made if it is not there.

    Returns
    -------
    list of Path
        One a class, sorted; each has ``url, start_s, end_s, label, labels``, ordered by clip id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    candidates = table[(table["reason"] == "").to_numpy(dtype=bool)].sort_values("clip_id")
    names = _file_names(sorted(candidates["label"].unique()))
    return [_write_class_list(clips, folder / names[label]) for label, clips in candidates.groupby("label")]


def _file_names(labels: Sequence[str]) -> dict[str, str]:
    """Name a file for each class: lower case and underscores, with one more underscore where two would be the same."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "class"
        while f"{name}.csv" in names.values():
            name += "_"
        names[label] = f"{name}.csv"
    return names


def _write_class_list(clips: pd.DataFrame, path: Path) -> Path:
    temporary = path.with_suffix(".part")
    columns = (clips[name] for name in ("recording_id", "start_s", "duration_s", "label", "labels"))
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["url", "start_s", "end_s", "label", "labels"])
        for video, start_s, duration_s, label, labels in zip(*columns, strict=True):
            url = f"https://www.youtube.com/watch?v={video}&t={int(start_s)}s"
            writer.writerow([url, f"{start_s:.3f}", f"{start_s + duration_s:.3f}", label, labels])
    temporary.replace(path)
    return path
