"""From a cache to batches: orientation, ranges, order and augmentation that depend on the seed alone."""

import numpy as np
import pytest
import torch
from mixture_caches import SAMPLES, build_mixtures
from model_caches import CLASSES, IMAGE, build_cache, features

from audiodata.errors import CacheError
from models import data
from models.augment import AugmentConfig
from models.data import Examples, load_data, measure_ranges
from models.seeds import PURPOSES, derived_seed
from models.training_config import ClassificationTraining, TrainingConfig
from models.views import open_mixture_source, open_source


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "sounds", unlabelled=2)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "images", feature="image")


def batches(cache, epoch=0, workers=0, **settings):
    loader = load_data(open_source(cache), ClassificationTraining(batch_size=10, workers=workers, **settings)).train
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.features, b.features) and torch.equal(a.targets["label"], b.targets["label"]) for a, b in zip(one, other, strict=True)
    )


def test_bands_stand_before_frames_and_time_comes_last(cache):
    source = open_source(cache)
    assert (source.feature, source.shape, source.views["mfcc"].has_time) == ("mfcc", (1, 16, 24), True)
    read = Examples(source, "train").read([3])
    assert np.array_equal(read.features[0, 0].numpy().T, features(0, 5)[0]), "two examples without a class come first"


def test_images_keep_rows_before_columns(images):
    source = open_source(images)
    assert (source.feature, source.shape, source.views["image"].has_time) == ("image", (1, 16, 16), False)
    assert np.array_equal(Examples(source, "train").read([1]).features[0].numpy(), features(1, 1, IMAGE))


def test_examples_without_a_class_are_left_out(cache):
    examples = Examples(open_source(cache), "train")
    assert len(examples) == 24
    assert examples.read(range(24)).targets["label"].tolist() == [row % len(CLASSES) for row in range(24)]
    assert examples.example_id(0) == "train0002#0"


def test_examples_too_large_to_hold_are_read_as_the_same(cache, monkeypatch):
    held = batches(cache)
    monkeypatch.setattr(data, "HELD_BYTES", 0)
    assert same(batches(cache), held)


def test_epochs_differ_and_repeat(cache):
    first, again, next_epoch, other_seed = batches(cache), batches(cache), batches(cache, epoch=1), batches(cache, seed=1)
    assert same(first, again)
    for other in (next_epoch, other_seed):
        labels = [torch.cat([batch.targets["label"] for batch in found]) for found in (first, other)]
        assert not torch.equal(*labels)
        assert torch.equal(*(values.sort().values for values in labels)), "every example once an epoch"


def test_changes_of_an_example_depend_on_the_epoch_and_not_on_its_neighbours(cache):
    examples = load_data(open_source(cache), ClassificationTraining()).train.dataset
    alone, beside = examples[0, 3].features[0], examples.__getitems__([(0, 1), (0, 3)]).features
    assert torch.equal(alone, beside[1])
    assert not torch.equal(alone, examples[1, 3].features[0])
    plain = examples.augmented(None)
    assert not torch.equal(examples[0, 1].features - plain[0, 1].features, examples[0, 3].features - plain[0, 3].features)


def test_batches_do_not_depend_on_the_number_of_workers(cache):
    assert same(batches(cache, epoch=2), batches(cache, epoch=2, workers=2))


def test_validation_is_neither_shuffled_nor_changed(cache):
    loaded = load_data(open_source(cache), ClassificationTraining(batch_size=4))
    found = torch.cat([batch.features for batch in loaded.val])
    plain = Examples(loaded.source, "val")
    assert torch.equal(found, plain.read(range(len(plain))).features)


def test_a_cache_without_val_has_no_validation(tmp_path):
    assert load_data(open_source(build_cache(tmp_path / "cache", sizes={"train": 6, "test": 3})), ClassificationTraining()).val is None


