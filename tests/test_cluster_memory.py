"""What a process that makes shards has in memory: nothing that only drivers, reports or trainings need."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cluster_sets
import numpy as np
import pytest

from audiodata import jobs
from audiodata.planning import draft_plan, shard_drafts
from audiodata.worker import call_of, perform
from pipelines.build import read_table
from pipelines.cluster import connect

ROOT = Path(__file__).resolve().parents[1]
FOR_TABLES = {"pandas", "pyarrow", "pooch"}
FOR_OTHERS = {"dask.dataframe", "lightning", "matplotlib", "torch", "typer", "yt_dlp"}
MODULES = "sorted(__import__('sys').modules)"
WORK = f"""
import pickle, sys
from audiodata.worker import perform
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        _, record = perform(pickle.load(file)).result
        assert record.examples > 0
print(*{MODULES})
"""


@pytest.fixture
def calls(tmp_path):
    """Drafts of the shards of a small cache, as they are sent to a worker."""
    root = cluster_sets.write_data(tmp_path / "data")
    catalog = cluster_sets.catalog()
    table = read_table(catalog, root)
    drafted = draft_plan(catalog, table, np.ones(len(table), dtype=bool))
    (tmp_path / "cache").mkdir()
    return [call_of(jobs.build_ahead, draft) for draft in shard_drafts(drafted, str(root), str(tmp_path / "cache"))]


def test_a_process_that_makes_shards_needs_no_tables(calls, tmp_path):
    paths = [tmp_path / f"call-{number}" for number in range(len(calls))]
    for path, call in zip(paths, calls, strict=True):
        path.write_bytes(pickle.dumps(call))
    done = subprocess.run([sys.executable, "-c", WORK, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert "audiodata.shards.writer" in found
    assert not found & (FOR_TABLES | FOR_OTHERS | {"distributed"})


def test_nor_does_a_local_worker(calls):
    with connect(1) as client:
        results = [client.submit(perform, call, pure=False).result().result for call in calls]
        (found,) = client.run(eval, MODULES).values()
    assert all(record.examples > 0 for _, record in results)
    assert "audiodata.shards.writer" in found
    assert not set(found) & (FOR_TABLES | FOR_OTHERS)


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forks of one that has imported what they need on Linux alone")
def test_local_workers_are_forks_of_one_process():
    with connect(2) as client:
        parents = client.run(os.getppid)
        (modules, _) = client.run(eval, MODULES).values()
    assert len(set(parents.values())) == 1
    assert os.getpid() not in parents.values()
    assert "pipelines.worker_imports" in modules


def test_a_local_worker_has_the_environment_of_its_driver_now(monkeypatch):
    for value in ("first", "second"):
        monkeypatch.setenv("AUDIODATA_TEST_OF_ENVIRONMENT", value)
        with connect(1) as client:
            assert list(client.run(os.getenv, "AUDIODATA_TEST_OF_ENVIRONMENT").values()) == [value]
