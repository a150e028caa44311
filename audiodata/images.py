"""Images out of files that hold thousands of them."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from audiodata.clip_files import clip_path, file_stamp
from audiodata.errors import ClipError
from audiodata.idx_files import read_idx_images
from audiodata.records import ClipSpan


def load_image(root: Path, clip: ClipSpan) -> np.ndarray:
    """Load the image that a clip names.

    Returns
    -------
    uint8 [row, column]

    Raises
    ------
    ClipError
        The file has fewer images.
    MetadataError, CacheError
        The file is damaged or can't be read.
    """
    path = clip_path(root, clip.path)
    images = _images(str(path), file_stamp(path))
    if not 0 <= clip.index < len(images):
        raise ClipError("missing_file", f"{clip.path}: has {len(images)} images, number {clip.index} was asked for")
    return images[clip.index]


@lru_cache(maxsize=2)
def _images(path: str, stamp: str) -> np.ndarray:
    """Keep the last files open, which hold thousands of clips each; the stamp makes a changed file a new entry."""
    return read_idx_images(Path(path))
