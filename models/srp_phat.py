"""Where a sound comes from by calculation alone: steered response power and lags of peaks, both from cached `gcc_phat` features.

Nothing here is trained. Both follow from the microphones' positions, which give the lag of each pair for each azimuth
(`audiodata.geometry.pair_lags`), and neither says what it hears.

    SRP-PHAT     score(azimuth) = sum over pairs of gcc_pair(lag of that pair for that azimuth)          DiBiase 2000, section 6.3
    GCC-argmax   lag_pair = argmax of gcc_pair; score(azimuth) = -sum over pairs of (lag_pair - lag of that pair for that azimuth)^2

the latter being the least-squares direction for time differences measured pair by pair (Knapp and Carter 1976). These are
`audiodata.localization.srp_phat` and `argmax_azimuth_deg` for whole batches, with all frames alike: their mean is what is looked at.
"""

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.features.spatial import lags
from audiodata.geometry import SPEED_OF_SOUND_M_S, pair_lags
from audiodata.localization import Between, steering_weights
from audiodata.settings import Settings
from models.layers import Shape, WeightedLayer
from models.located import AZIMUTHS, Located

FEATURE = "gcc_phat"


class ArrayConfig(Settings):
    """The array and the lag axis that a cache was made with; who opens the cache fills them in.

    ``positions_m``: x, y and z of each microphone in the order of the channels. ``sample_rate``: in Hz. ``max_lag``, ``interpolation``: those
    of the cached `gcc_phat`, whose lags are -max_lag to max_lag samples in steps of 1 / interpolation. ``elevation_deg``: of all sources.
    """

    positions_m: tuple[tuple[float, float, float], ...] = ()
    sample_rate: int | None = Field(default=None, ge=1)
    max_lag: int = Field(default=25, ge=1)
    interpolation: int = Field(default=1, ge=1)
    speed_of_sound_m_s: float = Field(default=SPEED_OF_SOUND_M_S, gt=0.0)
    elevation_deg: float = Field(default=0.0, ge=-90.0, le=90.0)

    def lags(self) -> np.ndarray:
        """Lag axis of `gcc_phat` in samples, float64 [lag]."""
        return lags(self)

    def lags_of_azimuths(self) -> np.ndarray:
        """Lag of each pair in samples for a source at each of 360 azimuths, float64 [azimuth, pair].

        Raises
        ------
        AudioDataError
            Positions or sample rate are missing, or a lag is beyond `max_lag`.
        """
        if len(self.positions_m) < 2 or self.sample_rate is None:
            raise AudioDataError(
                f"a direction by calculation needs the array: expected `positions_m` of at least 2 microphones and `sample_rate`, got "
                f"{len(self.positions_m)} positions and {self.sample_rate}; give the catalog an [array] table and build the cache again"
            )
        azimuths = np.arange(float(AZIMUTHS))
        lags = pair_lags(self.positions_m, azimuths, self.sample_rate, self.elevation_deg, speed_m_s=self.speed_of_sound_m_s)
        if np.abs(lags).max() > self.max_lag:
            raise AudioDataError(
                f"microphones are up to {np.abs(lags).max():.1f} samples apart, but gcc_phat has max_lag = {self.max_lag}; "
                "raise max_lag in [features.gcc_phat] and build the cache again"
            )
        return lags


class SrpPhatConfig(ArrayConfig):
    """Array, lag axis, and how `gcc_phat` is read between its lags.

    ``between``: see `audiodata.localization.steering_weights`. "linear" needs an ``interpolation`` of 4 or more to find directions to a degree
    with a small array; "sinc" finds them from whole lags.
    """

    between: Between = "sinc"


class ArgmaxConfig(ArrayConfig):
    """Array and lag axis."""