def test_ranges_are_measured_per_band_of_sounds_and_once_for_images(cache, images):
    for path in (cache, images):
        examples = Examples(open_source(path), "train")
        values = examples.read(range(len(examples))).features
        (ranges,) = measure_ranges(examples, 0.0).values()
        over = (0, 3) if path == cache else (0, 2, 3)
        assert torch.equal(ranges.low, values.amin(over, keepdim=True)[0].expand_as(ranges.low))
        assert torch.equal(ranges.high, values.amax(over, keepdim=True)[0].expand_as(ranges.high))
        assert torch.allclose(ranges.mean, values.mean(over, keepdim=True)[0].expand_as(ranges.mean), atol=1e-4)


def test_cut_share_leaves_out_that_share_at_either_end(cache):
    examples = Examples(open_source(cache), "train")
    ranges = measure_ranges(examples, 0.1)["mfcc"]
    below = examples.read(range(24)).features < ranges.low
    assert below.float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_large_splits_are_measured_on_a_part(cache, monkeypatch):
    monkeypatch.setattr(data, "MEASURED_EXAMPLES", 3)
    examples = Examples(open_source(cache), "train")
    part = examples.read([0, 12, 23]).features
    assert measure_ranges(examples, 0.0)["mfcc"].high.max() == part.max()


def test_images_are_not_augmented_unless_asked_for(images):
    assert load_data(open_source(images), ClassificationTraining()).train.dataset.augment is None
    with pytest.raises(CacheError, match=r"can't be augmented.*augment.on=false"):
        load_data(open_source(images), ClassificationTraining(augment=AugmentConfig(gain_db=3)))


@pytest.mark.parametrize(("feature", "message"), [("mfc", "did you mean `mfcc`"), ("gcc_phat", "no feature `gcc_phat`")])
def test_unknown_features_are_refused(cache, feature, message):
    with pytest.raises(CacheError, match=message):
        open_source(cache, feature)


def test_without_a_need_for_classes_all_examples_are_of_use(cache):
    source = open_source(cache, labelled=False)
    examples = Examples(source, "train")
    assert (len(examples), source.classes, source.examples_in("train")) == (26, (), 26)
    assert examples.read([0, 1, 2]).targets["label"].tolist() == [-1, -1, 0]


def test_mixtures_come_apart_from_their_parts(tmp_path):
    source = open_mixture_source(build_mixtures(tmp_path / "cache", {"train": 3, "test": 2}, speakers=3))
    assert (source.feature, source.shape, source.classes, source.examples_in("train")) == ("waveform", (1, SAMPLES), (), 3)
    batch = Examples(source, "train").read([2, 0])
    assert batch.features.shape == (2, 1, SAMPLES)
    assert batch.targets["sources"].shape == (2, 3, SAMPLES)
    assert torch.allclose(batch.targets["sources"].sum(1, keepdim=True), batch.features, atol=1e-6)
    assert batch.examples == 2
    assert load_data(source, TrainingConfig(), []).ranges == {}, "waveforms are not scaled"


def test_what_is_no_mixture_is_refused_with_what_makes_one(cache, tmp_path):
    with pytest.raises(CacheError, match=r"no feature `waveform`, only mfcc; build a catalog .* \"mixtures\", \"wsj0_2mix\" or \"librimix\""):
        open_mixture_source(cache)
    with pytest.raises(CacheError, match=r"\[2, 4000\]; expected at least 3 channels"):
        open_mixture_source(build_mixtures(tmp_path / "cache", {"train": 2}, speakers=1))


def test_a_split_without_classes_is_refused(tmp_path):
    path = build_cache(tmp_path / "cache", sizes={"train": 6, "test": 0}, unlabelled=2)
    with pytest.raises(CacheError, match="split `test` has no example with a class"):
        Examples(open_source(path), "test")


def test_seeds_of_different_purposes_and_numbers_differ():
    seeds = {derived_seed(seed, purpose, number) for seed in (0, 1) for purpose in PURPOSES for number in (0, 1)}
    assert len(seeds) == 2 * len(PURPOSES) * 2
    assert derived_seed(0, "train", 3) == derived_seed(0, "train", 3)
