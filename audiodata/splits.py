"""Train, val and test over groups: no group is ever on two sides, and nothing depends on the order of the rows.

Four schemes, each one function of `SCHEMES`. "grouped" looks at a group's name alone, so a clip keeps its split
whatever else is in the table; "stratified" gives each class its shares exactly, as far as groups allow, and depends on
the table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import Field, field_validator

from audiodata.errors import CatalogError, LeakageError, MetadataError
from audiodata.settings import Settings, nearest
from audiodata.text_hashes import unit_hashes

SPLITS = ("train", "val", "test")
FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}

# how data sets spell the three in their own lists and folders
SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


Split = Literal["train", "val", "test"]


class SplitSettings(Settings):
    """How groups are divided.

    ``scheme``: "grouped" (by seeded hash of the group alone), "stratified" (exact shares per class, depends on the table), "published"
    (the data set's own, mapped by ``published``), "held_out" (the groups named in ``held_out``). ``val_share``: share of the training
    groups that the last two schemes move to val.
    """

    scheme: Literal["grouped", "stratified", "published", "held_out"] = "grouped"
    fractions: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
    seed: int = 0
    published: dict[Split, tuple[str, ...]] = {}
    held_out: dict[Split, tuple[str, ...]] = {}
    val_share: float = Field(default=0.0, ge=0.0, lt=1.0)

    @field_validator("published", "held_out", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Let folds be written as numbers, which is how their columns look."""
        if not isinstance(value, dict):
            return value
        return {split: [str(item) for item in items] if isinstance(items, list | tuple) else items for split, items in value.items()}

    @field_validator("fractions")
    @classmethod
    def _sums_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        if any(share < 0 for share in value.values()) or abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError(f"shares must be at least 0 and sum to 1, these sum to {sum(value.values()):g}")
        return value


class SplitRule(NamedTuple):
    """What a catalog's ``[split]`` asks for; see `assign_splits`."""

    fractions: Mapping[str, float]
    seed: int
    published: Mapping[str, Sequence[str]]
    held_out: Mapping[str, Sequence[str]]


def assign_splits(
    table: pd.DataFrame,
    *,
    scheme: str = "grouped",
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    published: Mapping[str, Sequence[str]] | None = None,
    held_out: Mapping[str, Sequence[str]] | None = None,
    val_share: float = 0.0,
) -> pd.Series:
    """Give every candidate its split.

    Parameters
    ----------
    table : DataFrame
        Clips table; the candidates are the rows whose ``reason`` is empty.
    scheme : str
        "grouped": seeded hash of the group's name against the cumulated `fractions`. "stratified": for each class the
        groups, ordered by seeded hash, are dealt out in exact shares; a group of several classes counts for its most
        frequent one. "published": the data set's own split. "held_out": the groups named; all others are for training.
    fractions : mapping of str to float, optional
        Shares of the groups, summing to 1 (default `FRACTIONS`).
    seed : int
    published : mapping of str to sequence of str, optional
        Split to the values of the column ``published`` that belong to it; empty: the usual `SPELLINGS`.
    held_out : mapping of str to sequence of str, optional
        Split (val or test) to group ids.
    val_share : float
        "published" and "held_out" only: share of the training groups that goes to val, by seeded hash.

    Returns
    -------
    Series of str
        With the table's index: "train", "val" or "test", and an empty text for rows that are no candidates.

    Raises
    ------
    CatalogError
        The settings contradict themselves or the table, or leave a split empty.
    MetadataError
        There are no candidates.
    """
    rule = SplitRule(fractions or FRACTIONS, seed, published or {}, held_out or {})
    _check_settings(scheme, rule, val_share)
    candidates = (table["reason"] == "").to_numpy(dtype=bool)
    if not candidates.any():
        raise MetadataError(f"no clip is left to split ({_reasons(table)}); check the catalog's [select]")
    chosen = table.loc[candidates, ["group_id", "label", "published"]]
    codes = SCHEMES[scheme](chosen, rule)
    if val_share:
        codes = _move_to_val(chosen, codes, seed, val_share)
    _check_filled(codes, chosen, scheme, _asked_for(scheme, rule, val_share))
    everywhere = np.full(len(table), len(SPLITS))
    everywhere[candidates] = codes
    names = pa.array([*SPLITS, ""]).take(pa.array(everywhere)).to_pandas()
    return names.set_axis(table.index).rename("split")


def check_leakage(table: pd.DataFrame) -> None:
    """Refuse a table that has clips of one group, or of one recording, in two splits.

    Parameters
    ----------
    table : DataFrame
        Clips table with its ``split``; rows without a split are not looked at.

    Raises
    ------
    LeakageError
        Names the first such group (in order of names) and its splits.
    """
    words = {"group_id": "group", "recording_id": "recording"}
    if table["group_id"].equals(table["recording_id"]):  # as in most tables: there is nothing more to see
        words.pop("recording_id")
    placed = table.loc[(table["split"] != "").to_numpy(dtype=bool), [*words, "split"]]
    splits = pd.factorize(placed["split"])[0]
    for column, word in words.items():
        groups, names = pd.factorize(placed[column])
        first = np.full(len(names), -1)
        first[groups[::-1]] = splits[::-1]
        leaking = np.unique(groups[splits != first[groups]])
        if len(leaking):
            _raise_leak(word, sorted(names[leaking]), placed[column], placed["split"])


def _raise_leak(word: str, leaking: list[str], groups: pd.Series, splits: pd.Series) -> None:
    sides = [name for name in SPLITS if name in set(splits[groups == leaking[0]])]
    more = f" (and {len(leaking) - 1} more)" if len(leaking) > 1 else ""
    raise LeakageError(
        f"{word} `{leaking[0]}`{more} has clips in {' and '.join(sides)}; a {word} must stay on one side: "
        'choose scheme "grouped" or "stratified", or give the data set a group that covers it'
    )


def _check_settings(scheme: str, rule: SplitRule, val_share: float) -> None:
    if scheme not in SCHEMES:
        raise CatalogError(f"[split] scheme = `{scheme}`{nearest(scheme, list(SCHEMES))}")
    for key in ("fractions", "published", "held_out"):
        unknown = [name for name in getattr(rule, key) if name not in SPLITS]
        if unknown:
            raise CatalogError(f"[split] {key}: unknown split `{unknown[0]}`; known: {', '.join(SPLITS)}")
    total = sum(rule.fractions.values())
    if min(rule.fractions.values()) < 0 or abs(total - 1) > 1e-6:
        raise CatalogError(f"[split] fractions must be at least 0 and sum to 1, these sum to {total:g}")
    if val_share and scheme not in ("published", "held_out"):
        raise CatalogError(f'[split] val_share goes with "published" and "held_out"; "{scheme}" has fractions')
    if not 0 <= val_share < 1:
        raise CatalogError(f"[split] val_share = {val_share:g}: expected at least 0 and less than 1")


def _asked_for(scheme: str, rule: SplitRule, val_share: float) -> list[str]:
    """Name the splits that the settings promise some clips."""
    if scheme in ("grouped", "stratified"):
        return [name for name in SPLITS if rule.fractions.get(name, 0) > 0]
    named = rule.published if scheme == "published" else {"train": ("",), **rule.held_out}
    return [name for name in SPLITS if named.get(name) or (name == "val" and val_share)]


def _check_filled(codes: np.ndarray, chosen: pd.DataFrame, scheme: str, asked_for: list[str]) -> None:
    advice = "check what it names" if scheme in ("published", "held_out") else "choose other shares or another seed"
    counts = np.bincount(codes, minlength=len(SPLITS))
    empty = [name for name in asked_for if counts[SPLITS.index(name)] == 0]
    if empty:
        groups = chosen["group_id"].nunique()
        raise CatalogError(f"[split] leaves `{empty[0]}` empty ({len(chosen)} clips in {groups} groups); {advice}")


def _reasons(table: pd.DataFrame) -> str:
    counts = table["reason"].value_counts()
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "the table is empty"


# The schemes: each takes the candidates and returns an index into SPLITS for each row.


def _grouped(chosen: pd.DataFrame, rule: SplitRule) -> np.ndarray:
    edges = np.cumsum([rule.fractions.get(name, 0.0) for name in SPLITS])[:-1]
    last = max(number for number, name in enumerate(SPLITS) if rule.fractions.get(name, 0.0) > 0)
    drawn = np.searchsorted(edges, unit_hashes(rule.seed, "split", chosen["group_id"]), side="right")
    return np.minimum(drawn, last)  # shares that sum to 1 - 1e-16 must not open a split of share 0


def _stratified(chosen: pd.DataFrame, rule: SplitRule) -> np.ndarray:
    groups, names = pd.factorize(chosen["group_id"])
    classes = _main_class(groups, chosen["label"])
    draw = pd.Series(unit_hashes(rule.seed, "split", names))
    order = draw.groupby(classes).rank(method="max").to_numpy()
    ends = np.array([np.cumsum(quotas(int(size), rule.fractions)) for size in np.bincount(classes)])  # [class, split]
    codes = (order > ends[classes, 0]).astype(np.int64) + (order > ends[classes, 1])
    return codes[groups]


def _main_class(groups: np.ndarray, labels: pd.Series) -> np.ndarray:
    """Most frequent class of each group, as a number; of equally frequent ones the first by name."""
    classes = pd.factorize(labels, sort=True)[0]
    counts = pd.DataFrame({"group": groups, "class": classes}).value_counts(sort=False).rename("clips").reset_index()
    ordered = counts.sort_values(["group", "clips", "class"], ascending=[True, False, True])
    return ordered.drop_duplicates("group")["class"].to_numpy()


def quotas(count: int, fractions: Mapping[str, float]) -> np.ndarray:
    """Deal out groups in shares, by largest remainder; with enough groups, every split with a share gets at least one.

    Parameters
    ----------
    count : int
        Groups of one class.
    fractions : mapping of str to float
        Split to share.

    Returns
    -------
    array of int64, shape [split]
        In the order of `SPLITS`, summing to `count`.

    Examples
    --------
    >>> quotas(10, {"train": 0.8, "val": 0.1, "test": 0.1}).tolist()
    [8, 1, 1]
    >>> quotas(3, {"train": 0.8, "val": 0.1, "test": 0.1}).tolist()
    [1, 1, 1]
    """
    shares = np.array([fractions.get(name, 0.0) for name in SPLITS])
    exact = np.round(shares * count, 9)
    dealt = np.floor(exact).astype(np.int64)
    for number in np.argsort(dealt - exact, kind="stable")[: count - int(dealt.sum())]:
        dealt[number] += 1
    if count >= np.count_nonzero(shares):
        for number in np.flatnonzero((shares > 0) & (dealt == 0)):
            dealt[np.argmax(dealt)] -= 1
            dealt[number] += 1
    return dealt


def _published(chosen: pd.DataFrame, rule: SplitRule) -> np.ndarray:
    values = chosen["published"].unique().tolist()
    split_of = _named(rule.published, "published") or {
        value: SPELLINGS[value.lower()] for value in values if value.lower() in SPELLINGS
    }
    listed = f"values: {', '.join(repr(value) for value in sorted(values)[:20])}"
    unplaced = sorted(value for value in values if value not in split_of)
    if unplaced:
        count = int((chosen["published"] == unplaced[0]).sum())
        value = f"the published value `{unplaced[0]}`" if unplaced[0] else "no published value"
        raise CatalogError(f"[split] published: {count} clips have {value}, which is in no split; {listed}")
    unknown = [value for value in split_of if value not in values]
    if unknown:
        raise CatalogError(f"[split] published: no clip has the value `{unknown[0]}`; {listed}")
    return _codes(chosen["published"], split_of)


def _held_out(chosen: pd.DataFrame, rule: SplitRule) -> np.ndarray:
    if rule.held_out.get("train"):
        raise CatalogError("[split] held_out: train is what is left; name groups for val and test")
    if not any(rule.held_out.values()):
        raise CatalogError('[split] scheme = "held_out" needs the groups, e.g. held_out = { test = ["..."] }')
    split_of = _named(rule.held_out, "held_out")
    groups = sorted(chosen["group_id"].unique())
    missing = sorted(set(split_of) - set(groups))
    if missing:
        tail = nearest(missing[0], groups[:20])
        raise CatalogError(f"[split] held_out: no clip has the group `{missing[0]}` ({len(groups)} groups){tail}")
    return _codes(chosen["group_id"], split_of)


def _named(mapping: Mapping[str, Sequence[str]], key: str) -> dict[str, str]:
    """Turn split -> names round; a name may stand once."""
    split_of: dict[str, str] = {}
    for split, names in mapping.items():
        for name in map(str, names):
            if split_of.setdefault(name, split) != split:
                raise CatalogError(f"[split] {key}: `{name}` is in {split_of[name]} and in {split}; name it once")
    return split_of


def _codes(values: pd.Series, split_of: Mapping[str, str]) -> np.ndarray:
    """Return the splits of values as indices; values that are not named are for training."""
    codes, names = pd.factorize(values)
    return np.array([SPLITS.index(split_of.get(name, "train")) for name in names])[codes]


def _move_to_val(chosen: pd.DataFrame, codes: np.ndarray, seed: int, val_share: float) -> np.ndarray:
    """Move a share of the training groups to val, decided by the group's name alone, as in `_grouped`."""
    groups, names = pd.factorize(chosen["group_id"])
    moved = unit_hashes(seed, "val", names) < val_share
    return np.where(moved[groups] & (codes == SPLITS.index("train")), SPLITS.index("val"), codes)


SCHEMES: dict[str, Callable[[pd.DataFrame, SplitRule], np.ndarray]] = {
    "grouped": _grouped,
    "stratified": _stratified,
    "published": _published,
    "held_out": _held_out,
}
