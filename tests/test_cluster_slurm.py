"""Builds on a real Slurm that is started for them: the same bytes as at home, whatever becomes of jobs and drivers."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cluster_sets import TOML, hashes, make, write_data
from slurm_cluster import running_slurm, wait_until

from audiodata.audio import decode, write_flac
from audiodata.errors import EnvironmentFault
from audiodata.shards import verify_cache
from pipelines.cluster import connect

pytest.importorskip("dask_jobqueue")
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[1]
SETTINGS = """
partition = "{partition}"
cores = 1
memory = "1GB"
walltime = "00:30:00"
jobs = {{ min = 1, max = 2 }}
logs = "{folder}/logs"
prologue = ["export PYTHONPATH={root}"]
scratch = "{folder}/scratch"
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with running_slurm(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that driver and workers share, with sounds, recordings where there are any, and what the commands need."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "scratch").mkdir()
    write_data(folder / "data")
    add_recordings(folder / "data")
    (folder / "small.toml").write_text(TOML)
    (folder / "slurm.toml").write_text(SETTINGS.format(partition="main", folder=folder, root=ROOT))
    (folder / "wrong.toml").write_text(SETTINGS.format(partition="mian", folder=folder, root=ROOT))
    return folder


def add_recordings(data):
    """Add a few recordings of the world to the sounds made, where they are beside the checkout."""
    found = sorted((ROOT.parent / "shared" / "data").rglob("*.wav"))[:4]
    for number, path in enumerate(found):
        waveform, rate = decode(path)
        write_flac(data / "engine" / f"recorded-{number}.flac", waveform[:1, : 3 * rate], rate)


@pytest.fixture(scope="module")
def reference(folder):
    return hashes(make(folder / "data", folder / "reference"))


@pytest.fixture
def on_slurm(slurm, monkeypatch):
    for name in [name for name in os.environ if name not in slurm.env]:
        monkeypatch.delenv(name)
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.env[name])
    yield slurm
    slurm.call("scancel", "--user", "root")
    wait_until(lambda: not slurm.jobs("running", "pending", "completing"), "the end of all jobs")


def command(folder, out):
    words = ["build", folder / "small.toml", "--data", folder / "data", "--out", out, "--slurm", folder / "slurm.toml"]
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def test_a_job_that_is_cancelled_in_the_middle_changes_nothing(on_slurm, folder, reference, tmp_path):
    cancelled = []

    def cancel_one():
        running = wait_until(lambda: on_slurm.jobs("running"), "a job that runs")
        wait_until(lambda: list((tmp_path / "cache").glob("*.h5")), "the first shard")
        cancelled.extend(running[:1])
        on_slurm.call("scancel", running[0])

    thread = threading.Thread(target=cancel_one)
    with connect(slurm=folder / "slurm.toml") as client:
        thread.start()
        make(folder / "data", tmp_path / "cache", client)
        thread.join()
    assert cancelled and hashes(tmp_path / "cache") == reference
    assert list((folder / "logs").glob("audiodata-*.out"))
    wait_until(lambda: not on_slurm.jobs("running", "pending"), "the end of the jobs with their driver")


def test_jobs_of_a_driver_that_was_killed_end_and_another_goes_on(on_slurm, folder, reference, tmp_path):
    out = tmp_path / "cache"
    environment = {name: os.environ[name] for name in os.environ} | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(command(folder, out), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(out.glob("*.h5")), "the first shard")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not on_slurm.jobs("running", "completing"), "the end of the jobs of a dead driver")
    for identifier in on_slurm.jobs("pending"):
        on_slurm.call("scancel", identifier)
    assert not (out / "manifest.json").exists() or verify_cache(out) == []
    script = f"cd {shlex.quote(str(tmp_path))}; export PYTHONPATH={shlex.quote(str(ROOT))}; {shlex.join(command(folder, out))}"
    found = on_slurm.call("sbatch", f"--output={tmp_path}/driver.log", "--wrap", script)  # the next one is itself a job
    assert found.returncode == 0, found.stderr
    wait_until(lambda: not on_slurm.jobs("running", "pending", "completing"), "the end of the driver's job", 600)
    log = (tmp_path / "driver.log").read_text()
    assert hashes(out) == reference, log
    assert "cache: " in log and "dashboard: " in log


def test_the_jobs_examine_their_node(on_slurm, folder, tmp_path):
    words = ["doctor", "--slurm", folder / "slurm.toml", "--data", folder / "data", "--out", folder / "to-be-made"]
    environment = {name: os.environ[name] for name in os.environ} | {"PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and "with problems" in done.stdout, done.stdout + done.stderr
    assert ["memory", "ok", "1.0", "GB", "(Slurm's", "allocation)"] in lines
    assert any(line[:3] == ["scratch", "ok", f"{folder}/scratch:"] for line in lines)
    assert ["versions", "ok", "as", "the", "driver's"] in lines


def test_what_slurm_would_not_take_is_one_line(on_slurm, folder):
    with pytest.raises(EnvironmentFault, match=r"Slurm would not take such a job: Invalid partition"), connect(slurm=folder / "wrong.toml"):
        pass
