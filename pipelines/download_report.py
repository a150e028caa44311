"""What a download tells people: what it is going to ask for, and what was lost, per class and per reason."""

import math

import pandas as pd

from audiodata.catalog import DownloadSettings
from audiodata.console import out, print_table
from audiodata.ledger import attrition
from audiodata.reasons import REASONS
from pipelines.download_plan import DownloadPlan

MOST_CLASSES = 40
MOST_REASONS = 6


def print_plan(planned: DownloadPlan, pace: DownloadSettings) -> None:
    """Print clips per class (of many classes only the sum) and the time that the pace takes."""
    rows = planned.summary if len(planned.summary) <= MOST_CLASSES else planned.summary.tail(1)
    counts = zip(rows.index, rows.to_numpy(), strict=True)
    print_table("clips", ["class", *rows.columns], ([label, *row] for label, row in counts))
    asked = f"{len(planned.clips)} clips of {planned.videos} videos"
    out.print(f"to ask for: {asked}; one video every {pace.interval_s:g} s: {_duration(planned.estimated_s)} at least")


def print_attrition(table: pd.DataFrame, candidates: pd.DataFrame) -> None:
    """Print what was lost per class (the worst first) and per reason.

    Parameters
    ----------
    table : DataFrame
        The ledger's ``clip_id, status, reason``.
    candidates : DataFrame
        Clips table of the clips that the catalog chooses.
    """
    lost = attrition(table, candidates.set_index("clip_id")["label"])
    reasons = [name for name in lost.columns if name in REASONS]
    worst = lost.iloc[:-1].sort_values("lost_share", ascending=False, kind="stable").head(MOST_CLASSES)
    columns = ["asked", "ok", "pending", *reasons[:MOST_REASONS]]
    shown = pd.concat([worst, lost.tail(1)])
    cells = ([label, *_cells(row, columns)] for label, row in shown.iterrows())
    print_table("attrition per class", ["class", *columns, "lost"], cells)
    for name in reasons:
        _print_reason(int(lost.loc["all", name]), "failed", name)
    of_catalog = table[(table["status"] == "pending") & table["clip_id"].isin(candidates["clip_id"])]
    for name, count in of_catalog["reason"].value_counts().items():
        _print_reason(count, "pending", name)
    may_pass = [name for name in reasons if REASONS[name].kind in ("transient", "environment")]
    if may_pass:
        out.print("may pass another time: " + " ".join(f"--retry {name}" for name in may_pass))


def _cells(row: pd.Series, columns: list[str]) -> list[object]:
    share = "" if math.isnan(row["lost_share"]) else f"{row['lost_share']:.1%}"
    return [*row[columns].astype(int), share]


def _print_reason(count: int, status: str, reason: str) -> None:
    out.print(f"{count:>8}  {status}: {reason} ({REASONS[reason].meaning})")


def _duration(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 3 * 86400 else f"{seconds / 86400:.0f} days"
