"""The examination of a machine: limits, folders, scratch, and who is at work there."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_sets import two_threads

from audiodata import doctor
from audiodata.doctor import Examination, Finding, examine, folders, node
from audiodata.doctor.packages import examine_packages
from audiodata.errors import EnvironmentFault, MetadataError
from audiodata.lease import Lease
from audiodata.shards import scratch
from audiodata.shards.atomic import is_temporary
from pipelines import doctor as of_workers
from pipelines import slurm
from pipelines.workers import Places

ROOT = Path(__file__).resolve().parents[1]


def found(findings, subject):
    return [(finding.state, finding.detail) for finding in findings if finding.subject == subject]


@pytest.fixture
def limits(monkeypatch, tmp_path):
    """A machine of 64 GB, and a function that puts this process into control groups with limits in bytes."""
    (tmp_path / "meminfo").write_text("MemTotal:       62500000 kB\nMemFree:  1000 kB\n")
    (tmp_path / "own").write_text("")
    monkeypatch.setattr(node, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(node, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(node, "_CGROUPS", tmp_path / "groups")
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(f"{text}\n")

    return write


def test_the_machine_s_memory(limits):
    assert node.memory_limits() == {"machine": pytest.approx(64.0)}
    assert node._memory(4) == Finding("memory", "ok", "64.0 GB (machine)")


def test_the_least_limit_of_all_control_groups_counts(limits):
    limits("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": 3_000_000_000, "memory.max": 9_000_000_000})
    assert node.memory_limits()["control group"] == 3.0
    assert node._memory(5) == Finding("memory", "ok", "3.0 GB (control group)")  # 5 workers of 0.6 GB
    assert node._memory(6).state == "note" and "enough for 5 workers of 0.6 GB, not for one on each of 6 cores" in node._memory(6).detail


def test_control_groups_of_version_1(limits):
    limits("5:cpu:/x\n4:memory:/job\n", {"memory/job/memory.limit_in_bytes": 2_000_000_000, "memory/memory.limit_in_bytes": 2**63 - 4096})
    assert node.memory_limits()["control group"] == 2.0
    limits("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": 2**63 - 4096})
    assert "control group" not in node.memory_limits()  # that is how it says that there is none


def test_what_slurm_gave_counts_and_too_little_is_a_problem(limits, monkeypatch):
    assert node._slurm_gb({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "4"}) == pytest.approx(4.194304)
    assert node._slurm_gb({"SLURM_MEM_PER_NODE": "0"}) is None and node._slurm_gb({}) is None
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "500")
    assert node._memory(1) == Finding("memory", "problem", "0.5 GB (Slurm's allocation); a worker needs 0.6 GB at least, or it pauses")


def test_the_cores_are_those_allowed(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert found(node.examine_node(), "cores") == [("ok", "3 of 64 may be used")]
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert found(node.examine_node(), "cores") == [("ok", "2 of 64 may be used")]


def test_few_open_files_are_noted(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert found(node.examine_node(), "open files") == [("note", "256 at a time: few for a driver with many workers; ulimit -n 4096")]


def test_scratch_is_found_as_a_shard_finds_it(tmp_path, monkeypatch):
    assert node.SCRATCH == scratch.VARIABLE and slurm.LEAST_GB == doctor.LEAST_GB
    monkeypatch.delenv(node.SCRATCH, raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    assert [state for state, _ in found(node.examine_node(), "scratch")] == ["missing"]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "is not set, so that is not used; set it to '$TMPDIR'" in found(node.examine_node(), "scratch")[1][1]
    monkeypatch.setenv(node.SCRATCH, "$TMPDIR")
    [(_, detail)] = found(node.examine_node(), "scratch")
    assert detail.startswith(f"{tmp_path}: ") and not list(tmp_path.iterdir())
    for wrong in (str(tmp_path / "none"), "$NO_SUCH_VARIABLE/x"):
        monkeypatch.setenv(node.SCRATCH, wrong)
        assert [state for state, _ in found(node.examine_node(), "scratch")] == ["problem"], wrong


MOUNTS = """rootfs / rootfs rw 0 0
/dev/sda1 / ext4 rw 0 0
lustre@tcp:/x /home/ab lustre rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/a\\040b tmpfs rw 0 0
"""


@pytest.mark.parametrize(("folder", "kind"), [
    ("/", "ext4"), ("/etc/x", "ext4"),
    ("/home", "nfs4"), ("/home/a", "nfs4"), ("/home/a b/c", "tmpfs"), ("/home/ab/c", "lustre"), ("/home/abc", "nfs4"),
])
def test_the_file_system_is_that_of_the_innermost_mount(folder, kind):
    assert folders.file_system(Path(folder), MOUNTS) == kind


def test_files_in_memory_are_noted():
    if not Path("/dev/shm").is_dir() or folders.file_system(Path("/dev/shm")) != "tmpfs":
        pytest.skip("no /dev/shm here")
    [finding] = folders.examine_folder("cache", Path("/dev/shm"), "it is gone")
    assert finding.state == "note" and "tmpfs" in finding.detail and "in memory: it is gone" in finding.detail


def test_what_can_not_be_done_in_a_folder_is_said(tmp_path, monkeypatch):
    assert folders.probe(tmp_path) == folders.Probe() and not list(tmp_path.iterdir())
    assert folders.probe(tmp_path / "none").write == "No such file or directory"

    def refuse(*paths):
        assert all(is_temporary(Path(path).name) for path in paths)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert folders.probe(tmp_path) == folders.Probe(link="Operation not permitted") and not list(tmp_path.iterdir())
    assert folders._probed(folders.probe(tmp_path)).state == "note"
    monkeypatch.setattr(Path, "replace", lambda self, other: refuse(self, other))
    assert folders._probed(folders.probe(tmp_path)) == Finding("cache", "problem", "can't have its files renamed (Operation not permitted)")
    monkeypatch.setattr(os, "fsync", lambda descriptor: refuse())
    assert folders.probe(tmp_path).sync == "Operation not permitted" and not list(tmp_path.iterdir())


def test_who_is_writing_there_is_named(tmp_path):
    (tmp_path / "cache").mkdir()
    assert ("ok", "cache.lease.json: nobody holds it") in found(folders.examine_cache(tmp_path / "cache"), "cache")
    with Lease.beside(tmp_path / "cache"):
        held = found(folders.examine_cache(tmp_path / "cache"), "cache")[-1]
        assert held[0] == "note" and held[1].startswith(f"cache.lease.json: held by process {os.getpid()} on ") and "it is running" in held[1]
        assert held in found(folders.examine_data(tmp_path), "data")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_folders_that_are_not_there_or_no_folders(tmp_path):
    (tmp_path / "file").write_text("")
    assert found(examine(data=str(tmp_path / "none")), "data") == [("problem", f"{tmp_path}/none: No such file or directory")]
    assert found(folders.examine_data(tmp_path / "file"), "data")[0][0] == "problem"
    assert found(folders.examine_cache(tmp_path / "file" / "cache"), "cache") == [("problem", f"{tmp_path}/file is no folder")]
    assert {state for state, _ in found(folders.examine_cache(tmp_path / "not" / "yet"), "cache")} <= {"ok", "note"}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_server_that_fails_is_a_finding(monkeypatch, tmp_path):
    def fail(folder):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(doctor.folders.shutil, "disk_usage", fail)
    assert found(examine(data=str(tmp_path)), "data") == [("problem", f"{tmp_path}: Stale file handle")]


def test_a_read_only_folder_is_found_by_the_command(tmp_path):
    for name in ("data", "work"):
        (tmp_path / name).mkdir()
    mounted = f"mount --bind {tmp_path}/data {tmp_path}/data && mount -o remount,ro,bind {tmp_path}/data && exec \"$@\""
    before = ["unshare", "--mount", "bash", "-c", mounted, "bash"]
    if os.geteuid() != 0 or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    words = [*before, sys.executable, "-m", "audiodata", "doctor", "--data", tmp_path / "data", "--out"]
    environment = os.environ | {"COLUMNS": "300"}
    run = {"cwd": ROOT, "capture_output": True, "text": True, "check": False, "env": environment}
    good = subprocess.run([*map(str, words), str(tmp_path / "work" / "cache")], **run)
    assert "can't be written to (Read-only file system): good for builds, not for downloads" in good.stdout
    bad = subprocess.run([*map(str, words), str(tmp_path / "data" / "cache")], **run)
    assert bad.returncode == 1 and "can't be written to (Read-only file system)" in bad.stdout.replace("can't be written", "", 1)
    assert "problem" in bad.stdout and "Traceback" not in good.stderr + bad.stderr


def test_programs_of_a_cluster_are_options():
    findings = examine_packages()
    for subject in ("dask", "distributed", "dask-jobqueue", "sbatch"):
        [(state, _)] = found(findings, subject)
        assert state in ("ok", "missing")


def test_a_worker_s_machine_is_compared_with_the_driver_s():
    ours = {"numpy": "2.1", "soxr": "1.0"}
    there = Examination("node7", {"numpy": "2.0", "soxr": "1.0"}, [Finding("cores", "ok", "2 of 2 may be used")])
    assert list(of_workers._findings(there, ours)) == [
        Finding("host", "ok", "node7"), Finding("versions", "problem", "numpy is 2.0 there, 2.1 here"), Finding("cores", "ok", "2 of 2 may be used")
    ]
    assert list(of_workers._findings(ModuleNotFoundError("No module named 'audiodata'"), ours)) == [
        Finding("examination", "problem", "ModuleNotFoundError: No module named 'audiodata'")
    ]


@pytest.fixture(scope="module")
def client():
    with two_threads() as one:
        yield one


def test_workers_examine_themselves(client, tmp_path, capsys):
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(b"sound")
    places = of_workers.seen_by_workers(tmp_path / "data", tmp_path / "cache", None, None, "")
    assert of_workers.doctor(client, tmp_path / "data", tmp_path / "cache", places) == 0
    shown = capsys.readouterr().out
    assert all(f"worker {address}" in shown for address in client.nthreads()) and "workers: 2, of which 0 with problems" in shown
    assert {path.name for path in tmp_path.rglob("*")} == {"data", "cache", "a.wav"}  # nothing is left behind


def test_workers_that_see_another_folder_have_a_problem(client, tmp_path, capsys):
    for name in ("data", "other", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(b"sound")
    (tmp_path / "other" / "a.wav").write_bytes(b"SOUND")
    places = of_workers.seen_by_workers(tmp_path / "data", None, str(tmp_path / "other"), None, "")
    assert of_workers.doctor(client, tmp_path / "data", None, places) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "driver's view problem a.wav has other content there" in shown and "workers: 2, of which 2 with problems" in shown


def test_many_workers_are_not_all_shown(client, capsys, monkeypatch):
    there = {f"tcp://{number:03d}": Examination("node", {}, [Finding("memory", "problem", "none")] if number == 77 else []) for number in range(100)}
    monkeypatch.setattr(of_workers.environment, "describe", lambda packages: {})
    stub = SimpleNamespace(run_on_scheduler=lambda function: None, nthreads=lambda: there, run=lambda *args, **options: there)
    assert of_workers.doctor(stub, None, None, Places("", "")) == 1
    shown = capsys.readouterr().out
    assert shown.index("tcp://077") < shown.index("tcp://000") and "workers: 100, of which 1 with problems; 92 not shown" in shown
    assert shown.count("worker tcp") == 8


def test_no_worker_is_one_line():
    stub = SimpleNamespace(run_on_scheduler=lambda function: None, nthreads=dict, cluster=None, scheduler=SimpleNamespace(address="tcp://a:1"))
    with pytest.raises(EnvironmentFault, match=r"^scheduler tcp://a:1: no worker is there; start some, and ask again$"):
        of_workers.doctor(stub, None, None, Places("", ""))


def test_folders_as_workers_see_them(tmp_path):
    assert of_workers.seen_by_workers(None, None, None, None, "$TMPDIR") == Places("", "", "$TMPDIR")
    assert of_workers.seen_by_workers(tmp_path, None, "/mnt", None, "") == Places("/mnt", "")
    assert of_workers.seen_by_workers(None, tmp_path / "c", None, None, "") == Places("", str(tmp_path / "c"))
    assert of_workers.seen_by_workers(tmp_path, tmp_path / "c", "/mnt", None, "") == Places("/mnt", "/mnt/c")
    with pytest.raises(MetadataError, match=r"^--data \S+none: no such folder$"):
        of_workers.seen_by_workers(tmp_path / "none", None, None, None, "")
