"""What the data sets of event recordings share: how a reader is written down, and splits by a recording's place in its class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import field_validator

from audiodata.clip_files import is_safe_path
from audiodata.errors import CatalogError
from audiodata.fingerprint import canonical_json
from audiodata.settings import Settings


class BelowRoot(Settings):
    """Where a data set lies.

    Attributes
    ----------
    path : str
        Folder below the data root that has the data set's own folders.
    """

    path: str = "."

    @field_validator("path")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        return below_root(value)


def below_root(value: str) -> str:
    """Return a path of a catalog; one that is absolute or leads out of the root is a ValueError."""
    if value != "." and not is_safe_path(value.removesuffix("/")):
        raise ValueError("must lie below the data root (which --data gives)")
    return value


def reader_text(reader: Mapping[str, Any]) -> str:
    """Write down how a recording is read, for the column ``reader``: equal settings give equal text.

    Examples
    --------
    >>> reader_text({"format": "aedat2", "byte": 1}) == reader_text({"byte": 1, "format": "aedat2"})
    True
    """
    return canonical_json(dict(reader))


def refuse_quality(name: str, quality: float | None) -> None:
    """Refuse the catalog's ``[select] quality`` for a data set whose labels nobody has rated."""
    if quality is not None:
        raise CatalogError(f"[select] quality: the data set `{name}` has no ratings of its labels; leave the key out")


def first_half(labels: Sequence[str]) -> list[str]:
    """Divide each class in the order of the table: the first half for training, the rest for testing.

    Parameters
    ----------
    labels : sequence of str
        Class of each recording; of an odd number, training has one more.

    Returns
    -------
    list of str
        "train" or "test".

    Examples
    --------
    >>> first_half(["3", "3", "4", "3"])
    ['train', 'train', 'train', 'test']
    """
    sizes, seen, sides = Counter(labels), Counter(), []
    for label in labels:
        sides.append("train" if 2 * seen[label] < sizes[label] else "test")
        seen[label] += 1
    return sides
