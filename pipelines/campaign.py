"""What a download is going to cost before it starts: clips, videos, bytes, days, and how many clips are likely to be lost, per class."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from audiodata.catalog import DownloadSettings
from audiodata.console import out, print_table
from audiodata.ledger import attrition
from pipelines.download_plan import DownloadPlan

PUBLISHED_LOSS = (0.15, 0.20)  # of AudioSet, reported from 2022 to 2025
ENOUGH = 50  # settled clips that make a share worth telling
FILES_LOOKED_AT = 200
SOURCE_RATE, BYTES_PER_SAMPLE = 48_000, 2  # what platforms serve at most, and the files' 16 bits
MOST_CLASSES = 40


class Campaign(NamedTuple):
    """A download, estimated.

    Attributes
    ----------
    clips, videos : int
        To be asked for.
    days : float
        That the pace alone takes, all identities at work all day.
    size : int
        Bytes of the files that are expected.
    measured_files : int
        Files that the size is estimated from; 0: from the sample rate, uncompressed, so that it is an upper bound.
    losses : DataFrame
        A row a class and a last row ``all``: ``asked`` (clips), ``least_lost, most_lost`` (expected share) and ``settled`` (clips in the
        ledger from which the share comes; 0: it is the published one).
    """

    clips: int
    videos: int
    days: float
    size: int
    measured_files: int
    losses: pd.DataFrame


def estimate(
    planned: DownloadPlan, known: pd.DataFrame, candidates: pd.DataFrame, pace: DownloadSettings, identities: int, root: Path
) -> Campaign:
    """Estimate a download.

    Parameters
    ----------
    planned : DownloadPlan
    known : DataFrame
        The ledger's ``clip_id, status, reason``.
    candidates : DataFrame
        Clips table of the clips that the catalog chooses.
    pace : DownloadSettings
    identities : int
        Network identities that share the work.
    root : Path
        The data root; a few of its files are looked at.
    """
    losses = expected_losses(attrition(known, candidates.set_index("clip_id")["label"]), planned.clips["label"].value_counts())
    had = candidates[candidates["clip_id"].isin(known.loc[known["status"] == "ok", "clip_id"])]
    sizes = _bytes_per_second(root, had.iloc[:: max(len(had) // FILES_LOOKED_AT, 1)])
    per_second = float(np.mean(sizes)) if sizes else (pace.sample_rate or SOURCE_RATE) * (pace.channels or 2) * BYTES_PER_SAMPLE
    kept = 1 - losses.loc["all", ["least_lost", "most_lost"]].mean()
    size = round(planned.clips["duration_s"].sum() * per_second * kept)
    days = planned.videos * pace.interval_s / identities / 86_400
    return Campaign(len(planned.clips), planned.videos, days, size, len(sizes), losses)


def _bytes_per_second(root: Path, clips: pd.DataFrame) -> list[float]:
    """What a second of sound takes in each file that is there and whose duration is known."""
    files = zip((root / path for path in clips["path"]), clips["duration_s"], strict=True)
    return [path.stat().st_size / duration_s for path, duration_s in files if duration_s > 0 and path.is_file()]


def expected_losses(so_far: pd.DataFrame, asked: pd.Series) -> pd.DataFrame:
    """Expect of each class what was lost of it so far; of one with less than `ENOUGH` settled clips, what was lost of all, or what is published.

    Parameters
    ----------
    so_far : DataFrame
        Of `audiodata.ledger.attrition`.
    asked : Series of int
        Clips to be asked for, by class.
    """
    rows = [(name, count, *_expected(so_far, str(name))) for name, count in asked.sort_index().items()]
    losses = pd.DataFrame(rows, columns=["class", "asked", "least_lost", "most_lost", "settled"]).set_index("class")
    total = max(int(losses["asked"].sum()), 1)
    shares = [float((losses[name] * losses["asked"]).sum() / total) for name in ("least_lost", "most_lost")]
    losses.loc["all"] = [losses["asked"].sum(), *shares, _settled(so_far, "all")]
    return losses.astype({"asked": "int64", "settled": "int64"})


def _settled(so_far: pd.DataFrame, name: str) -> int:
    return int(so_far.loc[name, "asked"] - so_far.loc[name, "pending"]) if name in so_far.index else 0


def _expected(so_far: pd.DataFrame, name: str) -> tuple[float, float, int]:
    for where in (name, "all"):
        if _settled(so_far, where) >= ENOUGH:
            share = float(so_far.loc[where, "lost_share"])
            return share, share, _settled(so_far, where)
    return *PUBLISHED_LOSS, 0


def print_campaign(campaign: Campaign, pace: DownloadSettings, identities: int) -> None:
    """Print an estimate: the classes (of many, those with the most clips) and the sums."""
    shown = campaign.losses.iloc[:-1].sort_values("asked", ascending=False, kind="stable").head(MOST_CLASSES)
    columns = ["class", "to ask for", "expected loss", "expected clips", "from"]
    print_table("campaign", columns, map(_cells, pd.concat([shown, campaign.losses.tail(1)]).itertuples()))
    all_classes = campaign.losses.loc["all"]
    out.print(f"to ask for: {campaign.clips} clips of {campaign.videos} videos; expected loss: {_share(all_classes)}, {_source(all_classes)}")
    basis = f"as {campaign.measured_files} files that are there" if campaign.measured_files else "uncompressed, so at most"
    out.print(f"expected files: {campaign.size / 1e9:.2f} GB ({basis})")
    who = "1 network identity" if identities == 1 else f"{identities} network identities"
    out.print(f"time: {campaign.days:.1f} days at least, with {who}, one video every {pace.interval_s:g} s each")


def _cells(row: tuple) -> list[object]:
    lost = (row.least_lost + row.most_lost) / 2
    return [row.Index, row.asked, _share(row), round(row.asked * (1 - lost)), _source(row)]


def _share(row: tuple) -> str:
    least, most = f"{row.least_lost:.1%}", f"{row.most_lost:.1%}"
    return least if least == most else f"{least} to {most}"


def _source(row: tuple) -> str:
    return f"{row.settled:.0f} clips so far" if row.settled >= ENOUGH else "as published for AudioSet"
