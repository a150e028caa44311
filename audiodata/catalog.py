"""A catalog file (TOML) becomes frozen, validated settings.

Each table is one settings class below, each key a field with its unit in its name; an unknown table or key is an error that names the
nearest known one. The keys of ``[dataset]`` besides ``name`` belong to the data set and are checked by `audiodata.datasets`.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from audiodata.cleaning import CleanSettings
from audiodata.datasets import dataset_settings, settled
from audiodata.errors import CatalogError
from audiodata.features import FEATURES
from audiodata.fingerprint import hash_json
from audiodata.geometry import SPEED_OF_SOUND_M_S
from audiodata.mixing import PLACED, NoiseSettings
from audiodata.settings import Settings, nearest, validated
from audiodata.splits import SplitSettings

LARGEST_ARRAY_M = 100.0


class AboutSettings(Settings):
    """What a person should know: shown by ``catalogs`` and in reports; no influence on the numbers."""

    title: str = ""
    summary: str = ""
    homepage: str = ""
    licence: str = ""
    citation: str = ""


class DatasetSettings(Settings):
    """Which data set; further keys are that data set's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str


class SelectSettings(Settings):
    """Which clips.

    ``classes``: names (or AudioSet mids), empty = all; ``quality``: least share of right labels (0 to 1), none = no filter;
    ``per_class``: at most so many clips of each class, drawn by seeded hash.
    """

    classes: tuple[str, ...] = ()
    quality: float | None = Field(default=None, ge=0.0, le=1.0)
    per_class: int | None = Field(default=None, ge=1)
    seed: int = 0


class AudioSettings(Settings):
    """What every clip becomes: ``sample_rate`` in Hz (none: the files' own, which must agree) and ``channels`` (1 = their mean)."""

    sample_rate: int | None = Field(default=None, ge=1000, le=768_000)
    channels: int | None = Field(default=1, ge=1)


