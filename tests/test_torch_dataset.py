"""The PyTorch data set: the right tensors, in any number of workers, however they are started."""

import pickle

import numpy as np
import pytest
from shard_helpers import CLASSES, build_cache, example, targets

from audiodata.errors import CacheError
from audiodata.shards import open_cache

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset, Subset  # noqa: E402

from audiodata.torch_dataset import ShardDataset  # noqa: E402


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "cache")


def assert_is_example(found, seed, names=("log_mel", "mfcc", "label", "length")):
    assert tuple(found) == tuple(names)
    expected = {**example(seed), **targets(seed)}
    for name in names:
        np.testing.assert_array_equal(found[name].numpy(), expected[name])


def test_examples_are_dictionaries_of_tensors(built):
    dataset = ShardDataset(built, split="train", features=["mfcc"])
    assert isinstance(dataset, Dataset) and len(dataset) == 12
    item = dataset[7]
    assert_is_example(item, 7, ["mfcc", "label", "length"])
    assert item["mfcc"].dtype == torch.float32 and item["mfcc"].shape == (1, 31, 20)
    assert item["label"].dtype == torch.int64 and item["label"].shape == () and item["length"].dtype == torch.int32


def test_attributes_come_from_the_tables(built):
    dataset = ShardDataset(open_cache(built), split="val", features=["mfcc", "log_mel"], targets=["label"])
    assert dataset.classes == tuple(CLASSES)
    assert dataset.feature_shapes == {"mfcc": (1, 31, 20), "log_mel": (1, 31, 40)}
    assert dataset.features == ("mfcc", "log_mel") and dataset.targets == ("label",)
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.tolist() == [int(dataset[index]["label"]) for index in range(len(dataset))]
    assert dataset.example_ids == [f"clip{seed:04d}#0" for seed in range(12, 18)]
    assert "split='val', 6 examples of mfcc, log_mel, label" in repr(dataset)
    assert list(dataset[0]) == ["mfcc", "log_mel", "label"]


def test_the_splits_cover_the_cache_once(built):
    ids = [name for split in ("train", "val", "test") for name in ShardDataset(built, split).example_ids]
    assert sorted(ids) == sorted(open_cache(built).examples["example_id"])


def test_indices_are_those_of_a_sequence(built):
    dataset = ShardDataset(built, "test")
    assert_is_example(dataset[-1], 23)
    assert_is_example(dataset[-6], 18)
    assert_is_example(dataset[np.int64(2)], 20)
    for index in (6, -7):
        with pytest.raises(IndexError, match=f"index {index} of a split with 6 examples"):
            dataset[index]
        with pytest.raises(IndexError):
            dataset.__getitems__([0, index])
    assert [int(item["length"]) for item in dataset] == [8018 + row for row in range(6)]


def test_a_batch_equals_its_examples_one_by_one(built):
    dataset = ShardDataset(built)
    indices = [11, 0, 5, 5, 6, -1]
    for index, item in zip(indices, dataset.__getitems__(indices), strict=True):
        assert_is_example(item, index % 12)
    assert dataset.__getitems__([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tran"}, "no split 'tran', it has test, train, val; did you mean 'train'?"),
        ({"split": "dev"}, "no split 'dev', it has test, train, val$"),
        ({"features": ["mfcc", "logmel"]}, "no feature 'logmel', it has log_mel, mfcc; did you mean 'log_mel'?"),
        ({"features": "chroma"}, "no feature 'chroma', it has log_mel, mfcc"),
        ({"targets": ["azimuth"]}, "no target 'azimuth', it has label, length"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(built, arguments, message):
    with pytest.raises(CacheError, match=message):
        ShardDataset(built, **arguments)


def test_what_is_not_a_cache_is_an_error(tmp_path):
    with pytest.raises(CacheError, match="not a cache"):
        ShardDataset(tmp_path)


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "fork"), (1, "spawn")])
def test_every_example_arrives_once_through_a_loader(built, workers, start):
    dataset = ShardDataset(built)
    dataset[0]
    loader = DataLoader(
        dataset,
        batch_size=5,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
        num_workers=workers,
        multiprocessing_context=start,
    )
    found = {}
    for batch in loader:
        assert batch["mfcc"].shape[1:] == (1, 31, 20) and batch["label"].dtype == torch.int64
        for position, length in enumerate(batch["length"].tolist()):
            found[length - 8000] = {name: tensor[position] for name, tensor in batch.items()}
    assert sorted(found) == list(range(12))
    for seed, item in found.items():
        assert_is_example(item, seed)


def test_a_subset_reads_the_same(built):
    subset = Subset(ShardDataset(built), [3, 1])
    batch = next(iter(DataLoader(subset, batch_size=2)))
    assert batch["length"].tolist() == [8003, 8001]


def test_it_can_be_pickled_while_open(built):
    dataset = ShardDataset(built, "val", ["mfcc"])
    dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    assert_is_example(again[3], 15, ["mfcc", "label", "length"])
    assert len(pickle.dumps(dataset)) < 4000


def test_tensors_belong_to_the_caller(built):
    dataset = ShardDataset(built)
    dataset[0]["mfcc"].zero_()
    dataset.__getitems__([0])[0]["mfcc"].zero_()
    assert_is_example(dataset[0], 0)
