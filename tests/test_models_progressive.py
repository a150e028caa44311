"""Progressive training as a whole: its stages, what stays frozen, how it is interrupted, and that it learns."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from audiodata.errors import AudioDataError
from models import progressive
from models.chain import Sequence
from models.metrics import Score
from models.prefix import HeldSpikes, hold
from models.progressive import TandemTraining, fine_tune
from models.runs import CHECKPOINTS, LAST_CHECKPOINT
from models.tandem import convert
from models.tandem_data import TensorExamples

CLASSES, WIDTH = 4, 12


class Classes:
    """Cross entropy and the share of right answers."""

    def loss(self, output, targets):
        return F.cross_entropy(output, targets["label"])

    def scores(self, output, targets):
        return {"accuracy": Score((output.argmax(1) == targets["label"]).float().mean(), len(output))}


def blobs(examples, seed):
    """Points around two centres for each class, so that no plane tells the classes apart."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(2 * CLASSES, WIDTH, generator=torch.Generator().manual_seed(99))
    centre = torch.arange(examples) % (2 * CLASSES)
    features = centres[centre] + 0.17 * torch.randn(examples, WIDTH, generator=generator)
    return TensorExamples(features, {"label": centre % CLASSES}, seed)


def everything(examples):
    return examples.read(range(len(examples)))


def network(seed=0):
    torch.manual_seed(seed)
    return Sequence(nn.Sequential(
        nn.Linear(WIDTH, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, CLASSES)
    ))  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    ann, (features, targets) = network(), everything(blobs(400, 1))
    optimizer = torch.optim.Adam(ann.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(ann(features), targets["label"]).backward()
        optimizer.step()
    return ann.eval()


@pytest.fixture(scope="module")
def train():
    return blobs(96, 1)


@pytest.fixture(scope="module")
def val():
    return blobs(64, 2)


def share_right(model, examples):
    features, targets = everything(examples)
    with torch.no_grad():
        return (model(features).argmax(1) == targets["label"]).float().mean().item()


def short(**changes):
    return TandemTraining(**({"time_steps": 3, "epochs": 6, "patience": 2, "batch_size": 32, "learning_rate": 3e-3} | changes))


def tuned(ann, train, val, config, folder=None, **more):
    ann = copy.deepcopy(ann)
    return ann, fine_tune(ann, Classes(), train, val, config, folder, **more)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Scripted:
    """Losses in place of what a validation measures; keeps the weights that each was measured with."""

    def __init__(self, losses):
        self.losses = iter(losses)
        self.weights = []

    def __call__(self, hybrid, split, task):
        self.weights.append({name: value.clone() for name, value in hybrid.network.state_dict().items()})
        return {"val_loss": next(self.losses)}


def test_stages_end_reload_and_freeze_as_algorithm_1_says(trained, train, val, monkeypatch):
    # the first of each stage is measured before training and decides nothing, even if it is the best
    script = Scripted([0.0, 0.5, 0.4, 0.6, 0.4, 0.1, 0.3, 0.2, 0.2, 0.9])
    monkeypatch.setattr(progressive, "validate", script)
    ann, result = tuned(trained, train, val, short(epochs=50))
    assert [(row["stage"], row["bad_epochs"], row["best"]) for row in result.rows] == [
        (1, 0, 0.5), (1, 0, 0.4), (1, 1, 0.4), (1, 2, 0.4), (2, 0, 0.3), (2, 0, 0.2), (2, 1, 0.2), (2, 2, 0.2)
    ]  # fmt: skip
    assert [(stage["layer"], stage["epochs"], stage["best_epoch"], stage["best"]) for stage in result.stages] == [
        ("0", 4, 2, {"val_loss": 0.4}), ("4", 4, 6, {"val_loss": 0.2})
    ]  # fmt: skip
    assert same(script.weights[5], script.weights[2])  # stage 2 begins with the best weights of stage 1
    assert same(ann.state_dict(), script.weights[7])  # and all ends with the best of stage 2


def test_frozen_layers_do_not_move_by_a_bit(trained, train, val, monkeypatch):
    script = Scripted(itertools.count(10, -0.1))  # always better: until no epoch is left
    monkeypatch.setattr(progressive, "validate", script)
    frozen = []
    monkeypatch.setattr(progressive._ProgressiveTraining, "_end_stage", _spied(progressive._ProgressiveTraining._end_stage, frozen))
    monkeypatch.setattr(progressive, "Patience", lambda period, better: _EndsAfter(3))
    ann, _ = tuned(trained, train, val, short(epochs=6, weight_bits=4))
    after_first = {name: value for name, value in frozen[0].items() if name.startswith(("layers.0", "layers.1"))}
    assert set(after_first) >= {"layers.0.weight", "layers.1.running_mean", "layers.1.num_batches_tracked"}
    now = ann.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in after_first.items())
    assert not torch.equal(frozen[0]["layers.4.weight"], now["layers.4.weight"])
    # the statistics of a layer stay from its own stage on, its gain is still trained there
    before = trained.state_dict()
    assert torch.equal(before["layers.1.running_mean"], now["layers.1.running_mean"])
    assert not torch.equal(before["layers.1.weight"], now["layers.1.weight"])


