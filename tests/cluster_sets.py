"""A small set of made sounds with its catalog, for tests of builds on several machines."""

from contextlib import contextmanager

import pytest

from audiodata.catalog import parse_catalog
from audiodata.fingerprint import hash_file
from pipelines import build
from pipelines.demo_sounds import write_sounds

TOML = """
[dataset]
name = "folder"
[split]
fractions = { train = 0.6, val = 0.2, test = 0.2 }
[audio]
sample_rate = 8000
[segment]
length_s = 1.0
[features.log_mel]
window_length = 512
hop_length = 256
n_mels = 32
[shards]
examples = 8
"""
TABLES = {
    "dataset": {"name": "folder"},
    "split": {"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
    "audio": {"sample_rate": 8000},
    "segment": {"length_s": 1.0},
    "features": {"log_mel": {"window_length": 512, "hop_length": 256, "n_mels": 32}},
    "shards": {"examples": 8},
}


def catalog(**tables):
    return parse_catalog(TABLES | tables, "small", "small.toml")


def write_data(folder, per_kind=3):
    write_sounds(folder, per_kind=per_kind, seed=1)
    return folder


def make(root, out, client=None, **options):
    build.build(catalog(), root, out, client, **options)
    return out


def hashes(folder):
    return {path.name: hash_file(path) for path in sorted(folder.rglob("*"))}


@contextmanager
def two_threads():
    """A client of two workers that are threads of this process, so that tests can reach into them."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None, "memory_limit": 0}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client
