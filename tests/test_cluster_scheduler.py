"""A scheduler and workers that are there already: elsewhere mounted, with the wheel alone, and refused where they do not fit."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cluster_sets import TOML, hashes, make, write_data
from cluster_wheel import build_wheel, unpack
from slurm_cluster import wait_until

from audiodata import environment, worker
from audiodata.errors import CatalogError, EnvironmentFault
from audiodata.lease import Lease
from audiodata.worker import Check, FileSample, UnfitWorker, take_sample
from pipelines import site
from pipelines.cluster import connect, dashboard, scheduler_address
from pipelines.crew import SetAside
from pipelines.site import UnfinishedBuild
from pipelines.workers import Places, places_of

pytest.importorskip("distributed")
pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    write_data(folder / "data")
    return folder


@pytest.fixture(scope="module")
def reference(shared, tmp_path_factory):
    return hashes(make(shared / "data", tmp_path_factory.mktemp("reference") / "cache"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The library as its wheel has it, unpacked: no pipelines, no models."""
    folder = tmp_path_factory.mktemp("wheel")
    return unpack(build_wheel(folder), folder / "unpacked")


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """Hides the library, as though it were not installed; it may well be where the tests run."""
    folder = tmp_path_factory.mktemp("nothing")
    (folder / "audiodata.py").write_text("raise ModuleNotFoundError(\"No module named 'audiodata'\", name='audiodata')\n")
    return folder


