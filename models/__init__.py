"""The networks, by name.

To add one, write a file with its config and its module, a page ``train_<network>.py`` or a line in the ``TRAINING`` of one that fits, and
add one line to `MODELS`: the commands and the conformance tests find it there.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import nn

from audiodata.settings import Settings
from audiodata.shards import Cache
from models import spikslcnet
from models.a_network import ANetwork, ANetworkConfig
from models.autoencoder import Autoencoder, AutoencoderConfig
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig
from models.feedforward import MLP, FeedforwardConfig, FeedforwardSNN, MlpConfig
from models.gcc_phat_cnn import GccPhatCnn, GccPhatCnnConfig
from models.image_networks import AlexnetLike, ImageNetworkConfig, MnistCnn, Vgg11Like, Vgg16Like, VggLikeConfig
from models.mtpc_csnn import MtpcCsnn, MtpcCsnnConfig
from models.multimodal import Multimodal, MultimodalConfig, MultimodalFc, MultimodalFcConfig
from models.reference_networks import EfficientNetConfig, ReferenceConfig, ReferenceNetwork, VggConfig, builder
from models.separator import Separator, SeparatorConfig, mixture_settings
from models.sloclas_slcnet import SloclasSlcnet, SloclasSlcnetConfig
from models.spikslcnet import SLCNet, SlcNetConfig, SpikSLCNet, SpikSlcNetConfig
from models.srp_phat import ArgmaxConfig, GccArgmax, SrpPhat, SrpPhatConfig
from models.v_network import VNetwork, VNetworkConfig
from models.views import array_settings, detector_settings


class Model(NamedTuple):
    """One kind of network.

    Attributes
    ----------
    config : type of Settings
        Its settings.
    build : callable
        ``(config, shape, classes) -> Module`` for features of that shape, or of those shapes by name.
    task : str
        What it is trained for: "classification" (one feature, an `Output`), "localization" (features by name, a `Located`), "voting" (frames
        of events by name, a `Votes`), "reconstruction" (one feature, a `Reconstruction`) or "separation" (mixtures, a `Separated`).
    kind : str
        Whether it spikes ("SNN"), learns without spikes ("ANN") or learns nothing ("classical").
    summary : str
        One line for people.
    page : str
        The module that trains it, with ``TRAINING`` (settings by network) and ``train``.
    twin : str
        The network with the same weights and without spikes; empty for a network that does not spike.
    features : tuple of str or tuple
        What a localizing or voting network takes; of several in a tuple the first that a cache has.
    trained : bool
        Whether there is anything to train.
    from_cache : callable, optional
        ``cache -> settings``: what of its settings the cache itself says.
    needs : callable, optional
        Imports the optional package that the network is made by, or raises `EnvironmentFault`.
    """

    config: type[Settings]
    build: Callable[..., nn.Module]
    task: Literal["classification", "localization", "voting", "reconstruction", "separation"]
    kind: Literal["SNN", "ANN", "classical"]
    summary: str
    page: str
    twin: str = ""
    features: tuple[str | tuple[str, ...], ...] = ()
    trained: bool = True
    from_cache: Callable[[Cache], dict[str, Any]] | None = None
    needs: Callable[[], Any] | None = None


class Preset(NamedTuple):
    """A network with some of its settings chosen."""

    network: str
    settings: dict[str, Any]


CSNN_PAGE, FEEDFORWARD_PAGE, SPIKSLCNET_PAGE = "models.train_csnn", "models.train_feedforward", "models.train_spikslcnet"
MULTIMODAL_PAGE, SEPARATOR_PAGE = "models.train_multimodal", "models.train_separator"
REFERENCE_PAGE = "models.train_reference"

IMAGE_PAGE, AUTOENCODER_PAGE = "models.train_image_networks", "models.train_autoencoder"

MODELS: dict[str, Model] = {
    "csnn": Model(
        CsnnConfig, CSNN, "classification", "SNN", "conv-LIF-conv-LIF-fc-LIF (Courregé and Gandeel 2024, figure 24)", CSNN_PAGE, twin="cnn"
    ),
    "cnn": Model(CnnConfig, CNN, "classification", "ANN", "twin of csnn without spikes", CSNN_PAGE),
    "feedforward": Model(
        FeedforwardConfig, FeedforwardSNN, "classification", "SNN", "fc-LIF-fc-LIF (Courregé and Gandeel 2024, figure 23)", FEEDFORWARD_PAGE,
        twin="mlp",
    ),
    "mlp": Model(MlpConfig, MLP, "classification", "ANN", "twin of feedforward without spikes", FEEDFORWARD_PAGE),
    "spikslcnet": Model(
        SpikSlcNetConfig, SpikSLCNet, "localization", "SNN", "attention between two streams of spikes (SpikSLC-Net 2023)", SPIKSLCNET_PAGE,
        twin="slcnet", features=("gcc_phat", "log_mel"),
    ),
    "slcnet": Model(
        SlcNetConfig, SLCNet, "localization", "ANN", "twin of spikslcnet without spikes", SPIKSLCNET_PAGE, features=("gcc_phat", "log_mel")
    ),
    "gcc_phat_cnn": Model(
        GccPhatCnnConfig, GccPhatCnn, "localization", "ANN", "convolutions over lag and time of cross-correlations", SPIKSLCNET_PAGE,
        features=("gcc_phat",),
    ),
    "sloclas_slcnet": Model(
        SloclasSlcnetConfig, SloclasSlcnet, "localization", "ANN", "dense layers per frame (Qian et al. 2021)", SPIKSLCNET_PAGE,
        features=("gcc_phat", ("mfcc", "log_mel")),
    ),
    "mtpc_csnn": Model(
        MtpcCsnnConfig, MtpcCsnn, "localization", "SNN", "convolutions on phase-coded spikes (Pan et al. 2021); directions only", SPIKSLCNET_PAGE,
        features=("mtpc",), from_cache=detector_settings,
    ),
    "srp_phat": Model(
        SrpPhatConfig, SrpPhat, "localization", "classical", "steered response power (DiBiase 2000); directions only", SPIKSLCNET_PAGE,
        features=("gcc_phat",), trained=False, from_cache=array_settings,
    ),
    "gcc_argmax": Model(
        ArgmaxConfig, GccArgmax, "localization", "classical", "least squares on the peaks' lags; directions only", SPIKSLCNET_PAGE,
        features=("gcc_phat",), trained=False, from_cache=array_settings,
    ),
    "v_network": Model(
        VNetworkConfig, VNetwork, "voting", "SNN", "convolutions on what an event camera sees (Liu et al. 2022)", MULTIMODAL_PAGE,
        features=("visual_frames",),
    ),
    "a_network": Model(
        ANetworkConfig, ANetwork, "voting", "SNN", "recurrent layers on what a silicon cochlea hears (Liu et al. 2022)", MULTIMODAL_PAGE,
        features=("auditory_frames",),
    ),
    "multimodal": Model(
        MultimodalConfig, Multimodal, "voting", "SNN", "v_network and a_network, weighed by attention (Liu et al. 2022)", MULTIMODAL_PAGE,
        features=("visual_frames", "auditory_frames"),
    ),
    "multimodal_fc": Model(
        MultimodalFcConfig, MultimodalFc, "voting", "SNN", "v_network and a_network, fused by dense layers", MULTIMODAL_PAGE,
        features=("visual_frames", "auditory_frames"),
    ),
    "separator": Model(
        SeparatorConfig, Separator, "separation", "ANN", "encoder, masks from dilated convolutions, decoder (Wu et al. 2021)", SEPARATOR_PAGE,
        features=("waveform",), from_cache=mixture_settings,
    ),
    "resnet50": Model(
        ReferenceConfig, partial(ReferenceNetwork, "resnet50"), "classification", "ANN", "residual blocks (He et al. 2016)",
        REFERENCE_PAGE, needs=partial(builder, "resnet50"),
    ),
    "resnet101": Model(
        ReferenceConfig, partial(ReferenceNetwork, "resnet101"), "classification", "ANN", "more residual blocks (He et al. 2016)",
        REFERENCE_PAGE, needs=partial(builder, "resnet101"),
    ),
    "efficientnet_b0": Model(
        EfficientNetConfig, partial(ReferenceNetwork, "efficientnet_b0"), "classification", "ANN", "convolutions, weighed channels (Tan and Le 2019)",
        REFERENCE_PAGE, needs=partial(builder, "efficientnet_b0"),
    ),
    "vgg16": Model(
        VggConfig, partial(ReferenceNetwork, "vgg16"), "classification", "ANN", "13 convolutions, 3 dense layers (Simonyan and Zisserman 2015)",
        REFERENCE_PAGE, needs=partial(builder, "vgg16"),
    ),
    "densenet121": Model(
        ReferenceConfig, partial(ReferenceNetwork, "densenet121"), "classification", "ANN", "each layer sees all before it (Huang et al. 2017)",
        REFERENCE_PAGE, needs=partial(builder, "densenet121"),
    ),
    "mobilenet_v2": Model(
        ReferenceConfig, partial(ReferenceNetwork, "mobilenet_v2"), "classification", "ANN", "separable convolutions (Sandler et al. 2018)",
        REFERENCE_PAGE, needs=partial(builder, "mobilenet_v2"),
    ),
    "mnist_cnn": Model(
        ImageNetworkConfig, MnistCnn, "classification", "ANN", "four convolutions for images of 28 x 28 (Wu et al. 2021)", IMAGE_PAGE
    ),
    "alexnet_like": Model(
        ImageNetworkConfig, AlexnetLike, "classification", "ANN", "five convolutions for small images (Wu et al. 2021)", IMAGE_PAGE
    ),
    "vgg11_like": Model(VggLikeConfig, Vgg11Like, "classification", "ANN", "eight convolutions (Wu et al. 2021)", IMAGE_PAGE),
    "vgg16_like": Model(VggLikeConfig, Vgg16Like, "classification", "ANN", "thirteen convolutions (Wu et al. 2021)", IMAGE_PAGE),
    "autoencoder": Model(
        AutoencoderConfig, Autoencoder, "reconstruction", "ANN", "dense layers through a bottleneck and back (Wu et al. 2021)", AUTOENCODER_PAGE
    ),
}  # fmt: skip

# "spikslcnet-2-128" and its like: blocks and width
PRESETS: dict[str, Preset] = {
    f"{network}-{size}": Preset(network, settings) for network in ("spikslcnet", "slcnet") for size, settings in spikslcnet.PRESETS.items()
}
