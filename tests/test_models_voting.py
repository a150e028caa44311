"""Votes: loss and answers by hand, frames of events as they come from a cache, and what a cache must have."""

import numpy as np
import pytest
import torch
from event_caches import FRAMES, TIME_STEPS, TinyVoter, TinyVoterConfig, build_event_cache, event_frames, tiny_model
from model_caches import CLASSES, build_cache

from audiodata.errors import CacheError
from models import MODELS, data
from models.data import Examples, load_data, make_loader
from models.evaluation import measure, open_for
from models.event_augment import EventAugmentation, EventAugmentConfig, dropped, shifted
from models.seeds import derived_generator
from models.training_config import ClassificationTraining, VotingTraining
from models.views import open_event_source, open_source
from models.votes import Votes
from models.voting import Voting, vote_error

BOTH = ("visual_frames", "auditory_frames")
TRAINING = ClassificationTraining().model_dump()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_event_cache(tmp_path_factory.mktemp("caches") / "events", unlabelled=2)


@pytest.fixture
def tiny(monkeypatch):
    for name, senses in (("tiny", ("visual", "auditory")), ("tiny_visual", ("visual",))):
        monkeypatch.setitem(MODELS, name, tiny_model(*senses))


def votes(*counts, time_steps=4):
    """Spikes [T, B, C] with so many spikes of each neuron, first steps first."""
    steps = torch.arange(time_steps)[:, None, None]
    return (steps < torch.tensor(counts)).float()


def test_the_error_is_that_of_mean_votes_by_hand():
    spikes = votes([4, 0, 1], [2, 2, 0])
    # (1 - 1)^2 + 0 + (1/4)^2 and (1/2)^2 + (1 - 1/2)^2 + 0
    assert vote_error(spikes, torch.tensor([0, 1])).item() == pytest.approx((0.0625 + 0.5) / 2)