class Cluster:
    """A scheduler on loopback and the workers that tests give it."""

    def __init__(self, folder, path):
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", []
        words = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", self.file, "--dashboard-address", "127.0.0.1:0"]
        self.start("scheduler", *words, path=path)
        wait_until(lambda: self.file.is_file() and self.file.read_text().endswith("}"), "a scheduler")

    def start(self, kind, *words, path=(), before=()):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
        command = [*before, sys.executable, "-m", "distributed.cli.dask_scheduler" if kind == "scheduler" else "distributed.cli.dask_worker", *words]
        log = (self.folder / f"{kind}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen(list(map(str, command)), cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def worker(self, path, before=()):
        return self.start("worker", "--scheduler-file", self.file, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", path=path, before=before)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    one = Cluster(tmp_path, [ROOT])
    yield one
    one.stop()


def wait_for_workers(client, number):
    wait_until(lambda: len(client.nthreads()) == number, f"{number} workers")


def test_workers_with_the_wheel_alone_and_another_mount_give_the_same_bytes(cluster, wheel, shared, reference, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", shared / "cache"
    elsewhere.mkdir()
    moved = f"mount --bind {shared} {elsewhere} && mount -t tmpfs none {shared} && exec \"$@\""
    before = ["unshare", "--mount", "bash", "-c", moved, "bash"]
    if os.geteuid() != 0 or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    for _ in range(2):
        cluster.worker([wheel], before)
    with connect(scheduler=str(cluster.file)) as client:
        wait_for_workers(client, 2)
        assert dashboard(client).startswith("http://127.0.0.1:")
        with pytest.raises(UnfitWorker, match=rf"^worker tcp://\S+: the data root {shared}/data isn't there \(--worker-root says"):
            make(shared / "data", out, client)
        with pytest.raises(UnfitWorker, match=r"the cache /nowhere isn't the driver's: no \S+ in it \(No such file .*\) \(--worker-out says"):
            make(shared / "data", out, client, places=Places(f"{elsewhere}/data", "/nowhere"))
        make(shared / "data", out, client, places=places_of(shared / "data", out, f"{elsewhere}/data", f"{elsewhere}/cache"))
    assert hashes(out) == reference
    assert not list(shared.glob("*.lease.json"))


def test_a_worker_without_hdf5plugin_is_named_at_the_start(cluster, shared, tmp_path):
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "hdf5plugin.py").write_text("raise ImportError('No module named hdf5plugin')\n")
    cluster.worker([stub, ROOT])
    with connect(scheduler=str(cluster.file)) as client:
        wait_for_workers(client, 1)
        with pytest.raises(UnfitWorker, match=r"^worker tcp://127\S+: HDF5 is unusable \(No module named hdf5plugin\) there, \d\S+ here"):
            make(shared / "data", tmp_path / "cache", client)


def test_a_worker_without_audiodata_is_named_at_the_start(cluster, nothing, shared, tmp_path):
    cluster.worker([nothing])
    with connect(scheduler=str(cluster.file)) as client:
        wait_for_workers(client, 1)
        with pytest.raises(UnfitWorker, match=r"^worker tcp://127\S+: .*No module named 'audiodata'"):
            make(shared / "data", tmp_path / "cache", client)


def test_a_scheduler_without_audiodata_is_named_at_the_start(nothing, shared, tmp_path):
    cluster = Cluster(tmp_path, [nothing])
    told = r"^scheduler tcp://127\S+: .*No module named 'audiodata'.*; it needs the audiodata wheel"
    try:
        with connect(scheduler=str(cluster.file)) as client, pytest.raises(EnvironmentFault, match=told):
            make(shared / "data", tmp_path / "cache", client)
    finally:
        cluster.stop()


def test_a_scheduler_that_is_killed_ends_the_run_and_the_next_goes_on(cluster, shared, reference, tmp_path):
    cluster.worker([ROOT])
    out = tmp_path / "cache"

    def kill():
        wait_until(lambda: list(out.glob("*.h5")), "the first shard")
        cluster.processes[0].kill()

    thread = threading.Thread(target=kill, daemon=True)
    with pytest.raises(EnvironmentFault, match="scheduler has gone away; what is finished is kept"), connect(scheduler=str(cluster.file)) as client:
        wait_for_workers(client, 1)
        thread.start()
        make(shared / "data", out, client)
    thread.join()
    assert hashes(make(shared / "data", out)) == reference


def test_nothing_that_answers_is_one_line(monkeypatch):
    monkeypatch.setattr("pipelines.cluster.TIMEOUT_S", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        for given in (address, "tcp://127.0.0.1:1"):
            with pytest.raises(EnvironmentFault, match=rf"^--scheduler {given}: no Dask scheduler answers") as caught, connect(scheduler=given):
                pass
            assert "\n" not in str(caught.value)


def test_addresses_and_scheduler_files(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps({"address": "tcp://a:1"}))
    (tmp_path / "bad.json").write_text("[]")
    assert scheduler_address("tls://a:1") == "tls://a:1" and scheduler_address("a:1") == "tcp://a:1"
    assert scheduler_address(str(tmp_path / "good.json")) == "tcp://a:1"
    with pytest.raises(CatalogError, match="not a scheduler file: no `address` in it"):
        scheduler_address(str(tmp_path / "bad.json"))
    for nothing in (str(tmp_path / "none.json"), "host"):
        with pytest.raises(CatalogError, match="no such scheduler file, and no address like"):
            scheduler_address(nothing)


def test_workers_come_from_one_place():
    with pytest.raises(EnvironmentFault, match="--scheduler and --slurm exclude each other"), connect(scheduler="tcp://a:1", slurm=Path("x")):
        pass


def test_a_second_driver_is_refused_by_the_command_in_one_line(shared, tmp_path):
    (tmp_path / "small.toml").write_text(TOML)
    words = ["build", tmp_path / "small.toml", "--data", shared / "data", "--out", tmp_path / "cache", "--workers", 0]
    with Lease.beside(tmp_path / "cache"):
        done = subprocess.run([sys.executable, "-m", "pipelines", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"another run is writing to it (process {os.getpid()} on {socket.gethostname()}, since 20" in done.stderr


def test_where_workers_see_things(tmp_path):
    root = tmp_path / "data"
    assert places_of(root, root / "cache", "/mnt/data", None) == Places("/mnt/data", "/mnt/data/cache")
    assert places_of(root, tmp_path / "cache", None, None) == Places(str(root), str(tmp_path / "cache"))
    assert places_of(root, tmp_path / "cache", None, "/mnt/cache", "$TMPDIR") == Places(str(root), "/mnt/cache", "$TMPDIR")
    with pytest.raises(CatalogError, match=r"--worker-root /mnt/data: --out \S+ isn't below --data .*--worker-out PATH"):
        places_of(root, tmp_path / "cache", "/mnt/data", None)


@pytest.mark.parametrize("command", ["build", "simulate"])
def test_where_workers_see_things_is_refused_of_local_ones(command, shared, tmp_path):
    (tmp_path / "small.toml").write_text(TOML)
    words = [command, tmp_path / "small.toml", "--data", shared / "data", "--worker-root", "/mnt/data"]
    words += ["--out", tmp_path / "cache", "--worker-out", "/mnt/cache"] if command == "build" else []
    done = subprocess.run([sys.executable, "-m", "pipelines", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--worker-root" in done.stderr and "only with --scheduler or --slurm" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_a_shard_that_is_set_aside_leaves_the_rest_done_and_no_manifest(shared, reference, tmp_path, monkeypatch):
    real, bad = site.run_all, "train-"

    def all_but_one(client, function, tasks, *options):
        for task, result in real(client, function, tasks, *options):
            is_bad = function.__name__ != "inspect_clips" and task.file.startswith(bad)
            yield task, (SetAside(3, "its worker was lost") if is_bad else result)

    monkeypatch.setattr(site, "run_all", all_but_one)
    told = r"^train-\S+\.h5 failed 3 times and was set aside: its worker was lost( \(and \d+ more\))?; the rest is done"
    with pytest.raises(UnfinishedBuild, match=told):
        make(shared / "data", tmp_path / "cache")
    assert not (tmp_path / "cache" / "manifest.json").exists()
    assert any(name.startswith("test-") for name in hashes(tmp_path / "cache"))
    monkeypatch.undo()
    assert hashes(make(shared / "data", tmp_path / "cache")) == reference


def test_a_clip_that_ends_its_workers_is_set_aside_alone(shared, tmp_path, monkeypatch):
    real = site.run_all

    def all_but_one(client, function, tasks, *options):
        for task, result in real(client, function, tasks, *options):
            clips = task.clips if function.__name__ == "inspect_clips" else ()
            is_bad = function.__name__ == "build_ahead" or any("half" in clip.clip_id for clip in clips)
            yield task, (SetAside(3, "its worker was lost") if is_bad else result)

    monkeypatch.setattr(site, "run_all", all_but_one)
    with pytest.raises(UnfinishedBuild) as caught:
        make(shared / "data", tmp_path / "cache")
    assert [name for name in caught.value.aside if "half" in name] == list(caught.value.aside)
    assert list((tmp_path / "cache").glob("*.h5"))


def test_a_worker_shows_what_it_sees(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(b"sound")
    (tmp_path / "note").write_text("hello")
    sample = take_sample(tmp_path / "data", "a.wav")
    good = Check((), (), str(tmp_path / "data"), str(tmp_path), (sample,), ("note", "hello"))
    assert worker.problems(good) == ()
    assert "isn't there (--worker-root" in worker.problems(good._replace(root=str(tmp_path / "none")))[0]
    other = FileSample("a.wav", sample.size, "0" * 64)
    assert worker.problems(good._replace(samples=(other,)))[0].startswith("a.wav has other content there, so ")
    assert worker.problems(good._replace(samples=(FileSample("b.wav", 1, ""),)))[0].startswith("b.wav can't be read there (No such file")
    assert "note says something else there" in worker.problems(good._replace(note=("note", "bye")))[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "note"]


def test_differences_name_what_is_missing_first():
    ours = {"numpy": "2", "soxr": "1", environment.CODE: "abc"}
    assert environment.differences(ours, ours) == []
    theirs = {"numpy": "1", environment.CODE: "abc"}
    assert environment.differences(ours, theirs) == ["soxr is not installed there, 1 here", "numpy is 1 there, 2 here"]


def test_a_package_that_is_missing_and_code_that_differs_are_seen():
    assert environment.describe(["no-such-package"])["no-such-package"] == environment.MISSING
    found = worker.problems(Check(tuple((environment.describe([]) | {environment.CODE: "other"}).items())))
    assert "audiodata's code is" in found[0] and "build a wheel of the driver's checkout" in found[0]
