"""Directions on the circle: curves, errors, scores and losses by hand; examples without a direction or a class are passed over."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodata.geometry import circular_error_deg
from models.localization import Localization, score
from models.located import AZIMUTHS, Located, azimuth_target, circular_distance_deg, decode_azimuth
from models.losses import azimuth_error, class_error

NAN = float("nan")
CLASSES = ("bark", "rain", "tick")


def located(azimuths, labels=None):
    """Return the outputs of a network that is sure of these directions and classes."""
    labels = [0] * len(azimuths) if labels is None else labels
    return Located(azimuth_target(torch.tensor(azimuths)), 9.0 * torch.nn.functional.one_hot(torch.tensor(labels), 3))


def targets(azimuths, labels=None):
    labels = [0] * len(azimuths) if labels is None else labels
    return {"azimuth_deg": torch.tensor(azimuths), "label": torch.tensor(labels)}


@pytest.mark.parametrize("azimuth", [0.0, 5.0, 90.0, 358.0, 359.0])
def test_the_curve_peaks_where_the_sound_is_and_is_even_around_it(azimuth):
    curve = azimuth_target(torch.tensor([azimuth]))[0]
    assert curve.shape == (AZIMUTHS,)
    assert curve.argmax() == azimuth
    assert curve.max() == 1
    around = curve.roll(-int(azimuth))
    assert torch.equal(around[1:180], around[181:].flip(0)), "the same to the left and the right, also across 360 degrees"


def test_the_curve_has_the_width_asked_for():
    curve = azimuth_target(torch.tensor([358.0]), sigma_deg=4.0)[0]
    assert curve[[2, 354]].tolist() == pytest.approx([math.exp(-1)] * 2)
    assert curve.sum().item() == pytest.approx(4 * math.sqrt(math.pi), rel=1e-5)


def test_the_curve_of_a_direction_between_two_degrees_is_even_around_it():
    curve = azimuth_target(torch.tensor([359.5]))[0]
    assert curve[0] == curve[359]
    assert curve[1] == curve[358]
    assert decode_azimuth(curve.unsqueeze(0)) == 0, "of equally high ones the lowest"


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_distances_agree_with_those_of_the_library(one, other):
    found = circular_distance_deg(torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)).item()
    assert found == pytest.approx(circular_error_deg(one, other), abs=1e-8)
    assert 0 <= found <= 180


def test_errors_are_measured_across_the_wrap():
    found = score(np.array([359.0, 1.0, 90.0, 270.0]), np.array([1.0, 359.0, 270.0, 90.0]))
    assert found["mae_deg"] == (2 + 2 + 180 + 180) / 4
    assert found["accuracy"] == {"2.5": 0.5, "5": 0.5}
    assert found["median_deg"] == 91


def test_an_error_as_large_as_the_tolerance_is_wrong():
    found = score(np.array([10.0, 10.0, 10.0]), np.array([12.4, 12.5, 15.0]), tolerance_deg=(2.5, 5.0, 5.5))
    assert found["accuracy"] == pytest.approx({"2.5": 1 / 3, "5": 2 / 3, "5.5": 1.0})


def test_the_histogram_counts_every_error():
    found = score(np.array([0.0, 0.0, 0.0, NAN]), np.array([0.0, 179.0, 180.0, 7.0]))
    edges, counts = found["histogram"]["edges_deg"], found["histogram"]["counts"]
    assert len(edges) == len(counts) + 1
    assert (counts[0], counts[-1], sum(counts)) == (1, 2, 3)
    assert found["examples"] == 3


def test_nothing_located_has_no_error():
    found = score(np.array([NAN]), np.array([3.0]))
    assert (found["examples"], found["mae_deg"], found["accuracy"]) == (0, None, {"2.5": None, "5": None})


def test_azimuth_error_by_hand():
    # outputs of 0 miss the curve by its own squares: with sigma 5 their sum is that of exp(-2 d^2 / 25) over all degrees d
    squares = sum(math.exp(-2 * d * d / 25) for d in range(-180, 180))
    zero, azimuth = torch.zeros(2, AZIMUTHS), torch.tensor([3.0, 200.0])
    assert azimuth_error(zero, azimuth, over="sum").item() == pytest.approx(squares, rel=1e-5)
    assert azimuth_error(zero, azimuth).item() == pytest.approx(squares / 360, rel=1e-5)
    assert squares == pytest.approx(5 * math.sqrt(math.pi / 2), rel=1e-6)
    assert azimuth_error(azimuth_target(azimuth), azimuth).item() == 0


def test_class_error_by_hand():
    values = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    assert class_error(values, torch.tensor([0, -1])).item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)), abs=1e-6)


@pytest.mark.parametrize(("weight", "expected"), [(0.0, math.log(3)), (1.0, 1 / 360), (0.75, 0.75 / 360 + 0.25 * math.log(3))])
def test_the_weight_shares_out_the_loss(weight, expected):
    output = Located(azimuth_target(torch.tensor([7.0])), torch.zeros(1, 3))
    output.azimuth[0, 100] += 1  # an error of 1 in one of 360 places
    assert Localization(doa_weight=weight).loss(output, targets([7.0])).item() == pytest.approx(expected, rel=1e-4)


def test_examples_without_a_direction_or_a_class_change_neither_loss_nor_gradient():
    torch.manual_seed(0)
    task = Localization(0.9)
    output = Located(torch.rand(3, AZIMUTHS, requires_grad=True), torch.rand(3, 3, requires_grad=True))
    whole = task.loss(output, targets([10.0, NAN, 50.0], [1, 2, -1]))
    by_hand = 0.9 * azimuth_error(output.azimuth[[0, 2]], torch.tensor([10.0, 50.0])) + 0.1 * class_error(output.label[:2], torch.tensor([1, 2]))
    assert whole.item() == pytest.approx(by_hand.item(), rel=1e-6)
    whole.backward()
    assert torch.isfinite(output.azimuth.grad).all()
    assert (output.azimuth.grad[1] == 0).all()
    assert (output.label.grad[2] == 0).all()


def test_a_batch_without_any_has_no_loss_and_no_scores():
    task = Localization(0.9)
    output = Located(torch.rand(2, AZIMUTHS, requires_grad=True), torch.rand(2, 3, requires_grad=True))
    loss = task.loss(output, targets([NAN, NAN], [-1, -1]))
    loss.backward()
    assert loss == 0
    assert (output.azimuth.grad == 0).all()
    assert task.scores(output, targets([NAN, NAN], [-1, -1])) == {}


def test_scores_say_over_how_many_they_are():
    output = located([10.0, 20.0, 30.0, 40.0], [0, 1, 1, 0])
    found = Localization(tolerance_deg=(2.5, 5.0)).scores(output, targets([12.0, 24.0, NAN, 41.0], [0, 0, -1, 0]))
    assert (found["mae"].value.item(), found["mae"].examples) == (pytest.approx(7 / 3), 3)
    assert (found["doa_accuracy"].value.item(), found["accuracy"].value.item()) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize(("weight", "names"), [(0.0, {"accuracy"}), (1.0, {"mae", "doa_accuracy"}), (0.5, {"accuracy", "mae", "doa_accuracy"})])
def test_what_is_not_learned_is_not_scored(weight, names):
    assert set(Localization(weight).scores(located([1.0]), targets([1.0]))) == names


def tallied(task, *batches):
    tally = task.tally(CLASSES)
    for output, truth in batches:
        tally.add(output, truth)
    return tally


def test_a_tally_adds_up_batches():
    one = located([10.0, 20.0], [0, 1]), targets([10.0, NAN], [0, 2])
    other = located([355.0], [2]), targets([1.0], [-1])
    tally = tallied(Localization(0.5), one, other)
    found = tally.summary()
    assert (tally.examples, found["examples"], found["doa"]["examples"], found["doa"]["mae_deg"]) == (3, 3, 2, 3.0)
    assert found["accuracy"] == 0.5
    assert np.array(found["confusion_matrix"]).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    predictions = tally.predictions()
    assert predictions["predicted_azimuth_deg"] == [10.0, 20.0, 355.0]
    assert math.isnan(predictions["azimuth_deg"][1])
    assert (predictions["label"], predictions["predicted_label"]) == (["bark", "tick", ""], ["bark", "rain", "tick"])


def test_the_loss_of_a_tally_is_that_of_all_examples_at_once():
    torch.manual_seed(1)
    task, truth = Localization(0.7), targets([5.0, NAN, 100.0, 200.0], [0, 1, -1, 2])
    output = Located(torch.rand(4, AZIMUTHS), torch.randn(4, 3))
    parts = [(Located(*(part[rows] for part in output)), {name: each[rows] for name, each in truth.items()}) for rows in ([0, 1, 2], [3])]
    assert tallied(task, *parts).summary()["loss"] == pytest.approx(task.loss(output, truth).item(), rel=1e-6)


@pytest.mark.parametrize(("weight", "missing", "there"), [(0.0, "doa", "accuracy"), (1.0, "accuracy", "doa")])
def test_what_is_not_learned_is_not_measured(weight, missing, there):
    found = tallied(Localization(weight), (located([1.0]), targets([1.0]))).summary()
    assert found[missing] is None
    assert found[there] is not None


def test_a_network_without_classes_is_trained_for_directions_alone():
    from models.training_config import LocalizationTraining

    mute = torch.nn.Identity()
    assert Localization.of(LocalizationTraining(doa_weight=0.9), mute).doa_weight == 0.9
    mute.classifies = False
    assert Localization.of(LocalizationTraining(doa_weight=0.9), mute).doa_weight == 1.0
