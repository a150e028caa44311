"""What a download has to ask for: clips table, ledger and the files that are there, brought into an order of videos."""

import math
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.catalog import Catalog
from audiodata.datasets import read_clips
from audiodata.download import VideoTask, WantedClip
from audiodata.errors import CatalogError, MetadataError
from audiodata.findings import as_arrow
from audiodata.resolve import DownloadOptions
from audiodata.splits import assign_splits
from audiodata.text_hashes import unit_hashes

CLIPS_AT_ONCE = 10_000
FOLDERS_AT_ONCE = 8


class DownloadPlan(NamedTuple):
    """What is to be asked for.

    Attributes
    ----------
    clips : DataFrame
        ``clip_id, recording_id, start_s, duration_s, path, label``, in the order in which they are asked for.
    summary : DataFrame
        One row a class and a last row ``all``: ``wanted, there, failed, left, asked`` (clips).
    videos : int
        Videos that the clips are in.
    estimated_s : float
        Time that the pace alone takes, in seconds.
    """

    clips: pd.DataFrame
    summary: pd.DataFrame
    videos: int
    estimated_s: float


def read_candidates(catalog: Catalog, root: Path) -> pd.DataFrame:
    """Read the clips that a catalog chooses, with their split.

    Raises
    ------
    MetadataError
        The data root is not there, or its lists can't be read.
    CatalogError
        The data set is not one of clips that can be asked for.
    """
    if not root.is_dir():
        raise MetadataError(f"--data {root}: no such folder")
    select = catalog.select
    table = read_clips(
        catalog.dataset,
        root,
        classes=select.classes,
        quality=select.quality,
        per_class=select.per_class,
        seed=select.seed,
    )
    chosen = table[(table["reason"] == "").to_numpy(dtype=bool)].reset_index(drop=True)
    if not chosen["path"].str.endswith(".flac").all() or (chosen["file_start_s"] != 0).any():
        problem = f"`{catalog.dataset.name}` is made of files that you have; there is nothing to download"
        raise CatalogError(f"{catalog.name}: {problem}")
    return chosen.assign(split=_splits(catalog, chosen))


def _splits(catalog: Catalog, chosen: pd.DataFrame) -> pd.Series | str:
    """Return the splits, by which a limit is balanced; a list too short to be split can be downloaded all the same."""
    try:
        return assign_splits(chosen, **catalog.split.model_dump())
    except CatalogError:
        return ""


def current_status(
    candidates: pd.DataFrame, known: pd.DataFrame, there: np.ndarray, retry: Sequence[str] = ()
) -> np.ndarray:
    """Status of each candidate by ledger and files together.

    Parameters
    ----------
    candidates : DataFrame
        Clips table of the clips that the catalog chooses.
    known : DataFrame
        The ledger's ``clip_id, status, reason``.
    there : array of bool, shape [candidate]
        Whether the clip's file is there.
    retry : sequence of str
        Reasons to be tried again.

    Returns
    -------
    array of str, shape [candidate]
        "ok" (recorded and there), "present" (there, but not recorded: a run was killed between the two, or the ledger
        was lost), "gone" (recorded, but not there), "failed", or "pending".
    """
    again = (known["status"] == "failed") & known["reason"].isin(retry)
    codes, names = pd.factorize(known["status"].mask(again, "pending"))
    at = pc.index_in(as_arrow(candidates["clip_id"]), value_set=as_arrow(known["clip_id"]))
    code = np.append(codes, -1)[at.fill_null(-1).to_numpy()]  # -1: not in the ledger
    status = np.append(np.asarray(names, dtype=object), "pending")[code]
    return np.select([(status == "ok") & ~there, (status == "pending") & there], ["gone", "present"], default=status)


