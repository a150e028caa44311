"""Write a spiking network as a NIR graph, read it back, and see that it fires the same spikes.

The file is HDF5 as the package nir writes it (extra ``export``). It takes its name only when it has been read back, its types have been checked
and a simulation of what was read (`models.nir_simulation`) has fired the network's spikes on random features, in double precision. What NIR can't
express is refused before anything is written.
"""

import copy
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.shards import replacing
from models.evaluation import load_network
from models.layers import Output, Scaling
from models.nir_graph import import_nir
from models.nir_networks import Described, describe
from models.nir_simulation import read, simulate
from models.views import Features, Shapes

FORMAT_VERSION = 1
# Random examples that the written graph and the network have to agree on.
CHECKED_EXAMPLES = 2
# Share of spikes that may differ: a potential that meets its threshold exactly falls to one side or the other by the order of an addition.
MOST_DIFFERING = 1e-3


class Exported(NamedTuple):
    """What was written.

    Attributes
    ----------
    path : Path
    nodes : dict of str to str
        Kind of each node by name, in order.
    time_steps : int
    spikes, differing : int
        Of the network on the examples that were checked, and places where the graph that was read back differs; 0 where nothing was checked.
    """

    path: Path
    nodes: dict[str, str]
    time_steps: int
    spikes: int
    differing: int


def export_run(run: Path, path: Path, *, check: bool = True) -> Exported:
    """Write the network of a finished run; arguments and errors as for `export`."""
    network, record = load_network(Path(run))
    about = {"network": record.network, "classes": "\n".join(record.classes), "catalog": record.cache.get("catalog", "")}
    return export(network, record.shape, path, about, check=check)


def export(network: nn.Module, shape: Shapes, path: Path, about: dict[str, str] | None = None, *, check: bool = True) -> Exported:
    """Write a network.

    Parameters
    ----------
    network : Module
        In evaluation mode: a converted one (`models.spiking_chain.SpikingNetwork`), `CSNN` with average pooling, `FeedforwardSNN`, `VNetwork`.
    shape : tuple of int or dict
        Of the features of one example.
    path : Path
        What to write, usually ``*.nir``.
    about : dict of str to str, optional
        For the graph's metadata.
    check : bool
        Simulate what was read back; of a large network with many time steps this takes gigabytes and minutes.

    Raises
    ------
    AudioDataError
        NIR can't express the network, or what was read back fires other spikes; nothing is written then.
    EnvironmentFault
        The package nir is missing, or the file can't be written.
    """
    graph = graph_of(network, shape, about)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        import_nir().write(temporary, graph)
        found = read(temporary)
        spikes, differing = compare(network, shape, found) if check else (0, 0)
        if differing > MOST_DIFFERING * max(spikes, 1):
            raise AudioDataError(f"{path}: not written: {differing} of {spikes} spikes of the graph are not the network's; please report this")
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    return Exported(path, kinds, int(found.metadata["time_steps"]), spikes, differing)


def graph_of(network: nn.Module, shape: Shapes, about: dict[str, str] | None = None) -> Any:
    """Make the graph of a network; arguments and errors as for `export`.

    Returns
    -------
    nir.NIRGraph
        Its metadata has ``format_version``, ``time_step_s``, ``time_steps``, ``input_coding`` (`models.nir_networks.CODINGS`), what comes in and
        goes out, the range of scaled features, and what `about` says; that of a layer of neurons ``reset``, ``reset_at``, ``comparison``,
        ``v_init`` and ``layer``, its name in the network.
    """
    described = describe(network, shape)
    return described.draft.finished({"format_version": FORMAT_VERSION} | (about or {}) | described.metadata)


def compare(network: nn.Module, shape: Shapes, graph: Any, examples: int = CHECKED_EXAMPLES, seed: int = 0) -> tuple[int, int]:
    """Run a network and a graph on the same random features, in double precision.

    Returns
    -------
    spikes : int
        Of the network.
    differing : int
        Places, neuron and time step, where one fires and the other doesn't.
    """
    network = copy.deepcopy(network).double().eval()
    described = describe(network, shape)
    features = random_features(network, shape, examples, seed)
    with torch.no_grad(), recording(network) as fired:
        network(features, _generator(seed))
    simulated = simulate(graph, given(described, features, seed))
    pairs = [(fired[layer], simulated.spikes[name]) for name, layer in described.draft.layers.items()]
    return sum(int(spikes.sum()) for spikes, _ in pairs), sum(int((spikes != other).sum()) for spikes, other in pairs)


def given(described: Described, features: Features, seed: int = 0) -> Tensor:
    """What goes into the graph for some features; encodings that draw random numbers draw those of `compare`."""
    with torch.no_grad():
        return described.given(features, _generator(seed))


@contextmanager
def recording(network: nn.Module):
    """Keep the spikes ``[T, B, ...]``, bool, of every spiking layer, by name, while the block runs."""
    fired: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor | Output) -> None:
        fired[name] = (output.spikes if isinstance(output, Output) else output).bool()

    hooks = [layer.register_forward_hook(lambda _l, _i, out, name=name: keep(name, out)) for name, layer in network.spiking_layers().items()]
    try:
        yield fired
    finally:
        for hook in hooks:
            hook.remove()


def random_features(network: nn.Module, shape: Shapes, examples: int, seed: int = 0) -> Features:
    """Features evenly distributed in the range that the network scales by, 0 to 1 where it doesn't; frames of events are 0 and 1."""
    draw = _generator(seed)
    if isinstance(shape, dict):
        return {name: (torch.rand(examples, *each, generator=draw) < 0.2).double() for name, each in shape.items()}
    values = torch.rand(examples, *shape, generator=draw, dtype=torch.float64)
    scaling = getattr(network, "scaling", None)
    return values * (scaling.high - scaling.low) + scaling.low if isinstance(scaling, Scaling) else values


def _generator(seed: int) -> Generator:
    return Generator().manual_seed(seed)