def _spied(method, kept):
    def call(training):
        method(training)
        kept.append({name: value.clone() for name, value in training.network.state_dict().items()})

    return call


class _EndsAfter(progressive.Patience):
    def __init__(self, epochs):
        super().__init__(99)
        self.left = epochs

    @property
    def ended(self):
        return self.left <= 0

    def update(self, value):
        self.left -= 1
        return super().update(value)


def test_result_is_the_last_hybrid_network(trained, train, val):
    _, result = tuned(trained, train, val, short(epochs=20))
    features, targets = everything(val)
    with torch.no_grad():
        loss = F.cross_entropy(result.network(features), targets["label"]).item()
    assert loss == pytest.approx(result.stages[-1]["best"]["val_loss"], rel=1e-5)
    assert not result.network.training and result.untrained == []


def test_same_seed_same_bits_other_seed_other_bits(trained, train, val):
    found = [tuned(trained, train, val, short(epochs=2, seed=seed))[1].network.state_dict() for seed in (0, 0, 1)]
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


class Interrupting(TensorExamples):
    """Presses Ctrl-C when so many batches have been read."""

    def __init__(self, examples, batches):
        super().__init__(examples._features, examples._targets, examples.seed)
        self.left = batches

    def __getitems__(self, keys):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitems__(keys)


@pytest.mark.parametrize("batches", [2, 18, 22, 46], ids=lambda batches: f"after {batches} batches")
def test_goes_on_as_if_uninterrupted(trained, train, val, batches, tmp_path):
    config = short(epochs=12, weight_bits=6, batch_size=24, learning_rate=0.05)
    _, whole = tuned(trained, train, val, config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        tuned(trained, Interrupting(train, batches), val, config, tmp_path / "cut")
    _, resumed = tuned(trained, train, val, config, tmp_path / "cut", resume=True)
    assert same(whole.network.state_dict(), resumed.network.state_dict())
    assert len({row["stage"] for row in whole.rows}) == 3
    assert whole.rows == resumed.rows and whole.stages == resumed.stages and len(resumed.seconds) == len(whole.seconds)
    assert (tmp_path / "whole" / "curves.csv").read_bytes() == (tmp_path / "cut" / "curves.csv").read_bytes()


def test_checkpoint_is_read_as_weights_only(trained, train, val, tmp_path):
    tuned(trained, train, val, short(epochs=1), tmp_path)
    kept = torch.load(tmp_path / CHECKPOINTS / LAST_CHECKPOINT, weights_only=True)
    assert kept["state"]["epoch"] == 1 and not list((tmp_path / CHECKPOINTS).glob(".*"))


def test_layers_that_no_epoch_is_left_for_are_converted_all_the_same(trained, train, val):
    _, result = tuned(trained, train, val, short(epochs=1, weight_bits=5))
    assert [stage["epochs"] for stage in result.stages] == [1, 0, 0]
    assert result.untrained == ["4", "6"]
    assert len(result.network.thresholds) == 2


def test_rate_falls_to_a_tenth_in_the_second_half_of_each_stage(trained, train, val):
    _, result = tuned(trained, train, val, short(epochs=8, patience=9, learning_rate=1e-3))
    assert [row["learning_rate"] for row in result.rows] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4] * 2)


def test_a_stage_that_gets_better_for_ever_leaves_the_others_their_share(trained, train, val, monkeypatch):
    losses = [0.0, 0.9, 0.8, 0.7, 0.0, 0.6, 0.5, 0.0, 0.4, 0.3]
    monkeypatch.setattr(progressive, "validate", Scripted(losses))
    _, result = tuned(trained, train, val, short(epochs=7, patience=5, weight_bits=5))
    assert [(stage["share"], stage["epochs"]) for stage in result.stages] == [(3, 3), (2, 2), (2, 2)]


def test_epochs_that_patience_saved_go_to_later_stages(trained, train, val, monkeypatch):
    monkeypatch.setattr(progressive, "validate", Scripted([0.0, 0.9, 1.0, 0.0, *(0.8 - 0.1 * epoch for epoch in range(8))]))
    _, result = tuned(trained, train, val, short(epochs=10, patience=1))
    assert [(stage["share"], stage["epochs"]) for stage in result.stages] == [(5, 2), (8, 8)]


