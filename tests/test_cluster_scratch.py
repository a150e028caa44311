"""Shards made on a worker's own disk: the same bytes, and the shared folder serves when that disk is full."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cluster_sets import TOML, hashes, make, write_data
from slurm_cluster import wait_until

from audiodata import assembly
from audiodata.errors import CacheError, EnvironmentFault, ScratchFault
from audiodata.shards import Layout, ShardWriter, read_shard_record, writer
from audiodata.shards.scratch import find_scratch, scratch_file
from pipelines import pauses
from pipelines.cluster import connect
from pipelines.workers import Places

ROOT = Path(__file__).resolve().parents[1]
FULL = r"can't be written to \(No space left on device\); make room there, or name another folder with --scratch"
LAYOUTS = {"features": {"x": Layout((1000,), "float32", ("a",))}, "targets": {"label": Layout((), "int64")}}


def write_shard(path, scratch=None, rows=12):
    with ShardWriter(path, fingerprint="f", split="train", scratch=scratch, **LAYOUTS) as one:
        for row in range(rows):
            one.add(f"clip{row}#0", {"x": np.random.default_rng(row).standard_normal(1000).astype(np.float32)}, {"label": row})
    return one.record


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data") / "sounds", per_kind=2)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_shard_made_in_scratch_has_the_same_bytes_and_leaves_nothing_there(tmp_path):
    for name in ("here", "there", "scratch"):
        (tmp_path / name).mkdir()
    direct = write_shard(tmp_path / "here" / "a.h5")
    made = write_shard(tmp_path / "there" / "a.h5", tmp_path / "scratch")
    assert made == direct == read_shard_record(tmp_path / "there" / "a.h5")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.h5"] and not list((tmp_path / "scratch").iterdir())


def test_what_a_killed_worker_left_in_scratch_is_removed_and_what_is_in_use_is_not(tmp_path):
    orphan = tmp_path / "audiodata-old.tmp"
    orphan.write_bytes(b"some")
    with scratch_file(tmp_path) as used:
        for path in (orphan, used):
            os.utime(path, (1, 1))
        with scratch_file(tmp_path) as other:
            assert used.exists() and other.exists() and not orphan.exists()
    assert not list(tmp_path.iterdir())


def test_a_full_scratch_is_its_own_kind_of_fault_and_leaves_nothing(tmp_path, small_disk):
    (tmp_path / "cache").mkdir()
    with pytest.raises(ScratchFault, match=rf"^scratch {small_disk}: {FULL}$"):
        write_shard(tmp_path / "cache" / "a.h5", small_disk)
    assert not list((tmp_path / "cache").iterdir()) and not list(small_disk.iterdir())


def test_a_full_shared_disk_is_not_blamed_on_scratch(tmp_path, small_disk):
    (tmp_path / "scratch").mkdir()
    with pytest.raises(EnvironmentFault, match=r"a\.h5: the disk is full") as caught:
        write_shard(small_disk / "a.h5", tmp_path / "scratch")
    assert not isinstance(caught.value, ScratchFault) and not list(small_disk.iterdir())


def test_a_copy_that_differs_gets_no_name(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(writer, "copy_out", lambda source, target: target.write_bytes(source.read_bytes()[:-1] + b"?"))
    with pytest.raises(CacheError, match=r"a\.h5: the copy differs from what was written"):
        write_shard(tmp_path / "a.h5", tmp_path / "scratch")
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


def test_a_build_in_scratch_gives_the_same_cache(sounds, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    direct = make(sounds, tmp_path / "direct")
    used = []
    monkeypatch.setattr(assembly, "find_scratch", lambda wanted: used.append(wanted) or find_scratch(wanted))
    monkeypatch.setenv("OWN_DISK", str(tmp_path / "scratch"))
    made = make(sounds, tmp_path / "made", places=Places(str(sounds), str(tmp_path / "made"), "$OWN_DISK"))
    assert hashes(made) == hashes(direct) and set(used) == {"$OWN_DISK"}


def test_a_command_whose_scratch_is_full_ends_with_one_line_and_goes_on_with_another(sounds, tmp_path, small_disk):
    (tmp_path / "small.toml").write_text(TOML)
    words = ["build", tmp_path / "small.toml", "--data", sounds, "--out", tmp_path / "cache", "--workers", 0, "--scratch"]
    for scratch, code in ((small_disk, 2), (tmp_path, 1)):  # 1: there are broken files among the sounds
        done = subprocess.run([sys.executable, "-m", "pipelines", *map(str, words), scratch], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert (f"scratch {small_disk}: can't be written to" in done.stderr) == (code == 2)
        assert code == 1 or not (tmp_path / "cache" / "manifest.json").exists()
    assert hashes(tmp_path / "cache") == hashes(make(sounds, tmp_path / "direct"))


def test_workers_without_room_pause_and_the_run_ends_if_there_is_never_any(sounds, tmp_path, small_disk, monkeypatch, caplog):
    monkeypatch.setattr(pauses, "REST_S", 0.5)
    monkeypatch.setattr(pauses, "GIVE_UP_S", 1.0)
    places = Places(str(sounds), str(tmp_path / "made"), str(small_disk))
    told = rf"^no worker has room for its work \(\d tried\): worker tcp://\S+ on \S+: scratch {small_disk}: {FULL}; what is done is kept"
    with connect(2) as client, pytest.raises(EnvironmentFault, match=told):
        make(sounds, tmp_path / "made", client, places=places)
    lines = [record.getMessage() for record in caplog.records if "it pauses" in record.getMessage()]
    assert 1 <= len(lines) == len(set(lines)) <= 2  # once a worker
    assert not list((tmp_path / "made").glob("*.h5"))
    assert hashes(make(sounds, tmp_path / "made")) == hashes(make(sounds, tmp_path / "direct"))


def test_workers_that_get_room_go_on(sounds, tmp_path, small_disk, monkeypatch, caplog):
    monkeypatch.setattr(pauses, "REST_S", 0.5)

    def make_room():
        wait_until(lambda: "it pauses" in caplog.text, "a worker that pauses")
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)

    thread = threading.Thread(target=make_room, daemon=True)
    with connect(2) as client:
        thread.start()
        made = make(sounds, tmp_path / "made", client, places=Places(str(sounds), str(tmp_path / "made"), str(small_disk)))
    thread.join()
    assert hashes(made) == hashes(make(sounds, tmp_path / "direct"))


@pytest.mark.parametrize("wanted", ["$NO_SUCH_VARIABLE_HERE", "/no/such/folder"])
def test_a_scratch_that_is_not_there_is_said_and_done_without(wanted, caplog):
    assert find_scratch(wanted) is None
    assert "no such folder here" in caplog.text


def test_without_a_word_there_is_no_scratch(monkeypatch):
    monkeypatch.delenv("AUDIODATA_SCRATCH", raising=False)
    assert find_scratch() is None