def test_the_error_equals_the_equation_written_out():
    spikes = (torch.rand(7, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    labels = [0, 3, 1, 1, 2]
    total = 0.0
    for example, label in enumerate(labels):
        for neuron in range(4):
            mean = sum(spikes[step, example, neuron].item() for step in range(7)) / 7
            total += ((1.0 if neuron == label else 0.0) - mean) ** 2
    assert vote_error(spikes, torch.tensor(labels)).item() == pytest.approx(total / 5)


def test_the_gradient_of_the_error_is_that_of_the_equation():
    spikes = votes([4, 0, 1], [2, 2, 0]).requires_grad_()
    vote_error(spikes, torch.tensor([0, 1])).backward()
    wanted = torch.eye(3)[:2]
    expected = 2 * (spikes.detach().mean(0) - wanted) / (4 * 2)  # T = 4, two examples
    assert torch.allclose(spikes.grad, expected.expand(4, -1, -1))


def test_the_loss_is_the_weighted_sum_of_all_parts():
    parts = votes([4, 0, 1], [2, 2, 0]), votes([0, 1, 1], [0, 0, 4]), votes([3, 3, 0], [1, 4, 0])
    targets = {"label": torch.tensor([0, 1])}
    errors = [vote_error(part, targets["label"]).item() for part in parts]
    assert Voting().loss(Votes(*parts), targets).item() == pytest.approx(sum(errors))
    assert Voting(0.5, 2.0, 0.0).loss(Votes(*parts), targets).item() == pytest.approx(0.5 * errors[0] + 2 * errors[1])
    assert Voting(0.5, 2.0, 0.0).loss(Votes(parts[0]), targets).item() == pytest.approx(0.5 * errors[0]), "a network of one sense"


def test_a_tally_counts_answers_senses_silence_and_ties():
    output = Votes(votes([4, 0, 1], [0, 0, 0], [2, 2, 0], [0, 1, 3]), votes(*[[1, 0, 0]] * 4), votes(*[[0, 0, 2]] * 4), torch.ones(4, 4, 2))
    tally = Voting().tally(tuple(CLASSES))
    tally.add(output, {"label": torch.tensor([0, 1, 1, 2])})
    found = tally.summary()
    assert tally.indices("predicted_label").tolist() == [0, 0, 0, 2], "of equal numbers the lowest index"
    assert (found["accuracy"], found["senses"]) == (0.5, {"visual": 0.25, "auditory": 0.25})
    assert (found["silent"], found["tied"]) == (0.25, 0.25)
    assert found["recall"] == {"low": 1.0, "middle": 0.0, "high": 1.0}
    assert found["attention"] == {"visual": 1.0, "auditory": 1.0}
    assert found["loss"] == pytest.approx(Voting().loss(output, {"label": torch.tensor([0, 1, 1, 2])}).item())
    predictions = tally.predictions()
    assert list(predictions) == ["label", "predicted_label", "predicted_visual", "predicted_auditory"]
    assert predictions["predicted_auditory"] == ["high"] * 4


def test_a_tally_of_one_sense_has_no_others():
    tally = Voting().tally(tuple(CLASSES))
    tally.add(Votes(votes([4, 0, 1])), {"label": torch.tensor([0])})
    assert (tally.summary()["senses"], tally.summary()["attention"]) == ({}, None)
    assert list(tally.predictions()) == ["label", "predicted_label"]


def test_batches_do_not_change_a_tally(cache):
    network = TinyVoter(TinyVoterConfig(), {name: FRAMES[name].shape for name in BOTH}, 3)
    examples = Examples(open_event_source(cache, BOTH), "test")
    one, many = (measure(network, make_loader(examples, size), Voting(), tuple(CLASSES), derived_generator(0, "evaluate")) for size in (12, 5))
    first, second = one.tally.summary(), many.tally.summary()
    assert first.pop("loss") == pytest.approx(second.pop("loss"))
    assert first == second
    assert one.meter.spikes == many.meter.spikes


def test_frames_reach_the_network_unturned_as_float32(cache):
    source = open_event_source(cache, BOTH)
    assert source.shape == {name: FRAMES[name].shape for name in BOTH}
    batch = Examples(source, "train").read([3, 0])
    expected = event_frames(0, 5)  # two examples without a class come first
    for name, values in batch.features.items():
        assert values.dtype == torch.float32
        assert np.array_equal(values[0].numpy(), expected[name])
    assert batch.targets["label"].tolist() == [0, 0]


def test_frames_are_held_as_small_as_they_are_cached(cache, monkeypatch):
    source = open_event_source(cache, BOTH)
    bytes_each = TIME_STEPS * (64 + 12)
    assert sum(view.example_bytes for view in source.views.values()) == bytes_each
    monkeypatch.setattr(data, "HELD_BYTES", 48 * bytes_each)
    held = Examples(source, "train")
    assert all(values.dtype == torch.uint8 for values in held.tables(range(3))[0].values())
    monkeypatch.setattr(data, "HELD_BYTES", 48 * bytes_each - 1)
    read = Examples(source, "train")
    assert (held._held is None, read._held is None) == (False, True)
    positions = [7, 2, 47]
    assert all(torch.equal(values, read.read(positions).features[name]) for name, values in held.read(positions).features.items())


def test_a_network_takes_only_the_frames_that_it_names(cache, tiny):
    assert list(open_for("tiny_visual", cache, TRAINING).views) == ["visual_frames"]
    loaded = load_data(open_for("tiny", cache, TRAINING), VotingTraining(batch_size=16), [])
    assert loaded.ranges == {}
    assert {name: values.shape[0] for name, values in next(iter(loaded.train)).features.items()} == dict.fromkeys(BOTH, 16)


def test_events_and_sounds_are_refused_where_they_are_not_taken(cache, tmp_path, tiny):
    with pytest.raises(CacheError, match=r"`csnn` takes mfcc or log_mel or image; networks that take what there is: .*tiny"):
        open_for("csnn", cache, TRAINING)
    with pytest.raises(CacheError, match=r"`spikslcnet` takes gcc_phat and log_mel; .*tiny"):
        open_for("spikslcnet", cache, TRAINING)
    sounds = build_cache(tmp_path / "sounds", sizes={"train": 6, "test": 3})
    with pytest.raises(CacheError, match=r"has the features mfcc; `tiny` takes visual_frames and auditory_frames; .*: csnn, cnn"):
        open_for("tiny", sounds, TRAINING)
    seen = build_event_cache(tmp_path / "seen", {"train": 3, "test": 3}, features=("visual_frames",))
    with pytest.raises(CacheError, match=r"has no feature `auditory_frames`, only visual_frames; add the table \[features.auditory_frames\]"):
        open_for("tiny", seen, TRAINING)


def test_frames_are_no_maps(cache):
    with pytest.raises(CacheError, match="has the axes time, polarity, channel; expected three: channel, band and frame"):
        open_source(cache, "auditory_frames")


def frames_of(*shape, chance=0.3, counts=1):
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(shape, generator=generator) < chance).float() * torch.randint(1, counts + 1, shape, generator=generator)


@pytest.mark.parametrize(("places", "axis"), [(2, 0), (-3, 2), (1, 3), (0, 0), (-9, 3), (9, 2)])
def test_a_shift_moves_events_and_leaves_none_behind(places, axis):
    frames = frames_of(6, 1, 5, 7)
    moved = shifted(frames, places, axis)
    expected = {tuple(index) for index in (frames.nonzero() + places * torch.eye(4, dtype=torch.int64)[axis]).tolist()}
    expected = {index for index in expected if 0 <= index[axis] < frames.shape[axis]}
    assert {tuple(index) for index in moved.nonzero().tolist()} == expected


def test_dropping_loses_that_share_of_the_events_and_adds_none():
    frames = frames_of(64, 1, 64, counts=4)
    left = dropped(frames, 0.25, torch.Generator().manual_seed(0))
    assert bool(((left >= 0) & (left <= frames) & (left == left.round())).all())
    assert left.sum().item() / frames.sum().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(dropped(frames, 0.0, torch.Generator()), frames)
    assert dropped(frames, 1.0, torch.Generator()).sum() == 0


def test_changes_go_to_training_examples_alone_and_depend_on_seed_epoch_and_position(cache):
    source = open_event_source(cache, BOTH)
    config = VotingTraining(augment=EventAugmentConfig(drop_share=0.5, shift_pixels=1, shift_steps=1, shift_channels=1))
    loaded, plain = load_data(source, config, []), Examples(source, "train")
    examples = loaded.train.dataset
    alone, beside = examples[0, 3], examples.__getitems__([(0, 1), (0, 3)])
    for name in BOTH:
        assert torch.equal(alone.features[name][0], beside.features[name][1])
        assert not torch.equal(alone.features[name], plain[0, 3].features[name])
        assert not torch.equal(alone.features[name], examples[1, 3].features[name])
    assert loaded.val.dataset.augment is None
    assert load_data(source, VotingTraining(), []).train.dataset.augment is None


def test_both_senses_are_shifted_in_time_together():
    features = {"visual_frames": torch.zeros(9, 1, 3, 3), "auditory_frames": torch.zeros(9, 1, 3)}
    features["visual_frames"][4, 0, 1, 1] = features["auditory_frames"][4, 0, 1] = 1
    change = EventAugmentation(EventAugmentConfig(shift_steps=4))
    found = [change(features, torch.Generator().manual_seed(seed)) for seed in range(20)]
    steps = [tuple(int(frames.nonzero()[0, 0]) for frames in each.values()) for each in found]
    assert all(seen == heard for seen, heard in steps)
    assert len(set(steps)) > 4
