"""What processes that were killed leave behind, or still do, and that it harms nobody."""

from types import SimpleNamespace

import numpy as np
import pytest
from cluster_sets import hashes, make, write_data
from made_audioset import CLASSES, write_lists

from audiodata.catalog import parse_catalog
from audiodata.download import remove_unfinished
from audiodata.errors import CacheError, EnvironmentFault
from audiodata.shards import Layout, ShardWriter
from audiodata.worker import Check
from pipelines import site
from pipelines.cluster import connect
from pipelines.download import download
from pipelines.download_plan import read_candidates
from pipelines.workers import ask

LAYOUTS = {"features": {"x": Layout((10,), "float32", ("a",))}, "targets": {"label": Layout((), "int64")}}


def write_shard(path, **options):
    with ShardWriter(path, fingerprint="f", split="train", **LAYOUTS, **options) as one:
        one.add("clip#0", {"x": np.zeros(10, np.float32)}, {"label": 1})


@pytest.mark.parametrize("with_scratch", [False, True])
def test_a_shard_that_nobody_waits_for_any_more_does_not_take_its_name(tmp_path, with_scratch):
    """A worker goes on with what a driver wanted that was killed; the next driver may have made another shard of that name."""
    cache, scratch, note = tmp_path / "cache", tmp_path / "scratch", tmp_path / "cache" / "note"
    cache.mkdir()
    scratch.mkdir()
    (cache / "train-00000.h5").write_text("of the next driver")
    options = {"note": note, "scratch": scratch if with_scratch else None}
    with pytest.raises(CacheError, match=r"train-00000\.h5: given up, as the run that wanted it has ended"):
        write_shard(cache / "train-00000.h5", **options)
    assert hashes_of_names(cache) == ["train-00000.h5"] and (cache / "train-00000.h5").read_text() == "of the next driver"
    note.write_text("")
    write_shard(cache / "train-00000.h5", **options)
    assert (cache / "train-00000.h5").stat().st_size > 1000 and not list(scratch.iterdir())


def hashes_of_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_shards_of_a_build_elsewhere_have_the_note_of_its_driver(tmp_path, monkeypatch):
    data, seen = write_data(tmp_path / "data", per_kind=2), []
    expected = hashes(make(data, tmp_path / "expected"))
    real = site.run_all

    def run_all(client, function, tasks, check=None, *others):
        for task, result in real(None, function, tasks, check, *others):
            seen.append(getattr(task, "note", None))
            yield task, result

    monkeypatch.setattr(site, "run_all", run_all)
    monkeypatch.setattr("pipelines.workers.ask", lambda client, check: None)
    assert hashes(make(data, tmp_path / "cache", client=SimpleNamespace(cluster=None))) == expected
    notes = {note for note in seen if note is not None}
    assert len(notes) == 1 and notes.pop().startswith(".worker-check.")


def test_what_killed_workers_left_beside_clips_is_removed_at_the_end_of_a_download(tmp_path):
    write_lists(tmp_path, name="segments.csv")
    tables = {
        "dataset": {"name": "audioset", "segments": ["segments.csv"]}, "select": {"classes": list(CLASSES)},
        "features": {"log_mel": {"window_length": 1024, "hop_length": 512, "n_mels": 64}},
    }
    catalog = parse_catalog(tables, "small", "small.toml")
    folder = (tmp_path / read_candidates(catalog, tmp_path)["path"].iloc[0]).parent
    folder.mkdir(parents=True)
    left, others = folder / ".a_0.flac.4711-4712.part", [folder / ".keep", folder / ".mine.part", folder / "b.flac.1-2.part"]
    for path in (left, *others):
        path.write_bytes(b"")
    assert download(catalog, tmp_path, limit=0) == 0
    assert sorted(folder.iterdir()) == sorted(others)
    assert remove_unfinished(tmp_path, ["no/such/folder/x.flac", "segments.csv/x.flac"]) == 0


def test_a_local_worker_that_is_killed_while_it_starts_ends_the_run_with_one_line(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def killed(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", killed)
    told = r"^--workers 2: can't be started \(Nanny failed to start.\); .* The same command continues$"
    with pytest.raises(EnvironmentFault, match=told), connect(2):
        pass


def test_a_scheduler_that_is_killed_at_any_moment_ends_the_run_with_one_line():
    distributed = pytest.importorskip("distributed")
    gone = distributed.comm.CommClosedError("in <TCP (closed) ConnectionPool.broadcast>: Stream is closed")

    def lose(*words, **options):
        raise gone

    options = {"n_workers": 0, "processes": False, "dashboard_address": None}
    told = r"^the Dask scheduler has gone away; what is finished is kept, and the same command continues$"
    with distributed.LocalCluster(**options) as cluster, pytest.raises(EnvironmentFault, match=told), connect(scheduler=cluster.scheduler_address):
        ask(SimpleNamespace(run_on_scheduler=lose), Check())