class SegmentSettings(Settings):
    """How a clip is cut into examples of one length.

    ``length_s`` none: one example a clip, as long as the longest clip; ``hop_s`` none: segments do not overlap; ``short``: what happens
    to what is shorter; ``min_fill``: a last segment filled by a smaller share is not made.
    """

    length_s: float | None = Field(default=None, gt=0)
    hop_s: float | None = Field(default=None, gt=0)
    short: Literal["zero", "repeat", "drop"] = "zero"
    min_fill: float = Field(default=0.5, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _hop_needs_length(self) -> "SegmentSettings":
        if self.hop_s is not None and self.length_s is None:
            raise ValueError("`hop_s` needs `length_s`")
        return self


class ArraySettings(Settings):
    """The microphones: ``positions_m`` [x front, y left, z up] of each channel, in the order of the channels; speed of sound.

    They shape no feature; simulations, direction finding without training and pictures need them.
    """

    positions_m: tuple[tuple[float, float, float], ...] | None = None
    speed_of_sound_m_s: float = Field(default=SPEED_OF_SOUND_M_S, gt=0)

    @field_validator("positions_m")
    @classmethod
    def _differ(cls, value: tuple[tuple[float, float, float], ...] | None) -> tuple[tuple[float, float, float], ...] | None:
        if value is not None and (len(set(value)) < len(value) or len(value) < 2):
            raise ValueError("needs at least two positions, no two of them equal")
        if value is not None and max(abs(number) for position in value for number in position) > LARGEST_ARRAY_M:
            raise ValueError(f"positions are in metres; a number over {LARGEST_ARRAY_M:g} is none of an array (centimetres?)")
        return value


class ShardSettings(Settings):
    """``examples``: how many are aimed at per shard."""

    examples: int = Field(default=512, ge=1)


class DownloadSettings(Settings):
    """How clips are fetched: pace per network identity, patience, and what the file becomes (none: as the source)."""

    interval_s: float = Field(default=12.0, ge=0)
    jitter: float = Field(default=0.3, ge=0.0, le=1.0)
    retries: int = Field(default=3, ge=0)
    timeout_s: float = Field(default=60.0, gt=0)
    over_read_s: float = Field(default=0.5, ge=0)
    sample_rate: int | None = Field(default=None, ge=1000)
    channels: int | None = Field(default=1, ge=1)
    existing: tuple[str, ...] = ()


class ComputeSettings(Settings):
    """``fft``: "scipy", or "mkl" where mkl_fft is installed (faster; the last bits differ, so the fingerprint names it)."""

    fft: Literal["scipy", "mkl"] = "scipy"


class Catalog(Settings):
    """What to build; see each table's class."""

    name: str
    about: AboutSettings = AboutSettings()
    dataset: DatasetSettings
    select: SelectSettings = SelectSettings()
    split: SplitSettings = SplitSettings()
    audio: AudioSettings = AudioSettings()
    clean: CleanSettings = CleanSettings()
    segment: SegmentSettings = SegmentSettings()
    array: ArraySettings = ArraySettings()
    noise: NoiseSettings | None = None
    features: dict[str, Settings]
    shards: ShardSettings = ShardSettings()
    download: DownloadSettings = DownloadSettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _placed_noise_needs_places(self) -> "Catalog":
        if self.noise and self.noise.kind in PLACED and self.array.positions_m is None:
            raise ValueError(f'[noise] kind = "{self.noise.kind}" needs the positions of the microphones: `positions_m` in [array]')
        return self

    def settled(self, root: Path) -> "Catalog":
        """Return the catalog with what its data set leaves to the files below a data root decided."""
        return self.model_copy(update={"dataset": DatasetSettings(**settled(self.dataset, root))})

    def resolved(self) -> dict[str, Any]:
        """Return every setting with its default filled in, ready for JSON."""
        settings = self.model_dump(mode="json", exclude={"features"})
        return settings | {"features": {name: config.model_dump(mode="json") for name, config in self.features.items()}}

    def fingerprint(self) -> str:
        """SHA-256 of `resolved`."""
        return hash_json(self.resolved())


CATALOG_FOLDER = Path(__file__).resolve().parents[1] / "catalogs"


def load_catalog(source: str | Path) -> Catalog:
    """Read a catalog.

    Parameters
    ----------
    source : path or str
        A TOML file, or the name of a catalog that comes with the project.

    Raises
    ------
    CatalogError
        The file is missing or not TOML, or a key is unknown, missing or wrong.
    """
    path = _find(source)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: not readable as TOML: {error}") from None
    return parse_catalog(tables, path.stem, str(path))


def parse_catalog(tables: dict[str, Any], name: str, where: str) -> Catalog:
    """Validate the tables of a catalog that has been read; `where` names it in messages."""
    if not isinstance(tables.get("features", {}), dict) or not tables.get("features"):
        raise CatalogError(f"{where}: `features` needs at least one table, e.g. [features.mfcc]; known: {', '.join(FEATURES)}")
    configs = {feature: _feature_config(feature, keys, where) for feature, keys in tables["features"].items()}
    if "name" in tables:
        raise CatalogError(f"{where}: unknown key `name`; a catalog is named by its file")
    catalog = validated(Catalog, tables | {"name": name, "features": configs}, where)
    entry, settings = dataset_settings(catalog.dataset, f"{where}: [dataset]")
    return _with_all_channels(catalog, entry.channels(settings), where) if entry.channels else catalog


def _with_all_channels(catalog: Catalog, channels: int, where: str) -> Catalog:
    """Keep the channels of clips apart, since their mean would be no sound."""
    if "channels" in catalog.audio.model_fields_set and catalog.audio.channels != channels:
        raise CatalogError(
            f"{where}: [audio] channels = {catalog.audio.channels}, but a clip of `{catalog.dataset.name}` has {channels}, "
            f"a mixture and {channels - 1} of what is in it; leave the key out"
        )
    if catalog.noise:
        raise CatalogError(f"{where}: [noise]: would lie over the sources of a mixture, too; leave the table out")
    return catalog.model_copy(update={"audio": catalog.audio.model_copy(update={"channels": channels})})


def _feature_config(feature: str, keys: Any, where: str) -> Settings:
    if feature not in FEATURES:
        raise CatalogError(f"{where}: unknown feature `{feature}`{nearest(feature, list(FEATURES))}")
    if not isinstance(keys, dict):
        raise CatalogError(f"{where}: `features.{feature}` must be a table, e.g. [features.{feature}]")
    return validated(FEATURES[feature].config, keys, f"{where}: [features.{feature}]")


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = CATALOG_FOLDER / f"{path.name}.toml"
    if path.name == str(source) and shipped.is_file():
        return shipped
    raise CatalogError(f"{source}: no such catalog; give a TOML file or one of: {', '.join(shipped_catalogs()) or 'none shipped'}")


def shipped_catalogs() -> dict[str, Path]:
    """Return the catalogs that come with a checkout, by name."""
    return {path.stem: path for path in sorted(CATALOG_FOLDER.glob("*.toml"))}