class Untrained(nn.Module):
    """What both calculations share: the check of the feature's shape, and no layer that anything could be counted of.

    Parameters
    ----------
    config : ArrayConfig
    shapes : mapping
        Of ``"gcc_phat"``: ``(pair, lag, frame)``.
    classes : int
        Length of the class values, which are all 0.

    Raises
    ------
    AudioDataError
        No such feature, or the array doesn't fit its pairs and lags.
    """

    classifies = False

    def __init__(self, config: ArrayConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__()
        self.config = config
        self.classes = classes
        self.scaling = nn.ModuleDict()
        self.lags = config.lags()
        self.lags_of_azimuths = config.lags_of_azimuths()  # [azimuth, pair]
        expected = (self.lags_of_azimuths.shape[1], len(self.lags))
        if tuple(shapes[FEATURE][:2]) != expected:
            raise AudioDataError(
                f"gcc_phat: expected {expected[0]} pairs x {expected[1]} lags for {len(config.positions_m)} microphones, max_lag = "
                f"{config.max_lag} and interpolation = {config.interpolation}; got {shapes[FEATURE][0]} x {shapes[FEATURE][1]}"
            )

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Located:
        """Score all azimuths; ``features["gcc_phat"]`` is ``[B, pair, lag, frame]``, class values are 0."""
        gcc = features[FEATURE].mean(-1)  # [B, pair, lag]
        return Located(self.scores(gcc), gcc.new_zeros(len(gcc), self.classes))

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """None: nothing is learned."""
        return {}


class SrpPhat(Untrained):
    """Steered response power with phase transform; see the module's text.

    Examples
    --------
    >>> config = SrpPhatConfig(positions_m=((0, 0.04, 0), (0, -0.04, 0)), sample_rate=16000)
    >>> network = SrpPhat(config, {"gcc_phat": (1, 51, 27)}, 10)
    >>> network({"gcc_phat": torch.zeros(2, 1, 51, 27)}).azimuth.shape
    torch.Size([2, 360])
    """

    def __init__(self, config: SrpPhatConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__(config, shapes, classes)
        weights = steering_weights(self.lags_of_azimuths, self.lags, config.between)
        self.register_buffer("weights", torch.from_numpy(weights).float().flatten(0, 1), persistent=False)  # [pair * lag, azimuth]

    def scores(self, gcc: Tensor) -> Tensor:
        """Steered response power ``[B, azimuth]`` of ``[B, pair, lag]``, as one matrix product."""
        return gcc.flatten(1) @ self.weights


class GccArgmax(Untrained):
    """Direction from the highest peak of each pair, among the lags that the array allows; see the module's text.

    A peak between two lags is found by a parabola through the highest value and its neighbours.
    """

    def __init__(self, config: ArgmaxConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__(config, shapes, classes)
        self.step = 1 / config.interpolation
        reach = np.abs(self.lags_of_azimuths).max(0) + self.step  # [pair]
        possible = np.abs(self.lags) <= reach[:, np.newaxis]  # [pair, lag]
        self.register_buffer("possible", torch.from_numpy(possible), persistent=False)
        self.register_buffer("expected", torch.from_numpy(self.lags_of_azimuths), persistent=False)  # [azimuth, pair]

    def scores(self, gcc: Tensor) -> Tensor:
        """Give minus the squared distance ``[B, azimuth]`` between measured and expected lags, in samples, for ``[B, pair, lag]``."""
        peak = gcc.masked_fill(~self.possible, -torch.inf).argmax(-1)  # [B, pair]
        measured = self.step * (peak + _vertex(gcc, peak)) - self.config.max_lag
        return -(measured.unsqueeze(1) - self.expected).square().sum(-1).to(gcc.dtype)


def _vertex(values: Tensor, peak: Tensor) -> Tensor:
    """Where the parabola through a peak and its neighbours is highest, in steps from the peak; 0 at either end.

    ``values`` is ``[..., lag]``, ``peak`` the place of its highest value, ``[...]``.
    """
    last = values.shape[-1] - 1
    places = torch.stack([peak - 1, peak, peak + 1], -1).clamp(0, last)
    before, at, after = values.double().gather(-1, places).unbind(-1)
    curvature = before - 2 * at + after
    inside = (peak > 0) & (peak < last) & (curvature < 0)
    return torch.where(inside, 0.5 * (before - after) / torch.where(inside, curvature, 1.0), 0.0).clamp(-0.5, 0.5)
