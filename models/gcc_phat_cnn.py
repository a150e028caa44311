"""GCC-PHAT-CNN: maps of cross-correlations over lag and time, convolved, to an azimuth and a class; no spikes.

    gcc_phat [B, pair, lag, frame] -> scaled to 0..1 -> 3 x (conv 3 x 3 over lag and frame, every other lag kept; batch norm, ReLU)
    -> per frame: dense, batch norm, ReLU -> mean over frames, dropout -> one head for the azimuth, one for the class

The row "GCC-PHAT-CNN (Qian et al. 2021)" of SpikSLC-Net's Table 1 (2023: 4.39 degrees, 86.94 % within 2.5 degrees, 80.01 % classes) names 51
lags x 6 pairs as input and no layers; its class accuracy is the one that Qian et al. publish for their own network (`models.sloclas_slcnet`).
From He, Motlicek and Odobez (2018) come cross-correlations of all pairs as input and one output for each of 360 azimuths that is to follow a
bell-shaped curve; from Qian et al. the two heads. Depth, widths, kernels, strides in place of pooling (which would forget where a peak was), the
dense layer and the mean over frames are choices made here; with the maximum that Qian et al. take, directions are learned far more slowly.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.settings import Settings
from models.layers import Scaling, Shape, TimeDropout, WeightedLayer
from models.located import AZIMUTHS, Located

FEATURE = "gcc_phat"


class GccPhatCnnConfig(Settings):
    """Layers of the network.

    ``channels``: of each convolution. ``hidden``: units of the dense layer. ``dropout``: share of them that is silenced while training.
    """

    channels: tuple[int, ...] = Field(default=(32, 64, 128), min_length=1)
    hidden: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)


class GccPhatCnn(nn.Module):
    """Convolutional network on cross-correlations; see the module's text.

    Parameters
    ----------
    config : GccPhatCnnConfig
    shapes : mapping
        Of ``"gcc_phat"``: ``(pair, lag, frame)``, any numbers.
    classes : int

    Examples
    --------
    >>> network = GccPhatCnn(GccPhatCnnConfig(), {"gcc_phat": (6, 51, 27)}, 10)
    >>> network.dense.in_features  # 128 channels of 51 lags, halved three times
    896
    """

    classifies = True

    def __init__(self, config: GccPhatCnnConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__()
        self.config = config
        pairs, lags, _ = shapes[FEATURE]
        self.scaling = nn.ModuleDict({FEATURE: Scaling(pairs, lags)})
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in zip((pairs, *config.channels), config.channels, strict=False):
            self.convolutions.append(nn.Conv2d(before, after, 3, stride=(2, 1), padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(after))
            lags = (lags + 1) // 2
        self.dense = nn.Linear(config.channels[-1] * lags, config.hidden, bias=False)
        self.dense_norm = nn.BatchNorm1d(config.hidden)
        self.dropout = TimeDropout(config.dropout)
        self.azimuth_head = nn.Linear(config.hidden, AZIMUTHS)
        self.label_head = nn.Linear(config.hidden, classes)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Located:
        """Localize and classify.

        Parameters
        ----------
        features : mapping
            ``"gcc_phat"``: Tensor [B, pair, lag, frame].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Located
        """
        maps = self.scaling[FEATURE](features[FEATURE])
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = norm(convolution(maps)).relu()  # [B, channel, lag / 2, frame]
        frames = maps.permute(0, 3, 1, 2).flatten(2)  # [B, frame, channel * lag]
        hidden = self.dense_norm(self.dense(frames).movedim(1, 2)).relu()  # [B, hidden, frame]
        summary = hidden.mean(2)  # [B, hidden]
        summary = self.dropout(summary.unsqueeze(0), generator).squeeze(0)
        return Located(self.azimuth_head(summary), self.label_head(summary))

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        layers = {f"conv{number}": layer for number, layer in enumerate(self.convolutions, start=1)}
        layers |= {"dense": self.dense, "azimuth_head": self.azimuth_head, "label_head": self.label_head}
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in layers.items()}
