"""Pixels as numbers, so that an image data set goes the way of the others."""

from typing import Any

import numpy as np
from pydantic import Field

from audiodata.errors import FeatureError
from audiodata.features.base import Feature, settle
from audiodata.settings import Settings


class ImageConfig(Settings):
    """Settings of `image`.

    Attributes
    ----------
    scale : float
        Factor from a pixel's byte to a number; the default takes white to 1.0.
    """

    scale: float = Field(default=1 / 255, gt=0)


def image(pixels: np.ndarray, config: ImageConfig | None = None, **settings: Any) -> np.ndarray:
    """Scale pixels.

    Parameters
    ----------
    pixels : uint8 [channel, row, column]
    config : ImageConfig, optional
        Or its settings as keywords.

    Returns
    -------
    float32 [channel, row, column]

    Raises
    ------
    FeatureError
        Settings or an array that don't fit.

    Examples
    --------
    >>> image(np.full((1, 1, 2), 255, np.uint8))
    array([[[1., 1.]]], dtype=float32)
    """
    config = settle(ImageConfig, config, None, settings)
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.size == 0:
        raise FeatureError(f"image: expected uint8 [channel, row, column], got {pixels.dtype} {list(pixels.shape)}")
    return (pixels * config.scale).astype(np.float32)


def _shape(config: ImageConfig, channels: int, rows: int, columns: int) -> tuple[int, int, int]:
    return channels, rows, columns


IMAGE = Feature(
    config=ImageConfig,
    function=image,
    shape=_shape,
    axes=("channel", "row", "column"),
    unit="1",
    version=1,
    source="image",
)
