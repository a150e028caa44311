"""What becomes of every clip of a table: selection, inspection, cleaning and duplicates brought together in one status and reason each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from audiodata.cleaning import duplicates, judge_clip
from audiodata.errors import CatalogError
from audiodata.findings import Findings, Pool, Verdict, as_arrow, take_texts
from audiodata.reasons import REASONS
from audiodata.records import Inspection

NOT_DOWNLOADED: Verdict = ("failed", "not_downloaded", "no file yet; run: python -m pipelines download")


class Judge(NamedTuple):
    """What a catalog makes of an inspection by itself.

    Attributes
    ----------
    clean : settings
        The catalog's ``[clean]`` table.
    channels : int or None
        The catalog's ``channels``.
    """

    clean: Any
    channels: int | None

    def one(self, found: Inspection, duration_s: float) -> Verdict:
        """Return `judge_clip`."""
        return judge_clip(found, duration_s, self.clean, self.channels)

    def surely_fine(self, found: Mapping[str, np.ndarray] | np.ndarray, durations_s: np.ndarray) -> np.ndarray:
        """Whether each of many clips of sound is fine beyond doubt, so that it need not be judged one by one; bool [clip].

        Parameters
        ----------
        found : mapping of str to array, or array with fields, shape [clip]
            ``channels`` and `audiodata.cleaning.Measurements` by name; NaN where there is none, which is never fine.
        durations_s : array of float, shape [clip]
            Expected durations; NaN = not known.
        """
        clean, lasts_s = self.clean, found["duration_s"]
        fine = (found["finite"] == 1) & (lasts_s > 0) & (lasts_s >= clean.min_duration_s)
        fine &= ~(lasts_s < durations_s - clean.duration_tolerance_s)
        fine &= (found["level_db"] >= clean.min_level_db) & (found["clipped_share"] <= clean.max_clipped_share)
        fine &= np.abs(found["dc_offset"]) <= clean.max_dc_offset
        if clean.max_duration_s is not None:
            fine &= lasts_s <= clean.max_duration_s
        if clean.min_bandwidth_hz is not None:
            fine &= found["bandwidth_hz"] >= clean.min_bandwidth_hz
        return fine if self.channels in (None, 1) else fine & (found["channels"] == self.channels)


def judge(table: pd.DataFrame, findings: Findings, clean: Any, fetched: pd.DataFrame | None = None) -> pd.DataFrame:
    """Decide on every clip.

    Parameters
    ----------
    table : DataFrame
        The clips table.
    findings : Findings
        Of every candidate of it.
    clean : settings
        The catalog's ``[clean]`` table.
    fetched : DataFrame, optional
        What the download says of the clips that it has not got: ``clip_id, status, reason, detail``; None for a data set that is not
        downloaded clip by clip.

    Returns
    -------
    DataFrame
        ``clip_id, status, reason, detail``, one row a clip, in the order of the table.
    """
    codes = findings.verdict.copy()
    for reason in table["reason"].unique():
        if reason:
            codes[(table["reason"] == reason).to_numpy(dtype=bool)] = findings.verdicts.code(("not_selected", reason, REASONS[reason].meaning))
    if fetched is not None:
        _take_over(codes, table["clip_id"], findings.verdicts, fetched)
    if clean.duplicates == "drop":
        _reject_duplicates(codes, table["clip_id"], findings)
    columns = zip(*findings.verdicts.held, strict=True) if len(table) else [()] * 3
    texts = {name: take_texts(column, codes) for name, column in zip(("status", "reason", "detail"), columns, strict=True)}
    return pd.DataFrame({"clip_id": table["clip_id"].array, **texts})


def _take_over(codes: np.ndarray, clip_ids: pd.Series, verdicts: Pool, fetched: pd.DataFrame) -> None:
    """Give clips whose files are missing the verdict of the download."""
    of_missing = [code for code, (_, reason, _) in enumerate(verdicts.held) if reason == "missing_file"]
    missing = np.flatnonzero(np.isin(codes, of_missing))
    at = pc.index_in(as_arrow(clip_ids.iloc[missing]), value_set=as_arrow(fetched["clip_id"])).fill_null(-1).to_numpy()
    codes[missing] = verdicts.code(NOT_DOWNLOADED)
    told = fetched.iloc[at[at >= 0]]
    told_codes = map(verdicts.code, zip(told["status"], told["reason"], told["detail"], strict=True))
    codes[missing[at >= 0]] = np.fromiter(told_codes, dtype=codes.dtype, count=len(told))


def _reject_duplicates(codes: np.ndarray, clip_ids: pd.Series, findings: Findings) -> None:
    """Of clips with equal content that are otherwise fine, keep the one with the smallest id."""
    fine = fine_rows(codes, findings.verdicts)
    begins = np.ascontiguousarray(findings.content[fine, :8]).view("u8")[:, 0]
    alike = fine[pd.Series(begins).duplicated(keep=False).to_numpy()]  # few, and only they are compared as a whole
    ids = clip_ids.iloc[alike].tolist()
    kept_of = duplicates((clip_id, _hex(findings.content[row])) for clip_id, row in zip(ids, alike, strict=True))
    for clip_id, row in zip(ids, alike, strict=True):
        if clip_id in kept_of:
            codes[row] = findings.verdicts.code(("rejected", "duplicate", f"the same samples as {kept_of[clip_id]}"))


def _hex(content: np.ndarray) -> str:
    return content.tobytes().hex() if content.any() else ""


def fine_rows(codes: np.ndarray, verdicts: Pool) -> np.ndarray:
    """Rows whose verdict is that a clip is fit for use."""
    return np.flatnonzero(np.isin(codes, [code for code, (status, _, _) in enumerate(verdicts.held) if status == "ok"]))


def common_value(findings: Findings, rows: np.ndarray, clip_ids: pd.Series, attribute: str, key: str) -> Any:
    """The one value that all clips share.

    Parameters
    ----------
    findings : Findings
    rows : array of int, shape [clip]
        The clips that count.
    clip_ids : Series of str
        Of all clips of the table.
    attribute : str
        "sample_rate", "channels" or "shape".
    key : str
        The catalog's key that settles it when they differ.

    Raises
    ------
    CatalogError
        The clips differ.
    """
    found = findings.count_formats(rows, ("sample_rate", "channels", "shape").index(attribute))
    if len(found) > 1:
        counts = ", ".join(f"{value} ({count} clips, e.g. {clip_ids.iloc[first]})" for value, (first, count) in found.items())
        raise CatalogError(f"the clips differ in {attribute}: {counts}; set {key} in the catalog")
    return next(iter(found))
