"""SLCnet, the network that came with the SLoClas data (Qian, Sharma, El Abridi and Li 2021): dense layers per frame, no spikes.

    per frame: cross-correlations of all pairs and spectral values of one microphone, each part scaled to 0..1 by its own lowest and highest value
    -> 2 x (dense 1024, batch norm, ReLU, dropout 0.2) -> highest over frames -> 360 azimuths, and classes

Theirs has 27 frames of 6 x 51 lags + 8 sub-frames x 39 MFCC = 618 values, and is trained with 0.99 MSE + 0.01 cross entropy, Adam at 0.001,
batches of 32, 50 epochs. The sizes follow from the features here: spectral values are those of the first channel of `mfcc` if there are any,
else of `log_mel`, with the hop that the catalog says; as many of their frames as fall on one frame of `gcc_phat` count as its sub-frames (equal
hops: one). With a hop of an eighth of `gcc_phat`'s and 39 MFCC it is their 618. Their program puts a sigmoid before the cross entropy, which
flattens it; their figure has a softmax, which is what the cross entropy does by itself, so the class head here ends without either.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.layers import Shape, TimeDropout, WeightedLayer
from models.located import AZIMUTHS, Located

CORRELATIONS = "gcc_phat"
SPECTRA = ("mfcc", "log_mel")


class SloclasSlcnetConfig(Settings):
    """Layers of the network.

    ``hidden``: units of both dense layers. ``dropout``: share of them that is silenced while training.
    """

    hidden: int = Field(default=1024, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)


class SloclasSlcnet(nn.Module):
    """Dense network per frame on cross-correlations and spectra; see the module's text.

    Parameters
    ----------
    config : SloclasSlcnetConfig
    shapes : mapping
        Of ``"gcc_phat"``: ``(pair, lag, frame)``, and of ``"mfcc"`` or ``"log_mel"``: ``(channel, coefficient, frame)``.
    classes : int

    Raises
    ------
    AudioDataError
        The spectral feature is missing, or has fewer frames than `gcc_phat`.

    Examples
    --------
    >>> network = SloclasSlcnet(SloclasSlcnetConfig(), {"gcc_phat": (6, 51, 27), "mfcc": (4, 39, 216)}, 10)
    >>> network.dense1.in_features
    618
    """

    classifies = True

    def __init__(self, config: SloclasSlcnetConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__()
        self.config = config
        self.scaling = nn.ModuleDict()  # each frame is scaled by its own values
        self.spectrum = _spectral_feature(shapes)
        pairs, lags, _ = shapes[CORRELATIONS]
        _, coefficients, frames = shapes[self.spectrum]
        self.dense1 = nn.Linear(pairs * lags + coefficients * _sub_frames(frames, shapes[CORRELATIONS][2]), config.hidden)
        self.dense2 = nn.Linear(config.hidden, config.hidden)
        self.norm1, self.norm2 = nn.BatchNorm1d(config.hidden), nn.BatchNorm1d(config.hidden)
        self.dropout = TimeDropout(config.dropout)
        self.azimuth_head = nn.Linear(config.hidden, AZIMUTHS)
        self.label_head = nn.Linear(config.hidden, classes)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Located:
        """Localize and classify.

        Parameters
        ----------
        features : mapping
            ``"gcc_phat"``: Tensor [B, pair, lag, frame]; ``"mfcc"`` or ``"log_mel"``: Tensor [B, channel, coefficient, frame].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Located
        """
        values = self.vectors(features)  # [B, frame, N]
        for dense, norm in ((self.dense1, self.norm1), (self.dense2, self.norm2)):
            hidden = norm(dense(values).flatten(0, 1)).relu()  # [B * frame, hidden]
            values = self.dropout(hidden.unsqueeze(0), generator).squeeze(0).unflatten(0, values.shape[:2])
        summary = values.amax(1)  # [B, hidden]
        return Located(self.azimuth_head(summary), self.label_head(summary))

    def vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """What the first layer sees: scaled cross-correlations and spectral values of each frame, ``[B, frame, N]``."""
        correlations = features[CORRELATIONS].permute(0, 3, 1, 2).flatten(2)  # [B, frame, pair * lag]
        spectra = features[self.spectrum][:, 0].movedim(1, 2)  # [B, sub-frame, coefficient]
        frames = correlations.shape[1]
        missing = frames * _sub_frames(spectra.shape[1], frames) - spectra.shape[1]
        spectra = F.pad(spectra.movedim(1, 2), (0, missing), mode="replicate").movedim(1, 2)
        spectra = spectra.unflatten(1, (frames, -1)).flatten(2)  # [B, frame, sub-frame * coefficient]
        return torch.cat([_scaled(correlations), _scaled(spectra)], -1)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        layers = {name: getattr(self, name) for name in ("dense1", "dense2", "azimuth_head", "label_head")}
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in layers.items()}


def _spectral_feature(shapes: Mapping[str, Shape]) -> str:
    found = [name for name in SPECTRA if name in shapes]
    if not found:
        raise AudioDataError(f"SLCnet needs `gcc_phat` and one of {', '.join(SPECTRA)}; got {', '.join(shapes)}")
    return found[0]


def _sub_frames(frames: int, correlation_frames: int) -> int:
    """Spectral frames to each frame of `gcc_phat`; the last one may be short of some, which repeat what comes before them."""
    if frames < correlation_frames:
        raise AudioDataError(
            f"SLCnet: expected at least as many spectral frames as frames of gcc_phat, got {frames} and {correlation_frames}; "
            "give the spectral feature a hop_length that is not longer than gcc_phat's"
        )
    return -(-frames // correlation_frames)


def _scaled(values: Tensor) -> Tensor:
    """Each frame of ``[B, frame, N]`` from 0 (its lowest value) to 1 (its highest); all 0 where there is no difference."""
    low, high = values.aminmax(dim=-1, keepdim=True)
    return (values - low) / torch.where(high > low, high - low, 1.0)
