"""What an answer costs: operations of each layer, energy and memory, of a spiking network beside the same one without spikes.

Synaptic operations are counted as `models.metrics.Meter` does. A layer that takes real numbers multiplies in a spiking network too: the first one
of a converted network does so once, at the first time step. Such *dense* layers are stated apart, and every ratio is given with and without them.

Compute and memory are those of Courregé and Gandeel (description of work, Eq. 2 and 3):

    ANN: C = C_mult + C_add     M = M_w + M_a               weights, activations
    SNN: C = C_add              M = M_w + M_p + M_s         weights, membrane potentials, spikes

where the memory of spikes is that of the largest number of them at one time step, and the neurons' own updates are left out. A spike is stored
as the address of its neuron. A dense layer's multiplications are added to the C of a spiking network: it has them.

Energy is operations times constants that others measured or simulated; nothing here is measured, and moving data, which costs more than either
operation, is left out.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# Of a multiplication with addition (MAC), in units of an addition (AC): a simulation in a Global Foundry 28 nm process that Rueckauer et al.
# (2017) report and Wu et al. (2021, section 5.5) take over.
MAC_PER_ADDITION_28NM = 14.0

# 32-bit floating point in 45 nm at 0.9 V, picojoules: 3.7 for a multiplication and 0.9 for an addition (Horowitz, ISSCC 2014, figure 1.1.9).
MAC_PJ_45NM = 4.6
ADDITION_PJ_45NM = 0.9

# Bits of a number where nothing else is said.
FLOAT_BITS = 32


class EnergyModel(NamedTuple):
    """Energy of the two operations.

    Attributes
    ----------
    mac, addition : float
        Of a multiplication with addition, and of an addition.
    unit : str
        Of both.
    source : str
    """

    mac: float
    addition: float
    unit: str
    source: str


ENERGY_MODELS: dict[str, EnergyModel] = {
    "28nm": EnergyModel(MAC_PER_ADDITION_28NM, 1.0, "additions", "Global Foundry 28 nm, simulated; Rueckauer et al. 2017, Wu et al. 2021"),
    "45nm": EnergyModel(MAC_PJ_45NM, ADDITION_PJ_45NM, "pJ", "45 nm, 32-bit floating point; Horowitz 2014"),
}


class Work(NamedTuple):
    """Operations of an answer by layer.

    Attributes
    ----------
    additions : mapping of str to float
        Of the layers that take spikes.
    macs : mapping of str to float
        Of the layers that take real numbers.
    """

    additions: Mapping[str, float]
    macs: Mapping[str, float]

    @property
    def total(self) -> float:
        """Operations of all layers, a MAC counted as one."""
        return sum(self.additions.values()) + sum(self.macs.values())

    def compute(self) -> dict[str, float]:
        """Multiplications and additions (Eq. 3); a MAC is one of each."""
        macs = sum(self.macs.values())
        return {"multiplications": macs, "additions": macs + sum(self.additions.values())}

    def energy(self, model: EnergyModel) -> float:
        """Energy in the model's unit."""
        return model.mac * sum(self.macs.values()) + model.addition * sum(self.additions.values())

    def without(self, layers: Mapping[str, float]) -> "Work":
        """Give the operations of the layers that are not among those named."""
        kept = ({name: count for name, count in each.items() if name not in layers} for each in self)
        return Work(*kept)


class Storage(NamedTuple):
    """How many numbers an answer needs at a time.

    Attributes
    ----------
    weights : int
        Weights, biases and whatever else is trained.
    potentials : int
        Neurons with a membrane potential.
    spikes : int
        The largest number of spikes of one example at one time step.
    activations : int
        Values that the layers of a network without spikes put out for one example.
    weight_bits : int
    """

    weights: int
    potentials: int = 0
    spikes: int = 0
    activations: int = 0
    weight_bits: int = FLOAT_BITS

    def of_spiking(self) -> dict[str, float]:
        """Bytes of a spiking network (Eq. 2): weights, potentials, spikes and all together."""
        each = {
            "weights": self.weights * self.weight_bits / 8,
            "potentials": self.potentials * FLOAT_BITS / 8,
            "spikes": self.spikes * address_bits(self.potentials) / 8,
        }
        return each | {"total": sum(each.values())}

    def of_dense(self) -> dict[str, float]:
        """Bytes of a network without spikes (Eq. 2): weights, activations and both together."""
        each = {"weights": self.weights * self.weight_bits / 8, "activations": self.activations * FLOAT_BITS / 8}
        return each | {"total": sum(each.values())}


