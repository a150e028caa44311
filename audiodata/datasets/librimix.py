"""LibriMix: sentences read for LibriSpeech, two or three at once, with or without the noise of WHAM!; and its small form MiniLibriMix.

Size: Libri2Mix: train-360 50,800, train-100 13,900, dev 3,000, test 3,000 mixtures; Libri3Mix: 33,900, 9,300, 3,000, 3,000; MiniLibriMix: 800
for training and 200 for validation, 8 kHz.
Origin: made from LibriSpeech and WHAM! by https://github.com/JorisCos/LibriMix; MiniLibriMix is https://zenodo.org/records/3871592, one archive.
Paper: J. Cosentino, M. Pariente, S. Cornell, A. Deleforge, E. Vincent, "LibriMix: an open-source dataset for generalizable speech separation",
arXiv 2005.11262 (2020).
Licence: CC BY-SA 4.0; speech CC BY 4.0 (LibriSpeech), noise CC BY-NC 4.0 (WHAM!).
Access: make the tree or unpack the archive below the data root: ``Libri2Mix/wav8k/min/{train-100,...}/{mix_clean,s1,s2}`` beside ``metadata``, or
``MiniLibriMix/{train,val,metadata}``.

The mixtures are those of the table ``metadata/mixture_<subset>_<mixture>.csv``, whose paths may be of another machine; without it, those whose files
are there. A mixture's group is all mixtures that share a speaker with it, directly or through others; subsets of LibriSpeech share none.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import model_validator

from audiodata.datasets.event_sets import refuse_quality
from audiodata.datasets.mixture_files import MixtureFiles, TreeSettings, files_table, mixture_names, seconds_of
from audiodata.datasets.tables import Rows, read_rows, shown
from audiodata.errors import MetadataError

SUBSETS = {"librimix": ("train-100", "train-360", "dev", "test"), "minilibrimix": ("train", "val")}


class LibriMixSettings(TreeSettings):
    """Keys of ``[dataset]`` for LibriMix; `path` has the folder ``Libri2Mix``, ``Libri3Mix`` or ``MiniLibriMix``.

    Attributes
    ----------
    tree : str
        "librimix" or "minilibrimix", which is at 8 kHz, cut to the shorter and of two speakers.
    mixture : str
        "mix_clean": the speakers alone; "mix_both": with noise, which no source has; "mix_single": the first speaker with noise, and only this
        one as source.
    subsets : tuple of str
        "train-100", "train-360", "dev", "test" ("train", "val" of MiniLibriMix); empty: all that are there.
    """

    tree: Literal["librimix", "minilibrimix"] = "librimix"
    mixture: Literal["mix_clean", "mix_both", "mix_single"] = "mix_clean"
    subsets: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_its_tree(self) -> "LibriMixSettings":
        unknown = [name for name in self.subsets if name not in SUBSETS[self.tree]]
        if unknown:
            raise ValueError(f"`subsets`: {self.tree} has no {unknown[0]!r}; known: {', '.join(SUBSETS[self.tree])}")
        if self.tree == "minilibrimix" and (self.speakers, self.rate, self.mode) != (2, "wav8k", "min"):
            raise ValueError("MiniLibriMix is of two speakers, at 8 kHz and cut to the shorter; leave `speakers`, `rate` and `mode` out")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Folders of the sources."""
        return tuple(f"s{number}" for number in range(1, 1 + (1 if self.mixture == "mix_single" else self.speakers)))

    @property
    def folder(self) -> str:
        """Folder below the data root that has the subsets."""
        below = "MiniLibriMix" if self.tree == "minilibrimix" else f"Libri{self.speakers}Mix/{self.rate}/{self.mode}"
        return posixpath.normpath(posixpath.join(self.path, below))


def clip_channels(settings: LibriMixSettings) -> int:
    """Channels of a clip: the mixture and its sources."""
    return 1 + len(settings.sources)


def read_clips(settings: LibriMixSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the mixtures.

    Parameters
    ----------
    settings : LibriMixSettings
    root : Path
    classes : sequence of str
        Mixtures to keep: "same sex", "different sex"; both need a `speaker_table`, e.g. LibriSpeech's SPEAKERS.TXT.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table; ``published`` is "train", "dev" or "val", or "test", ``labels`` has the speakers.

    Raises
    ------
    CatalogError, MetadataError
        No such tree or subset, a folder without its sources, a row (with its line) or a file's name that tells no utterances.
    """
    refuse_quality("librimix", quality)
    base = Path(root) / settings.folder
    there = [name for name in SUBSETS[settings.tree] if (base / name).is_dir()]
    missing = [name for name in settings.subsets if name not in there]
    if missing or not there:
        wanted = f"no folder {missing[0]}" if missing else f"none of the folders {', '.join(SUBSETS[settings.tree])}"
        raise MetadataError(f"{base}: has {wanted}; set `path`, `tree` and what else says where it is to what is there")
    found = [one for subset in settings.subsets or there for one in _mixtures(settings, Path(root), subset)]
    return files_table(settings, root, found, classes)


def _mixtures(settings: LibriMixSettings, root: Path, subset: str) -> list[MixtureFiles]:
    table = root / settings.folder / "metadata" / f"mixture_{subset}_{settings.mixture}.csv"
    if table.is_file():
        return _from_table(settings, read_rows(table), subset)
    folder = f"{settings.folder}/{subset}"
    names = mixture_names(root / folder, settings.mixture, settings.sources)
    return [
        _mixture(settings, subset, tuple(f"{folder}/{kind}/{name}" for kind in (settings.mixture, *settings.sources)), float("nan")) for name in names
    ]


def _mixture(settings: LibriMixSettings, subset: str, files: tuple[str, ...], duration_s: float) -> MixtureFiles:
    stem = posixpath.splitext(posixpath.basename(files[0]))[0]
    utterances = stem.split("_")
    if len(utterances) != settings.speakers or not all(name.count("-") == 2 for name in utterances):
        expected = "_".join(["<speaker>-<chapter>-<utterance>"] * settings.speakers)
        raise MetadataError(f"{files[0]}: tells no utterances; expected {expected} of {settings.speakers} speakers")
    speakers = tuple(name.partition("-")[0] for name in utterances)
    return MixtureFiles(f"{subset}/{stem}", files, speakers[: len(settings.sources)], subset.partition("-")[0], duration_s=duration_s)


def _from_table(settings: LibriMixSettings, rows: Rows, subset: str) -> list[MixtureFiles]:
    columns = {"mixture_path": settings.mixture} | {f"source_{kind[1:]}_path": kind for kind in settings.sources}
    paths = [rows.column(name) for name in columns]
    found = []
    for row, (length, *texts) in enumerate(zip(rows.column("length"), *paths, strict=True)):
        try:
            files = tuple(_rebased(settings, subset, kind, text) for kind, text in zip(columns.values(), texts, strict=True))
            found.append(_mixture(settings, subset, files, seconds_of(length.removesuffix(".0"), settings.rate)))
        except (ValueError, MetadataError) as error:
            raise rows.error(row, str(error)) from None
    return found


def _rebased(settings: LibriMixSettings, subset: str, kind: str, text: str) -> str:
    """Take the end of a path, which is the same on every machine: subset, kind and file."""
    end = text.replace("\\", "/").split("/")[-3:]
    if end[:2] != [subset, kind] or not end[2]:
        raise ValueError(f"{shown(text)}: expected a path that ends in {subset}/{kind}/<file>")
    return posixpath.join(settings.folder, *end)
