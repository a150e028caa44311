"""The discrete-time simulation of NIR graphs against numbers worked out by hand; and what is no graph for it."""

import h5py
import numpy as np
import pytest
import torch

nir = pytest.importorskip("nir")

from audiodata.errors import AudioDataError  # noqa: E402
from models.nir_simulation import present, read, simulate  # noqa: E402

DT = 1e-4


def graph(*nodes, steps=6, coding="each_step", **metadata):
    """A chain of nodes with what a simulation has to know."""
    made = nir.NIRGraph.from_list(*nodes)
    made.metadata = {"time_step_s": DT, "time_steps": steps, "input_coding": coding} | metadata
    return made


def lif(decay=0.5, threshold=1.0, v_reset=0.0, v_leak=0.0, **metadata):
    each = np.array([1.0])
    node = nir.LIF(
        tau=each * DT / (1 - decay), r=each / (1 - decay), v_leak=each * v_leak, v_threshold=each * threshold, v_reset=each * v_reset
    )
    node.metadata = metadata
    return node


def current(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def spikes_of(node, *values, **options):
    simulated = simulate(graph(node, steps=len(values), **options), current(*values))
    (found,) = simulated.spikes.values()
    return found.flatten().int().tolist()


def test_leak_by_hand():
    # 0.75, 1.125 (fires, back to 0), 0.75, 1.125
    assert spikes_of(lif(), 0.75, 0.75, 0.75, 0.75) == [0, 1, 0, 1]


def test_subtraction_keeps_what_is_left():
    # 1.75 fires; 0.875 + 0.5 - 1 = 0.375; 0.1875 + 0.5; 0.34375 + 0.5; 0.921875; 0.9609375
    assert spikes_of(lif(reset="subtract"), 1.75, 0.5, 0.5, 0.5, 0.5) == [1, 0, 0, 0, 0]
    # in the same step: (1.75 - 1) / 2 + 0.5 = 0.875; 0.9375; 0.96875; 1.0 after the next
    assert spikes_of(lif(reset="subtract", reset_at="same_step", comparison=">="), 1.75, 0.625, 0.5) == [1, 1, 0]


def test_a_node_without_metadata_is_nir_s_own():
    # strictly above, and set to v_reset: 1.0 does not fire; 0.5 + 0.75 fires; then -1 / 2 + 1.25 = 0.75
    assert spikes_of(lif(v_reset=-1.0), 1.0, 0.75, 1.25) == [0, 1, 0]


def test_at_the_threshold_the_comparison_decides():
    assert spikes_of(lif(comparison=">"), 1.0) == [0]
    assert spikes_of(lif(comparison=">="), 1.0) == [1]


@pytest.mark.parametrize("decay", [n / 100 for n in range(0, 100, 3)])
def test_the_way_through_tau_moves_no_potential_off_its_threshold(decay):
    # 1 fires with >=; then decay x 0 + 1 again
    assert spikes_of(lif(decay, comparison=">="), 1.0, 1.0) == [1, 1]
    assert spikes_of(lif(decay, comparison=">"), 1.0) == [0]


def test_without_reset_a_neuron_goes_on_firing():
    assert spikes_of(lif(reset="none"), 4.0, 0.0, 0.0) == [1, 1, 0]


def test_the_leak_goes_to_v_leak():
    # h = 0.5 v + 0.5 v_leak
    node = lif(v_leak=3.0, threshold=2.0)
    assert spikes_of(node, 0.0, 0.0, 0.0) == [0, 1, 0]


def test_start_potential():
    assert spikes_of(lif(v_init=0.8), 0.65, 0.0) == [1, 0]


@pytest.mark.parametrize(("value", "count"), [(-3.0, 0), (0.9, 0), (1.0, 1), (3.7, 3), (50.0, 6)])
def test_an_integrator_fires_the_floor_of_its_current(value, count):
    # count = clip(floor(V / theta), 0, T), Wu et al. 2021
    node = nir.IF(r=np.array([1 / DT]), v_threshold=np.array([1.0]))
    node.metadata = {"reset": "subtract", "reset_at": "next_step", "comparison": ">=", "v_init": 0.0}
    simulated = simulate(graph(node, coding="first_step"), torch.tensor([[value]]))
    assert simulated.spikes["if"].sum().item() == count


def test_an_integrator_without_spikes_adds_up():
    simulated = simulate(graph(nir.I(r=np.array([1 / DT])), steps=3), current(1.0, -4.0, 2.5))
    assert simulated.output.flatten().tolist() == [1.0, -3.0, -0.5]
    assert simulated.potentials["i"].item() == -0.5


def test_pooling_sums_or_averages():
    maps = torch.arange(16.0).view(1, 1, 1, 4, 4)
    sizes = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    for kind, area in ((nir.SumPool2d, 1), (nir.AvgPool2d, 4)):
        made = graph(nir.Input(np.array([1, 4, 4])), kind(**sizes), nir.Output(np.array([1, 2, 2])), steps=1)
        assert simulate(made, maps).output.flatten().tolist() == [total / area for total in (10, 18, 42, 50)]


def test_edges_that_meet_add_up():
    nodes = {
        "input": nir.Input(np.array([1])),
        "one": nir.Affine(weight=np.array([[2.0]]), bias=np.array([0.0])),
        "other": nir.Affine(weight=np.array([[3.0]]), bias=np.array([1.0])),
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "one"), ("input", "other"), ("one", "output"), ("other", "output")]
    metadata = {"time_step_s": DT, "time_steps": 1, "input_coding": "each_step"}
    made = nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)
    assert simulate(made, current(2.0)).output.item() == 4 + 7


