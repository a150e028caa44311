"""What becomes of every clip of a table: selection, inspection, cleaning and duplicates brought together in one status and reason each."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from audiodata.cleaning import Measurements, duplicates, judge_duration, verdict
from audiodata.errors import CatalogError
from audiodata.reasons import REASONS
from audiodata.records import Inspection

Verdict = tuple[str, str, str]  # status, reason, detail
NOT_DOWNLOADED: Verdict = ("failed", "not_downloaded", "no file yet; run: python -m pipelines download")


def judge(
    table: pd.DataFrame,
    inspections: Mapping[str, Inspection],
    clean: Any,
    channels: int | None,
    fetched: Mapping[str, Verdict] | None = None,
) -> pd.DataFrame:
    """Decide on every clip.

    Parameters
    ----------
    table : DataFrame
        The clips table.
    inspections : mapping of str to Inspection
        By clip id, for every clip that is a candidate.
    clean : settings
        The catalog's ``[clean]`` table.
    channels : int or None
        The catalog's ``channels``.
    fetched : mapping, optional
        What the download says of a clip, by clip id, for the clips whose file is not there; None for a data set that is not
        downloaded clip by clip.

    Returns
    -------
    DataFrame
        ``clip_id, status, reason, detail``, one row a clip, in the order of the table.
    """
    rows = []
    for clip_id, reason, duration_s in zip(table["clip_id"], table["reason"], table["duration_s"], strict=True):
        if reason:
            rows.append(("not_selected", reason, REASONS[reason].meaning))
        elif inspections[clip_id].reason == "missing_file" and fetched is not None:
            rows.append(fetched.get(clip_id, NOT_DOWNLOADED))
        else:
            rows.append(judge_clip(inspections[clip_id], duration_s, clean, channels))
    verdicts = pd.DataFrame(rows, columns=["status", "reason", "detail"])
    verdicts.insert(0, "clip_id", table["clip_id"].to_numpy())
    return _reject_duplicates(verdicts, inspections) if clean.duplicates == "drop" else verdicts


def judge_clip(found: Inspection, duration_s: float | None, clean: Any, channels: int | None) -> Verdict:
    """Decide on one clip by itself, from what was found, its expected duration and the catalog's ``[clean]`` and ``channels``."""
    if found.reason:
        return "failed", found.reason, found.detail
    if found.shape:  # images are not cleaned, and of events the duration counts
        reason, detail = judge_duration(found.samples / found.sample_rate, clean) if found.sample_rate else ("", "")
        return ("rejected" if reason else "ok"), reason, detail
    if channels not in (None, 1, found.channels):
        return "rejected", "wrong_channels", f"{found.channels} channels where [audio] channels = {channels}"
    measured = Measurements(**found.measured, content_sha256=found.content_sha256)
    reason, detail = verdict(measured, clean, None if pd.isna(duration_s) else duration_s)
    return ("rejected" if reason else "ok"), reason, detail


def _reject_duplicates(verdicts: pd.DataFrame, inspections: Mapping[str, Inspection]) -> pd.DataFrame:
    """Of clips with equal content that are otherwise fine, keep the one with the smallest id."""
    fine = verdicts.loc[verdicts["status"] == "ok", "clip_id"]
    kept_of = duplicates((clip_id, inspections[clip_id].content_sha256) for clip_id in fine)
    doubled = verdicts["clip_id"].isin(kept_of.keys())
    verdicts.loc[doubled, "detail"] = [f"the same samples as {kept_of[clip_id]}" for clip_id in verdicts.loc[doubled, "clip_id"]]
    verdicts.loc[doubled, ["status", "reason"]] = ["rejected", "duplicate"]
    return verdicts


def common_value(inspections: Mapping[str, Inspection], clip_ids: pd.Series, attribute: str, key: str) -> int:
    """The one value that all clips share.

    Parameters
    ----------
    inspections : mapping of str to Inspection
    clip_ids : Series of str
        The clips that count.
    attribute : str
        "sample_rate", "channels" or "shape".
    key : str
        The catalog's key that settles it when they differ.

    Raises
    ------
    CatalogError
        The clips differ.
    """
    found: dict[Any, list[str]] = {}
    for clip_id in clip_ids:
        found.setdefault(getattr(inspections[clip_id], attribute), []).append(clip_id)
    if len(found) > 1:
        counts = ", ".join(f"{value} ({len(ids)} clips, e.g. {ids[0]})" for value, ids in found.items())
        raise CatalogError(f"the clips differ in {attribute}: {counts}; set {key} in the catalog")
    return next(iter(found))
