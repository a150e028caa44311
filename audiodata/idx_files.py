"""Files of images and labels in the idx format, the one that MNIST came in.

An idx file is a magic number (two zero bytes, a type, the number of axes), the length of each axis as big-endian int32,
and the values; type 8 is unsigned bytes.
"""

import math
from pathlib import Path

import numpy as np

from audiodata.errors import MetadataError
from audiodata.packed import read_bytes

_UNSIGNED_BYTE = 8


def read_idx_images(path: Path) -> np.ndarray:
    """Read a file of images.

    Returns
    -------
    array of uint8, shape [image, row, column]

    Raises
    ------
    MetadataError
        Not an idx file of three axes of bytes, or shorter or longer than its header says.
    """
    return _read_idx(path, axes=3, what="images")


def read_idx_labels(path: Path) -> np.ndarray:
    """Read a file of labels.

    Returns
    -------
    array of uint8, shape [image]

    Raises
    ------
    MetadataError
        Not an idx file of one axis of bytes, or shorter or longer than its header says.
    """
    return _read_idx(path, axes=1, what="labels")


def _read_idx(path: Path, axes: int, what: str) -> np.ndarray:
    data = read_bytes(path)
    magic, expected = int.from_bytes(data[:4], "big"), _UNSIGNED_BYTE << 8 | axes
    if len(data) < 4 + 4 * axes or magic != expected:
        raise MetadataError(f"{path}: not an idx file of {what} (magic number {magic}, expected {expected})")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", axes, 4))
    values = len(data) - 4 - 4 * axes
    if values != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise MetadataError(f"{path}: {values} bytes of {what}, its header says {size}; truncated? fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