def test_codings_by_hand():
    values = torch.tensor([[6.0]])
    assert present(values, "first_step", 3).flatten().tolist() == [6, 0, 0]
    assert present(values, "equal_parts", 3).flatten().tolist() == [2, 2, 2]
    assert present(values, "every_step", 3).flatten().tolist() == [6, 6, 6]
    with pytest.raises(AudioDataError, match="input_coding"):
        present(values, "morse", 3)


def test_what_does_not_fit_is_named():
    with pytest.raises(AudioDataError, match=r"expected 6 time steps of \[1\], got 2 of \[1\]"):
        simulate(graph(lif()), current(1.0, 1.0))
    bare = graph(lif())
    del bare.metadata["time_steps"]
    with pytest.raises(AudioDataError, match="no `time_steps`"):
        simulate(bare, current(1.0))
    with pytest.raises(AudioDataError, match="Scale"):
        simulate(graph(nir.Scale(scale=np.array([2.0])), steps=1), current(1.0))


def test_loops_are_refused():
    nodes = {"input": nir.Input(np.array([1])), "a": lif(), "b": lif(), "output": nir.Output(np.array([1]))}
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    made = nir.NIRGraph(nodes=nodes, edges=edges, metadata={"time_step_s": DT, "time_steps": 1, "input_coding": "each_step"})
    with pytest.raises(AudioDataError, match="a, b, output form a loop"):
        simulate(made, current(1.0))


def test_files_that_are_no_graph_are_refused(tmp_path):
    with pytest.raises(AudioDataError, match="no such file"):
        read(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("not HDF5")
    with pytest.raises(AudioDataError, match="not a graph of NIR"):
        read(tmp_path / "text.nir")
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["values"] = [1, 2]
    with pytest.raises(AudioDataError, match="not a graph of NIR"):
        read(tmp_path / "other.nir")


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    made = graph(nir.Affine(weight=np.ones((2, 3)), bias=np.zeros(2)), nir.I(r=np.ones(2)))
    made.nodes["i"].r = np.ones(5)
    nir.write(tmp_path / "a.nir", made)
    with pytest.raises(AudioDataError, match="not a graph of NIR"):
        read(tmp_path / "a.nir")