def test_held_spikes_change_nothing(trained, train, val, monkeypatch):
    _, held = tuned(trained, train, val, short())
    monkeypatch.setattr(progressive, "HELD_BYTES", 0)
    monkeypatch.setattr("models.stage_training.HeldSpikes.take", None, raising=False)  # may not be used now
    _, computed = tuned(trained, train, val, short())
    assert same(held.network.state_dict(), computed.network.state_dict())


def test_spikes_are_held_as_bits():
    spikes = (torch.rand(5, 6, 3, 7, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    held = hold(lambda positions: spikes[:, list(positions)], 6, 4, 10**6)
    assert held.bytes == 5 * 6 * 3  # 21 neurons in 3 bytes
    assert torch.equal(held.take([4, 0, 5]), spikes[:, [4, 0, 5]])
    assert hold(lambda positions: spikes[:, list(positions)], 6, 4, held.bytes - 1) is None
    assert HeldSpikes(1, 2, (8,)).bytes == 2


def test_examples_that_change_are_trained_on_but_not_measured_on(trained, train, val):
    _, plain = tuned(trained, train, val, short(epochs=1))
    shifted = TensorExamples(train._features + 1, train._targets, train.seed)
    _, changed = tuned(trained, train, val, short(epochs=1), changing=shifted)
    assert changed.stages[0]["threshold"] == plain.stages[0]["threshold"]
    assert changed.stages[0]["start"] == plain.stages[0]["start"]
    assert changed.rows[0]["train_loss"] > plain.rows[0]["train_loss"]


def test_without_val_the_training_examples_decide(trained, train):
    _, result = tuned(trained, train, None, short(epochs=1))
    assert result.rows[0] == tuned(trained, train, train, short(epochs=1))[1].rows[0]


def test_training_wins_back_what_conversion_loses(trained, val):
    ann = copy.deepcopy(trained)
    primitive = convert(ann, everything(blobs(400, 1)).features, time_steps=2)
    result = fine_tune(ann, Classes(), blobs(400, 1), val, short(time_steps=2, epochs=30, patience=3))
    test = blobs(800, 3)
    whole, lost, won = (share_right(each, test) for each in (trained, primitive, result.network))
    assert whole > 0.9 and lost < whole - 0.15
    assert won > lost + 0.6 * (whole - lost)


def test_constraints_hold_and_are_learned_with(trained, val):
    config = short(time_steps=4, epochs=20, weight_bits=4, fan_in=6)
    _, result = tuned(trained, blobs(400, 1), val, config)
    assert [stage["layer"] for stage in result.stages] == ["0", "4", "6"]
    for synapses in (*(layer.synapses for layer in result.network.layers), result.network.readout):
        assert len(synapses.weighted.weight.unique()) <= 15
        assert len(synapses.weighted.bias.unique()) <= 15
        assert (synapses.weighted.weight != 0).sum(1).max() <= 6
    primitive = convert(trained, everything(blobs(400, 1)).features, time_steps=4, weight_bits=4, fan_in=6)
    test = blobs(800, 3)
    assert share_right(result.network, test) > share_right(primitive, test) + 0.05


def test_last_batch_of_a_single_example_is_no_trouble(trained, val):
    _, result = tuned(trained, blobs(33, 1), val, short(epochs=1))
    assert len(result.rows) == 1


@pytest.mark.parametrize(("change", "words"), [
    ({"monitor": "val_accuracy"}, "`monitor`"),
    ({"learning_rate": 1e30}, "learning_rate"),
])  # fmt: skip
def test_bad_settings_are_one_clear_line(trained, train, val, change, words):
    class LossAlone(Classes):
        def scores(self, output, targets):
            return {}

    with pytest.raises(AudioDataError, match=words) as error:
        fine_tune(copy.deepcopy(trained), LossAlone(), train, val, short(**change))
    assert "\n" not in str(error.value)


def test_progress_names_stage_layer_patience_and_best(trained, train, val, capsys, monkeypatch):
    monkeypatch.setattr("models.stage_progress.LINE_EVERY_S", 0.0)
    tuned(trained, train, val, short(epochs=3), show=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("stage 1 of 2 (0): converted, val accuracy")
    assert any("stage 1 of 2 (0), epoch 2 of 3 at most: patience 0 of 2, best val loss" in line and "examples/s" in line for line in lines)
    assert lines[-1].startswith("stage 2 of 2 (4): frozen, best of 1 epochs")


def test_progress_says_which_layer_no_epoch_was_left_for(trained, train, val, capsys):
    tuned(trained, train, val, short(epochs=1), show=True)
    assert capsys.readouterr().err.splitlines()[-1].startswith("stage 2 of 2 (4): frozen, not trained")
