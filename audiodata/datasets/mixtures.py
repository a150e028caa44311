"""Mixtures of your own utterances: two or three speakers at once, mixed while a cache is built; or those of LibriMix's recipes.

Size: as many as asked for.
Origin: another data set of this package (`utterances`), or tables of recipes as J. Cosentino et al. publish them for LibriSpeech.
Paper: the scheme is that of WSJ0-2mix (J. R. Hershey, Z. Chen, J. Le Roux, S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
and separation", ICASSP 2016); the recipes are of J. Cosentino et al., "LibriMix: an open-source dataset for generalizable speech separation",
arXiv 2005.11262 (2020).
Licence: that of the utterances.
Access: put the utterances below the data root, as their own data set wants them; nothing is written but the cache.

A clip has the mixture as channel 0 and its sources as channels 1 and up; `audiodata.speech_mixing` has the equations. Drawn mixtures: speakers
are divided first, by the utterances' own `split` over speakers, and only then utterances of one split and of different speakers are put together,
so no speaker is in two splits. The catalog's own split is "published", which takes over what was decided here. The ratio of the first speaker
over the second is drawn evenly between two bounds, and depends on `seed` and the mixture's id alone. Recipes give each utterance a gain; their
noise is not used, as in LibriMix's "mix_clean". A mixture's group is all mixtures that share a speaker with it, directly or through others.
"""

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import Field, field_validator, model_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import COLUMNS, clips_table
from audiodata.datasets.event_sets import refuse_quality
from audiodata.datasets.mixture_draw import available_mixtures, draw_levels_db, draw_mixtures
from audiodata.datasets.speakers import SpeakerSettings, read_sexes, speaker_columns
from audiodata.datasets.tables import Rows, read_rows, shown
from audiodata.errors import CatalogError, MetadataError
from audiodata.settings import validated
from audiodata.speech_mixing import MixtureRecipe, Span, recipe_text
from audiodata.splits import SPLITS, Split, SplitSettings, assign_splits, check_leakage

BY_SPEAKER = {"scheme": "stratified"}
OF_DRAWN = ("utterances", "speaker", "per_utterance", "per_split", "snr_low_db", "snr_high_db", "level", "seed")


class MixturesSettings(SpeakerSettings):
    """Keys of ``[dataset]`` for mixtures, with those of `SpeakerSettings`; `path` is the folder that recipes' paths begin in.

    Attributes
    ----------
    utterances : dict
        The utterances' own ``[dataset]`` table: ``name``, that data set's keys, and ``split``, a table as the catalog's ``[split]`` whose
        groups are the speakers (default: "stratified", by sex where a `speaker_table` tells that of all).
    recipes : dict
        Instead: split to a table below the data root with the columns ``mixture_ID, source_1_path, source_1_gain, source_2_path, ...``.
    speaker : str
        What tells the speaker of an utterance: its "label" (a folder for each speaker) or its "group".
    speakers : int
        In a mixture: 2 or 3.
    per_utterance : int
        How often each utterance is the first of a mixture, or as often as there are others to put with it.
    per_split : dict
        Split to its number of mixtures, for splits that should have others than `per_utterance` gives.
    snr_low_db, snr_high_db : float
        Between these the ratio of the first utterance over the second is drawn; a third one lies half way.
    level : str
        The level that the ratio is of: "active" (pauses do not count) or "rms".
    mode : str
        "min": all are cut to the shortest; "max": silence is added up to the longest.
    seed : int
        Of who is mixed with whom, and at which ratio.
    """

    utterances: dict[str, Any] = {"name": "folder"}
    recipes: dict[Split, str] = {}
    speaker: Literal["label", "group"] = "label"
    speakers: Literal[2, 3] = 2
    per_utterance: int = Field(default=1, ge=0)
    per_split: dict[Split, int] = {}
    snr_low_db: float = 0.0
    snr_high_db: float = 5.0
    level: Literal["active", "rms"] = "active"
    mode: Literal["min", "max"] = "min"
    seed: int = 0

    @field_validator("utterances")
    @classmethod
    def _known_utterances(cls, value: dict[str, Any]) -> dict[str, Any]:
        from audiodata.datasets import dataset_settings  # the registry, of which this module is a part

        entry, _ = dataset_settings(_own_keys(value), "[dataset.utterances]")
        validated(SplitSettings, value.get("split", BY_SPEAKER), "[dataset.utterances] split")
        if entry.kind != "audio" or entry.channels:
            raise ValueError(f"`{value['name']}` holds no single utterances as sound files")
        return value

    @field_validator("per_split")
    @classmethod
    def _counts(cls, value: dict[str, int]) -> dict[str, int]:
        if any(count < 0 for count in value.values()):
            raise ValueError("must be at least 0")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> "MixturesSettings":
        if self.snr_low_db > self.snr_high_db:
            raise ValueError(f"snr_low_db = {self.snr_low_db:g} is over snr_high_db = {self.snr_high_db:g}")
        beside = [name for name in OF_DRAWN if name in self.model_fields_set]
        if self.recipes and beside:
            raise ValueError(f"`{beside[0]}` says nothing beside `recipes`, which tell what is mixed; leave one of them out")
        if not all(is_safe_path(path) for path in self.recipes.values()):
            raise ValueError("`recipes` must lie below the data root (which --data gives)")
        return self


