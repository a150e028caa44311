"""MNIST and its kin: images and labels in idx files.

Size: 60 000 training and 10 000 test images of handwritten digits, 28 x 28, 8 bit.
Origin: http://yann.lecun.com/exdb/mnist; Fashion-MNIST, KMNIST and others come in the same files.
Paper: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (1998).
Licence: CC BY-SA 3.0, as stated by the database's authors.
Access: put ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two ``t10k-`` files (one pair is enough)
below the data root, packed with gzip or not.
"""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import field_validator, model_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets.labels import choose_labels
from audiodata.errors import CatalogError, MetadataError
from audiodata.idx_files import read_idx_images, read_idx_labels
from audiodata.settings import Settings
from audiodata.splits import SPELLINGS

_IMAGES = re.compile(r"(?P<set>.+)-images[-.]idx3-ubyte(\.gz)?", re.IGNORECASE)


class IdxImagesSettings(Settings):
    """Keys of ``[dataset]`` for idx files.

    Attributes
    ----------
    path : str
        Folder below the data root.
    images, labels : tuple of str
        Files in it, in pairs. Default: every ``<set>-images-idx3-ubyte`` that has its ``<set>-labels-idx1-ubyte``; the
        set is the published split (``t10k``, MNIST's test images, is called test).
    """

    path: str = "."
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @field_validator("path", "images", "labels")
    @classmethod
    def _below_the_root(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            if name != "." and not is_safe_path(name.removesuffix("/")):
                raise ValueError(f"`{name}` must be relative and lead nowhere but down")
        return value

    @model_validator(mode="after")
    def _in_pairs(self) -> "IdxImagesSettings":
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} `images` and {len(self.labels)} `labels`; they go in pairs")
        return self


class Pair(NamedTuple):
    """One set: its name and its two files, relative to the data set's folder."""

    name: str
    images: str
    labels: str


def read_clips(settings: IdxImagesSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the images: a row each, with its place in its file as ``index``.

    Parameters
    ----------
    settings : IdxImagesSettings
    root : Path
    classes : sequence of str
        Labels to keep, as text; empty: all.
    quality : None
        There are no label ratings here.

    Raises
    ------
    CatalogError, MetadataError
        An unknown class; no idx files; a file that is damaged; images and labels that are not equally many.
    """
    if quality is not None:
        raise CatalogError("[select] quality: the data set `idx_images` has no label ratings; leave the key out")
    folder = Path(root) / settings.path
    parts = [_read_pair(folder, pair) for pair in _pairs(settings, folder)]
    columns = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    paths = [posixpath.normpath(posixpath.join(settings.path, file)) for file in columns.pop("file")]
    label, reason = choose_labels(columns["labels"], classes)
    return clips_table({**columns, "path": paths, "label": label, "reason": reason})


def _pairs(settings: IdxImagesSettings, folder: Path) -> list[Pair]:
    if settings.images:
        pairs = zip(settings.images, settings.labels, strict=True)
        return [Pair(_set_name(images), images, labels) for images, labels in pairs]
    found: dict[str, Pair] = {}
    for path in sorted(folder.glob("*")):
        match = _IMAGES.fullmatch(path.name)
        if match:
            labels = [name for name in _labels_names(path.name) if (folder / name).is_file()]
            if not labels:
                raise MetadataError(f"{path}: no labels beside it; expected {' or '.join(_labels_names(path.name))}")
            found.setdefault(match["set"], Pair(_set_name(path.name), path.name, labels[0]))
    if not found:
        raise MetadataError(f"{folder}: no idx files (*-images-idx3-ubyte, packed or not); is the data root right?")
    return list(found.values())


def _labels_names(images: str) -> tuple[str, str]:
    """Return what the labels of a file of images may be called: packed like it, or otherwise."""
    name = images.removesuffix(".gz").replace("-images", "-labels").replace("idx3", "idx1")
    return (f"{name}.gz", name) if images.endswith(".gz") else (name, f"{name}.gz")


def _set_name(images: str) -> str:
    match = _IMAGES.fullmatch(posixpath.basename(images))
    return match["set"] if match else posixpath.basename(images).removesuffix(".gz")


def _read_pair(folder: Path, pair: Pair) -> dict[str, list]:
    count = len(read_idx_images(folder / pair.images))
    labels = read_idx_labels(folder / pair.labels)
    if len(labels) != count:
        raise MetadataError(
            f"{folder / pair.labels}: {len(labels)} labels for the {count} images of {pair.images}; the right file?"
        )
    width = max(5, len(str(count - 1)))
    published = "test" if pair.name == "t10k" else pair.name
    return {
        "clip_id": [f"{pair.name}-{number:0{width}d}" for number in range(count)],
        "file": [pair.images] * count,
        "published": [published if published.lower() in SPELLINGS else ""] * count,
        "labels": [str(label) for label in labels.tolist()],
        "index": list(range(count)),
    }
