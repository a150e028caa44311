"""The networks, by name.

To add one, write a file with its config and its module, a page ``train_<network>.py``, and add one line to `MODELS`: the commands and the
conformance tests find it there.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import nn

from audiodata.settings import Settings
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig
from models.feedforward import MLP, FeedforwardConfig, FeedforwardSNN, MlpConfig


class Model(NamedTuple):
    """One kind of network.

    Attributes
    ----------
    config : type of Settings
        Its settings.
    build : callable
        ``(config, shape, classes) -> Module`` for features of that shape.
    task : str
        What it is trained for.
    summary : str
        One line for people.
    page : str
        The module that trains it, with ``Training`` (settings) and ``train``.
    twin : str
        The network with the same weights and without spikes; empty for a network that does not spike.
    """

    config: type[Settings]
    build: Callable[..., nn.Module]
    task: Literal["classification"]
    summary: str
    page: str
    twin: str = ""


MODELS: dict[str, Model] = {
    "csnn": Model(
        CsnnConfig, CSNN, "classification", "conv-LIF-conv-LIF-fc-LIF (Courregé and Gandeel 2024, figure 24)", "models.train_csnn", "cnn"
    ),
    "cnn": Model(CnnConfig, CNN, "classification", "twin of csnn without spikes", "models.train_csnn"),
    "feedforward": Model(
        FeedforwardConfig,
        FeedforwardSNN,
        "classification",
        "fc-LIF-fc-LIF (Courregé and Gandeel 2024, figure 23)",
        "models.train_feedforward",
        "mlp",
    ),
    "mlp": Model(MlpConfig, MLP, "classification", "twin of feedforward without spikes", "models.train_feedforward"),
}
