"""WSJ0-2mix and WSJ0-3mix: read sentences of the Wall Street Journal, two or three at once at 0 to 5 dB.

Size: 20,000 mixtures (30 h) for training, 5,000 (8 h) for development, 3,000 (5 h) for the test; 8 or 16 kHz, 16 bits, mono.
Origin: made from WSJ0 (LDC93S6A) by the scripts of the paper, or by others that write the same tree.
Paper: J. R. Hershey, Z. Chen, J. Le Roux, S. Watanabe, "Deep clustering: discriminative embeddings for segmentation and separation",
ICASSP 2016; Y. Isik et al., "Single-channel multi-speaker separation using deep clustering", Interspeech 2016, for three speakers.
Licence: that of WSJ0, which the Linguistic Data Consortium sells.
Access: make the mixtures as their authors say and put the tree ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}`` below the data root.

The published split has a *closed* development part: ``cv`` has other mixtures of the same 101 speakers as ``tr``, while the 18 speakers of ``tt``
are heard in the test alone. So that this split can be used at all, a speaker counts as another one in each part: a mixture's group is all
mixtures of its part that share a speaker with it, directly or through others. Scores on ``val`` are therefore not of unknown speakers.
"""

import json
import posixpath
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import field_validator

from audiodata.datasets.event_sets import below_root, refuse_quality
from audiodata.datasets.mixture_files import MixtureFiles, TreeSettings, files_table, mixture_names, seconds_of
from audiodata.datasets.tables import shown
from audiodata.errors import MetadataError
from audiodata.packed import read_bytes

PARTS = {"tr": "train", "cv": "val", "tt": "test"}
SPEAKER_LETTERS = 3  # of an utterance's name


class Wsj0MixSettings(TreeSettings):
    """Keys of ``[dataset]`` for WSJ0-2mix; `path` has the folder ``2speakers`` or ``3speakers``.

    Attributes
    ----------
    lists : str or None
        Folder below the data root with ``{tr,cv,tt}/{mix,s1,s2}.json``, each a list of ``[path, samples]``: only these mixtures are taken,
        and a file that is shorter than listed is turned down. Paths may be of another machine. None: all files that are there.
    """

    lists: str | None = None

    @field_validator("lists")
    @classmethod
    def _lists_below_the_root(cls, value: str | None) -> str | None:
        return value if value is None else below_root(value)

    @property
    def sources(self) -> tuple[str, ...]:
        """Folders of the sources."""
        return tuple(f"s{number}" for number in range(1, self.speakers + 1))

    @property
    def folder(self) -> str:
        """Folder below the data root that has the parts."""
        return posixpath.normpath(posixpath.join(self.path, f"{self.speakers}speakers", self.rate, self.mode))


def clip_channels(settings: Wsj0MixSettings) -> int:
    """Channels of a clip: the mixture and its sources."""
    return 1 + settings.speakers


def read_clips(settings: Wsj0MixSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the mixtures.

    Parameters
    ----------
    settings : Wsj0MixSettings
    root : Path
    classes : sequence of str
        Mixtures to keep: "same sex", "different sex"; both need a `speaker_table`.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table; ``published`` is "train", "val" or "test", ``labels`` has the speakers.

    Raises
    ------
    CatalogError, MetadataError
        No such tree, a folder without its sources, a file's name that tells no utterances, lists that don't fit.
    """
    refuse_quality("wsj0_2mix", quality)
    base = Path(root) / settings.folder
    parts = [part for part in PARTS if (base / part).is_dir()]
    if not parts:
        raise MetadataError(f"{base}: has none of the folders {', '.join(PARTS)}; set `path`, `speakers`, `rate` and `mode` to what is there")
    return files_table(settings, root, [one for part in parts for one in _mixtures(settings, Path(root), part)], classes)


def _mixtures(settings: Wsj0MixSettings, root: Path, part: str) -> list[MixtureFiles]:
    below = f"{settings.folder}/{part}"
    durations = dict.fromkeys(mixture_names(root / below, "mix", settings.sources), float("nan"))
    if settings.lists:
        durations = _listed(settings, root / settings.lists / part)
    return [
        MixtureFiles(
            f"{part}/{posixpath.splitext(name)[0]}", tuple(f"{below}/{kind}/{name}" for kind in ("mix", *settings.sources)),
            _speakers(root / below / "mix" / name, settings.speakers), PARTS[part], part, duration_s,
        )
        for name, duration_s in durations.items()
    ]


def _speakers(path: Path, count: int) -> tuple[str, ...]:
    """Speakers as a file's name tells them: ``<utterance>_<level>`` for each."""
    fields = path.stem.split("_")
    if len(fields) != 2 * count or not all(_is_number(level) for level in fields[1::2]):
        expected = "_".join(["<utterance>_<dB>"] * count)
        raise MetadataError(f"{path}: tells no utterances; expected {expected}.wav of {count} speakers")
    return tuple(utterance[:SPEAKER_LETTERS] for utterance in fields[::2])


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _listed(settings: Wsj0MixSettings, folder: Path) -> dict[str, float]:
    """Durations of the mixtures in the lists of a part, by file name."""
    lists = {kind: _read_list(folder / f"{kind}.json") for kind in ("mix", *settings.sources)}
    names = [name for name, _ in lists["mix"]]
    for kind in settings.sources:
        if sorted(name for name, _ in lists[kind]) != sorted(names):
            raise MetadataError(f"{folder / kind}.json: lists other files than mix.json; make the lists anew")
    try:
        return {name: seconds_of(str(samples), settings.rate) for name, samples in lists["mix"]}
    except ValueError as error:
        raise MetadataError(f"{folder / 'mix.json'}: {error} beside each path") from None


def _read_list(path: Path) -> list[tuple[str, int]]:
    try:
        entries = json.loads(read_bytes(path))
        return [(posixpath.basename(str(file).replace("\\", "/")), samples) for file, samples in entries]
    except (ValueError, TypeError) as error:
        raise MetadataError(f"{path}: expected a list of [path, samples] in JSON ({shown(str(error))})") from None