def address_bits(neurons: int) -> int:
    """Bits that tell so many neurons apart, at least 1."""
    return max(1, math.ceil(math.log2(max(neurons, 1))))


def ratio(part: float, whole: float) -> float | None:
    """Divide, None where there is nothing to divide by."""
    return part / whole if whole else None


def operations_by_layer(spiking: Work, dense: Work | None) -> dict[str, dict[str, float | None]]:
    """Describe each layer: ``additions`` or ``macs`` and, beside a network without spikes, ``twin_macs`` and the ``ratio`` of the two."""
    found: dict[str, dict[str, float | None]] = {name: {"additions": count} for name, count in spiking.additions.items()}
    found |= {name: {"macs": count} for name, count in spiking.macs.items()}
    if dense is not None:
        for name, each in found.items():
            other = dense.macs.get(name)
            each |= {"twin_macs": other, "ratio": None if other is None else ratio(sum(each.values()), other)}
    return found


def operations(spiking: Work, dense: Work | None) -> dict[str, Any]:
    """Describe all layers together, with and without those that take real numbers in the spiking network.

    Returns
    -------
    dict
        ``additions``, ``dense_layers`` and their ``dense_macs``; beside a network without spikes its ``twin_macs``, ``ratio`` of all operations
        (a dense MAC counts as one) and ``ratio_without_dense``, of additions to the MACs of the same layers; None where the twin's layers
        have other names.
    """
    found: dict[str, Any] = {
        "additions": sum(spiking.additions.values()),
        "dense_layers": list(spiking.macs),
        "dense_macs": sum(spiking.macs.values()),
    }
    if dense is not None:
        kept = dense.without(spiking.macs).total if spiking.macs.keys() <= dense.macs.keys() else 0.0
        found |= {"twin_macs": dense.total, "ratio": ratio(spiking.total, dense.total), "ratio_without_dense": ratio(found["additions"], kept)}
    return found


def energies(spiking: Work, dense: Work | None) -> dict[str, dict[str, Any]]:
    """Estimate the energy with each of `ENERGY_MODELS`; ``without_dense`` leaves out the layers that take real numbers in the spiking network."""
    found = {}
    for name, model in ENERGY_MODELS.items():
        found[name] = model._asdict() | {"snn": spiking.energy(model)}
        if dense is not None:
            without = operations(spiking, dense)["ratio_without_dense"]
            both = {"ann": dense.energy(model), "ratio": ratio(spiking.energy(model), dense.energy(model))}
            found[name] |= both | {"ratio_without_dense": None if without is None else without * model.addition / model.mac}
    return found


def account_spiking(work: Work, storage: Storage, twin: Work | None = None, twin_storage: Storage | None = None) -> dict[str, Any]:
    """Describe what an answer of a spiking network costs, beside that of its twin where there is one.

    Parameters
    ----------
    work, storage : Work, Storage
        Of the spiking network, per example.
    twin, twin_storage : Work, Storage, optional
        Of the same layers without spikes.

    Returns
    -------
    dict
        ``layers``, ``operations``, ``compute``, ``energy`` and ``memory`` in bytes, with the ``bits`` that it counts on.
    """
    memory: dict[str, Any] = {"unit": "bytes", "bits": _bits(storage), "spikes_at_once": storage.spikes, "snn": storage.of_spiking()}
    compute = {"snn": work.compute()}
    if twin is not None and twin_storage is not None:
        memory |= {"ann": twin_storage.of_dense(), "ratio": ratio(memory["snn"]["total"], twin_storage.of_dense()["total"])}
        compute["ann"] = twin.compute()
    return {
        "layers": operations_by_layer(work, twin),
        "operations": operations(work, twin),
        "compute": compute,
        "energy": energies(work, twin),
        "memory": memory,
    }


def _bits(storage: Storage) -> dict[str, int]:
    return {
        "weight": storage.weight_bits,
        "potential": FLOAT_BITS,
        "spike": address_bits(storage.potentials),
        "activation": FLOAT_BITS,
    }


def account_dense(work: Work, storage: Storage) -> dict[str, Any]:
    """Describe what an answer of a network without spikes costs; keys as `account_spiking` has them for its twin."""
    return {
        "layers": {name: {"macs": count} for name, count in work.macs.items()},
        "operations": {"macs": work.total},
        "compute": {"ann": work.compute()},
        "energy": {name: model._asdict() | {"ann": work.energy(model)} for name, model in ENERGY_MODELS.items()},
        "memory": {"unit": "bytes", "bits": {"weight": storage.weight_bits, "activation": FLOAT_BITS}, "ann": storage.of_dense()},
    }