def _own_keys(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "split"}


class Mixture(NamedTuple):
    """One mixture: its id and split, and of each of its utterances the file and the speaker, in order."""

    clip_id: str
    split: str
    paths: tuple[str, ...]
    speakers: tuple[str, ...]
    recipe: MixtureRecipe


def clip_channels(settings: MixturesSettings) -> int:
    """Channels of a clip: the mixture and its sources."""
    return 1 + settings.speakers


def read_clips(settings: MixturesSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """Draw the mixtures, or read their recipes.

    Parameters
    ----------
    settings : MixturesSettings
    root : Path
    classes : sequence of str
        Mixtures to keep: "same sex", "different sex"; both need a `speaker_table`.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table: the mixtures, each with its split in ``published``, its speakers in ``labels`` and, where the sexes are known, whether
        they differ in ``label``; and the utterances that the data set `utterances` leaves out.

    Raises
    ------
    CatalogError, MetadataError
        As the utterances' data set; a split with too few speakers for a mixture, or utterances for so many; a row of a recipe (with its
        line) that is none.
    """
    refuse_quality("mixtures", quality)
    if settings.recipes:
        told = [one for split, path in settings.recipes.items() for one in _from_recipes(settings, root, split, path)]
        return _as_table(settings, root, told, classes)
    table = read_utterances(settings, root)
    drawn = _as_table(settings, root, _drawn(settings, table[table["split"] != ""]), classes)
    return pd.concat([drawn, table.loc[table["reason"] != "", list(COLUMNS)]], ignore_index=True)


def _as_table(settings: MixturesSettings, root: Path, mixtures: list[Mixture], classes: Sequence[str]) -> pd.DataFrame:
    if not mixtures:
        raise MetadataError(f"{root}: no mixture was asked for; raise `per_utterance` or `per_split` in [dataset]")
    return clips_table({
        "clip_id": [one.clip_id for one in mixtures],
        "path": [one.paths[0] for one in mixtures],
        "more_paths": ["|".join(one.paths[1:]) for one in mixtures],
        "reader": [recipe_text(one.recipe) for one in mixtures],
        "published": [one.split for one in mixtures],
        **speaker_columns(settings, root, [one.speakers for one in mixtures], classes)._asdict(),
    })


def read_utterances(settings: MixturesSettings, root: Path) -> pd.DataFrame:
    """Read the utterances and divide their speakers.

    Parameters
    ----------
    settings : MixturesSettings
    root : Path

    Returns
    -------
    DataFrame
        The utterances' clips table, with the speaker as ``group_id`` and the ``split``, which is empty for those that are left out.
    """
    from audiodata.datasets import read_clips as read_any

    name = settings.utterances["name"]
    table = read_any(_own_keys(settings.utterances), root)
    if ((table["channels"] != "") | (table["more_paths"] != "")).any():
        raise CatalogError(f"[dataset.utterances] {name}: has several channels a recording; an utterance is one file")
    if table["path"].str.contains("|", regex=False).any():
        raise MetadataError(f"[dataset.utterances] {name}: the path of a file has a bar (|); rename it")
    chosen = table["reason"] == ""
    if settings.speaker == "label":
        table["group_id"] = table["label"].where(chosen, table["group_id"])
    if (table["group_id"] == "").any():
        raise MetadataError(f'[dataset.utterances] {name}: has utterances without a class, which is to be their speaker; set `speaker = "group"`')
    rule = validated(SplitSettings, settings.utterances.get("split", BY_SPEAKER), "[dataset.utterances] split")
    strata = _strata(settings, root, table["group_id"], set(table.loc[chosen, "group_id"]))
    table["split"] = assign_splits(table.assign(label=strata), **rule.model_dump())
    check_leakage(table)
    return table


def _strata(settings: MixturesSettings, root: Path, speakers: pd.Series, chosen: set[str]) -> list[str]:
    """What "stratified" gives every split its share of: the sexes, where those of all chosen speakers are known."""
    sexes = read_sexes(Path(root) / settings.speaker_table) if settings.speaker_table else {}
    return [sexes.get(speaker, "") if chosen <= set(sexes) else "" for speaker in speakers]


def _drawn(settings: MixturesSettings, table: pd.DataFrame) -> list[Mixture]:
    missing = [split for split, count in settings.per_split.items() if count and split not in set(table["split"])]
    if missing:
        raise CatalogError(f"[dataset] per_split: {missing[0]} has no speaker; give it some by `split` in [dataset.utterances]")
    mixtures = []
    for split in SPLITS:
        rows = table[table["split"] == split]
        wanted = settings.per_split.get(split, settings.per_utterance)
        if wanted and len(rows):
            mixtures += _of_split(settings, split, rows)
    return mixtures


def _of_split(settings: MixturesSettings, split: str, rows: pd.DataFrame) -> list[Mixture]:
    ids, speakers, paths = (rows[name].tolist() for name in ("clip_id", "group_id", "path"))
    _check_enough(settings, split, sorted(set(speakers)))
    count = settings.per_split.get(split, available_mixtures(speakers, settings.speakers, settings.per_utterance))
    spans = [(start, None if pd.isna(duration) else duration) for start, duration in zip(rows["file_start_s"], rows["duration_s"], strict=True)]
    mixtures = []
    for members in draw_mixtures(ids, speakers, count, settings.speakers, settings.seed):
        own_id, own_paths, own_speakers, own_spans = (_taken(values, members) for values in (ids, paths, speakers, spans))
        clip_id = "+".join(own_id)
        mixtures.append(Mixture(clip_id, split, own_paths, own_speakers, _recipe(settings, clip_id, own_spans)))
    return mixtures


def _check_enough(settings: MixturesSettings, split: str, found: list[str]) -> None:
    if len(found) < settings.speakers:
        raise CatalogError(
            f"[dataset] {split} has too few speakers ({', '.join(found)}), a mixture has {settings.speakers} different ones; give it more by `split` "
            "in [dataset.utterances], or none"
        )


def _taken(values: Sequence[Any], members: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[member] for member in members)


def _recipe(settings: MixturesSettings, clip_id: str, spans: tuple[Span, ...]) -> MixtureRecipe:
    levels_db = draw_levels_db(settings.seed, clip_id, settings.snr_low_db, settings.snr_high_db, settings.speakers)
    return MixtureRecipe(mode=settings.mode, level=settings.level, spans=spans, levels_db=levels_db)


def _from_recipes(settings: MixturesSettings, root: Path, split: str, path: str) -> list[Mixture]:
    rows = read_rows(Path(root) / path)
    numbers = range(1, settings.speakers + 1)
    if f"source_{settings.speakers + 1}_path" in rows.columns:
        raise MetadataError(f"{rows.path}: has mixtures of more than {settings.speakers} speakers; set `speakers` in [dataset]")
    ids = rows.column("mixture_ID")
    paths = [rows.column(f"source_{number}_path") for number in numbers]
    gains = [_values(rows, f"source_{number}_gain", _gain) for number in numbers]
    speakers = [_values(rows, f"source_{number}_path", _speaker) for number in numbers]
    for row, names in enumerate(zip(*speakers, strict=True)):
        if len(set(names)) < len(names):
            raise rows.error(row, f"mixture {shown(ids[row])}: speaker {names[0]} twice; a mixture is of different speakers")
    return [
        Mixture(clip_id, split, tuple(posixpath.normpath(posixpath.join(settings.path, file)) for file in files), names,
                MixtureRecipe(mode=settings.mode, spans=((0.0, None),) * len(files), gains=factors))
        for clip_id, files, names, factors in zip(ids, zip(*paths, strict=True), zip(*speakers, strict=True), zip(*gains, strict=True), strict=True)
    ]


def _values(rows: Rows, name: str, convert: Callable[[str], Any]) -> list[Any]:
    values = []
    for row, text in enumerate(rows.column(name)):
        try:
            values.append(convert(text))
        except ValueError as error:
            raise rows.error(row, f"{name} = {shown(text)}: {error}") from None
    return values


def _gain(text: str) -> float:
    try:
        gain = float(text)
    except ValueError:
        gain = 0.0
    if not 0 < gain < float("inf"):
        raise ValueError("expected a factor over 0")
    return gain


def _speaker(path: str) -> str:
    """LibriSpeech names a file after its speaker, chapter and utterance."""
    speaker, dash, _ = posixpath.basename(path).partition("-")
    if not (speaker and dash) or "|" in path:
        raise ValueError("expected a file called <speaker>-<chapter>-<utterance>")
    return speaker