def plan(
    candidates: pd.DataFrame, status: np.ndarray, *, limit: int | None = None, seed: int = 0, interval_s: float = 0.0
) -> DownloadPlan:
    """Decide what to ask for, and in which order.

    Parameters
    ----------
    candidates : DataFrame
        Clips table of the clips that the catalog chooses, with their split.
    status : array of str, shape [candidate]
        Of `current_status`.
    limit : int or None
        Ask for so many clips at most.
    seed : int
        Of the order: by hash, splits and classes taking turns, as a build's limit has it. It does not depend on what
        is left.
    interval_s : float
        Mean distance of two videos.
    """
    order = _balanced_order(candidates, seed)
    left = order[np.isin(status[order], ["pending", "gone"])][:limit]
    columns = ["clip_id", "recording_id", "start_s", "duration_s", "path", "label"]
    asked = candidates[columns].take(left).reset_index(drop=True)
    videos = asked["recording_id"].nunique()
    return DownloadPlan(asked, _summary(candidates["label"], status, asked), videos, videos * interval_s)


def _balanced_order(table: pd.DataFrame, seed: int) -> np.ndarray:
    draw = pd.Series(unit_hashes(seed, "select", table["clip_id"].tolist()), index=table.index)
    turn = draw.groupby([table[name] for name in ("split", "label")]).rank(method="first")
    return np.lexsort((draw.to_numpy(), turn.to_numpy()))


def _summary(labels: pd.Series, status: np.ndarray, asked: pd.DataFrame) -> pd.DataFrame:
    counts = pd.DataFrame({"label": labels.array, "status": status}).value_counts().unstack(fill_value=0).sort_index()
    columns = {"there": ("ok", "present"), "failed": ("failed",), "left": ("pending", "gone")}
    summary = pd.DataFrame({"wanted": counts.sum(axis=1)})
    for name, statuses in columns.items():
        summary[name] = counts.reindex(columns=list(statuses), fill_value=0).sum(axis=1)
    summary["asked"] = asked["label"].value_counts().reindex(summary.index, fill_value=0)
    summary.loc["all"] = summary.sum()
    return summary.astype("int64").rename_axis("class")


def wanted_clips(clips: pd.DataFrame) -> Iterator[tuple[str, WantedClip]]:
    """Yield each row of a plan's clips as recording id and clip."""
    names = ["recording_id", "clip_id", "start_s", "duration_s", "path"]
    for at in range(0, len(clips), CLIPS_AT_ONCE):
        some = clips[names].iloc[at : at + CLIPS_AT_ONCE]
        for recording_id, clip_id, start_s, duration_s, path in zip(*(some[name].to_numpy().tolist() for name in names), strict=True):
            yield recording_id, WantedClip(clip_id, start_s, None if math.isnan(duration_s) else duration_s, path)


def clips_by_recording(clips: pd.DataFrame) -> dict[str, list[WantedClip]]:
    """Gather clips by their recording."""
    gathered: dict[str, list[WantedClip]] = {}
    for recording_id, clip in wanted_clips(clips):
        gathered.setdefault(recording_id, []).append(clip)
    return gathered


def video_tasks(clips: pd.DataFrame, root: Path, options: DownloadOptions) -> Iterator[VideoTask]:
    """Yield one task a video, with all its clips, in the order of their first clips."""
    codes, _ = pd.factorize(clips["recording_id"])
    together = clips.take(np.argsort(codes, kind="stable"))
    for name, of_video in groupby(wanted_clips(together), key=itemgetter(0)):
        yield VideoTask(name, tuple(clip for _, clip in of_video), str(root), options)


def files_there(root: Path, paths: Sequence[str] | pd.Series) -> np.ndarray:
    """Whether each path below a root is there; folders are listed, as shared file systems are slow to look up files."""
    texts = pa.array(paths, pa.large_string())
    order = pc.sort_indices(texts).to_numpy()  # so that few listings have to be in memory at a time
    names_in = lru_cache(maxsize=FOLDERS_AT_ONCE)(lambda folder: _names(root / folder))
    there = np.zeros(len(order), dtype=bool)
    for at in range(0, len(order), CLIPS_AT_ONCE):
        rows = order[at : at + CLIPS_AT_ONCE]
        split = (path.rpartition("/") for path in texts.take(pa.array(rows)).to_pylist())
        there[rows] = [name in names_in(folder) for folder, _, name in split]
    return there


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - a Path for each of a million names is slow
    except (FileNotFoundError, NotADirectoryError):
        return set()
