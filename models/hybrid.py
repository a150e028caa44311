"""The network in the middle of its conversion: spiking up to one stage, which is in training, and an ANN behind it (Wu et al. 2021, section 4.1).

    features -> prepare -> [spiking, frozen] -> spikes -> [tandem layer] -> values -> [ANN] -> finish -> output

The tandem layer is one layer twice, with the same weights. Forward its spiking half counts: the value is threshold x count, in the units of the
ANN's activations. Backward the gradient is that of its analog half, the ANN's layer at the counts that arrive (Eq. 11 to 13):

    value = theta c(spikes; constrained, folded weights)        d value / d weights = d relu(W x + b) / d weights  at  x = counts that arrive

The paper takes 1 / theta for a part of the learning rate; here counts are multiplied by it everywhere, so that nothing has to be absorbed and a
layer without normalisation, too, goes on as it was. Batch normalisation takes part in both halves with its running statistics: they came to fit
counts while the layer was still an ANN's, behind the one in training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from models.chain import Stage, stages
from models.folding import apply, folded, for_spikes
from models.spiking_chain import SpikingLayer, Synapses
from models.tandem import ConversionConfig, next_layer
from models.views import Features


class HybridNetwork(nn.Module):
    """One stage of the conversion of a network.

    Parameters
    ----------
    network : Module
        The ANN with its `models.chain`. All weights are its own, those in training too.
    place : int
        Of the stage in training, from 0; the last is the readout, which never fires and differs from the ANN's by its constraints alone.
    thresholds : sequence of float
        Of the layers of neurons up to this place; those beyond it are not looked at.
    config : ConversionConfig

    Attributes
    ----------
    frozen : ModuleList of SpikingLayer
        The stages before.
    """

    def __init__(self, network: nn.Module, place: int, thresholds: Sequence[float], config: ConversionConfig):
        super().__init__()
        self.network = network
        self.place = place
        self.config = config
        self._stages = stages(network.chain())
        self.frozen = nn.ModuleList(converted_layers(self._stages[:place], thresholds, config))
        self._scale = thresholds[place - 1] if place else 1.0
        self.tandem = self._tandem_layer(thresholds)
        self.train(network.training)

    @property
    def stage(self) -> Stage:
        """The stage in training."""
        return self._stages[self.place]

    def train(self, mode: bool = True) -> "HybridNetwork":
        """Put what is still an ANN behind the stage in training into a mode; all else stays in evaluation mode, so that nothing in it moves."""
        super().train(False)
        self.training = mode
        for stage in self._stages[self.place + 1 :]:
            for layer in stage.modules:
                layer.train(mode)
        return self

    def trained_parameters(self) -> list[nn.Parameter]:
        """Parameters of the stage in training, of those after it and of what follows the chain; what `prepare` has gets no gradient."""
        frozen = {id(parameter) for stage in self._stages[: self.place] for layer in stage.modules for parameter in layer.parameters()}
        return [parameter for parameter in self.network.parameters() if id(parameter) not in frozen]

    def forward(self, features: Features, generator: Generator | None = None, arriving: Tensor | None = None) -> Any:
        """Run the hybrid network.

        Parameters
        ----------
        features : Tensor [B, ...] or dict
        generator : Generator, optional
            Not used; dropout draws from PyTorch's own.
        arriving : Tensor, optional
            What arrives at the stage in training for these features, where it is known (`arrivals`).

        Returns
        -------
        The ANN's kind of output.
        """
        with torch.no_grad():
            values, context = self.network.prepare(features)
            arriving = self.arrivals(values) if arriving is None else arriving
        values = self.coupled(arriving)
        for stage in self._stages[self.place + 1 :]:
            values = stage.forward(values)
        return self.network.finish(values, context)

    @torch.no_grad()
    def arrivals(self, values: Tensor) -> Tensor:
        """Run what is frozen on what `prepare` gives: spikes ``[T, B, ...]``, or at the first stage the values ``[B, ...]`` themselves."""
        for layer in self.frozen:
            values = layer(values)
        return values

    def coupled(self, arriving: Tensor) -> Tensor:
        """Run the tandem layer: threshold x count ``[B, ...]``, with the gradient of the ANN's layer."""
        counts = arriving.sum(0) if self.place else arriving
        with torch.no_grad():
            self.share_weights()
            spiking = self._spiking(arriving, counts)
        return _Coupled.apply(self._analog(counts), spiking) if torch.is_grad_enabled() else spiking

    @torch.no_grad()
    def share_weights(self) -> None:
        """Give the spiking half the weights that the network has now, folded and constrained."""
        synapses = self.tandem.synapses if isinstance(self.tandem, SpikingLayer) else self.tandem
        weight, bias = for_spikes(self.stage, self._scale, self.config)
        synapses.weighted.weight.copy_(weight)
        synapses.weighted.bias.copy_(bias * synapses.bias_share)

    def _tandem_layer(self, thresholds: Sequence[float]) -> SpikingLayer | Synapses:
        if self.stage.rectified:
            return next_layer(self.stage, self.frozen, thresholds[self.place], self.config)
        return Synapses(self.stage, for_spikes(self.stage, self._scale, self.config))

    def _spiking(self, arriving: Tensor, counts: Tensor) -> Tensor:
        if isinstance(self.tandem, SpikingLayer):
            return self.tandem(arriving).sum(0) * self.tandem.threshold
        return self.tandem(counts)

    def _analog(self, counts: Tensor) -> Tensor:
        values = apply(self.stage, folded(self.stage), counts * self._scale)
        return values.relu() if self.stage.rectified else values


class _Coupled(torch.autograd.Function):
    """The spiking half's value with the analog half's gradient."""

    @staticmethod
    def forward(ctx, analog, spiking):
        return spiking.view_as(spiking)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return gradient, None


def converted_layers(converted: Sequence[Stage], thresholds: Sequence[float], config: ConversionConfig) -> list[SpikingLayer]:
    """Make layers of neurons of the first stages of a network, whose thresholds are known."""
    layers: list[SpikingLayer] = []
    for stage, threshold in zip(converted, thresholds, strict=False):
        layers.append(next_layer(stage, layers, threshold, config).eval())
    return layers
