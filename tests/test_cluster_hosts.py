"""Builds on several hosts that share a folder: the same bytes, whatever becomes of links, disks, clocks, workers, drivers and schedulers."""

import json
import subprocess
import sys
import time

import pytest
from cluster_sets import TOML, catalog, hashes, write_data
from cluster_wheel import ROOT
from network_hosts import missing, own_disk, seen_at
from network_site import Kind, finish, running_site
from slurm_cluster import wait_until

from audiodata.shards import verify_cache
from pipelines import build

pytest.importorskip("distributed")
pytestmark = pytest.mark.timeout(1800)
SMALL_SHARDS = 2
FIVE_DAYS_S = 432000
WHO = """
import importlib.util, json, os, socket, sys, time
import audiodata, audiodata.jobs
print(json.dumps({
    "host": socket.gethostname(), "time": time.time(), "library": audiodata.__file__, "sees": [os.path.exists(path) for path in sys.argv[1:]],
    "others": [name for name in ("pipelines", "models", "tests") if importlib.util.find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    with running_site(tmp_path_factory.mktemp("site"), "alpha", "beta") as one:
        write_data(one.data, per_kind=2)
        for name in ("bird/half.wav", "engine/not-a-sound.wav"):  # files that fail would make the command's exit code 1
            (one.data / name).unlink()
        (one.shared / "small.toml").write_text(TOML.replace("examples = 8", f"examples = {SMALL_SHARDS}"))
        yield one


@pytest.fixture(scope="module")
def reference(site, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "cache"
    build.build(catalog(shards={"examples": SMALL_SHARDS}), site.data, out)
    return hashes(out)


@pytest.fixture
def out(site, request):
    return site.data / "caches" / request.node.name


@pytest.fixture
def is_same(out, reference):
    """Say whether a build has ended as the one at home did."""

    def check(ended):
        code, text = ended
        assert code == 0, text
        wait_until(lambda: not list(out.glob(".*")), "the end of those who were cut off")
        assert not list(out.parent.glob("*.lease.json"))
        assert verify_cache(out) == []
        return hashes(out) == reference

    return check


def wait_for_the_middle(out, driver):
    """Wait until a shard is there and both workers are in the middle of others."""

    def is_there():
        assert driver.poll() is None, driver.log.read_text()
        return list(out.glob("*.h5")) and len(list(out.glob(".*.h5.*.tmp"))) == 2

    wait_until(is_there, "the first shard")


def test_a_host_has_the_wheel_alone_and_sees_the_root_elsewhere(site):
    seen = [site.elsewhere / "data" / "bird", site.data]
    code = [site.python, "-c", WHO, *seen]
    found = json.loads(site.hosts["alpha"].run(*code, setup=seen_at(site.shared, site.elsewhere), cwd=site.folder).stdout)
    assert found["host"] == "alpha" and found["sees"] == [True, False] and found["others"] == []
    assert found["library"].startswith(str(site.folder / "environment"))


def test_workers_on_two_hosts_give_the_same_bytes(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    assert is_same(finish(site.build(out, "--scratch", site.scratch)))
    words = [sys.executable, "-m", "audiodata", "verify", out]
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_worker_that_is_cut_off_for_long_changes_nothing(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        site.hosts["beta"].cut()
        try:
            wait_until(lambda: site.roster() == ["alpha"], "the scheduler to give up on a worker")
        finally:
            site.hosts["beta"].restore()
    assert is_same(finish(driver))


def test_a_driver_that_is_cut_off_for_long_goes_on_or_is_continued(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        site.hosts["driver"].cut()
        try:
            wait_until(lambda: site.drivers() == 0, "the scheduler to give up on a driver")
        finally:
            site.hosts["driver"].restore()
    assert is_same(finish_or_continue(site, out, driver))


def finish_or_continue(site, out, driver):
    """Wait for a driver that has lost its scheduler; where it ends for that, with one line, give the same command again."""
    code, text = finish(driver)
    if code == 2:
        assert is_gone(text)
        return finish(site.build(out))
    return code, text


def is_gone(text):
    """Say whether a driver ended with the line that it should when its scheduler has gone."""
    last = "error: the Dask scheduler has gone away; what is finished is kept, and the same command continues"
    assert last in text.splitlines() and "Traceback" not in text and "distributed" not in text, text
    return True


def test_a_scheduler_that_is_killed_and_started_again_changes_nothing(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        site.kill("scheduler")
        site.start_scheduler()
        for host in ("alpha", "beta"):  # they end when they have lost their scheduler; whoever runs them starts them again
            site.kill(host)
            site.start_worker(host, Kind())
    assert is_same(finish_or_continue(site, out, driver))


def test_a_scheduler_that_does_not_come_back_ends_the_run_which_the_next_continues(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        site.kill("scheduler")
        code, text = finish(driver)
        assert code == 2 and is_gone(text)
    site.ready(alpha=Kind(), beta=Kind())
    assert is_same(finish(site.build(out)))


def test_a_worker_that_is_killed_changes_nothing(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        site.kill("beta")
    assert is_same(finish(driver))


def test_a_driver_that_is_killed_is_continued(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind())
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        driver.kill()
        driver.wait()
    assert not (out / "manifest.json").exists()
    assert is_same(finish(site.build(out)))


def test_a_worker_whose_scratch_is_full_pauses_and_says_so(site, out, is_same):
    site.ready(alpha=Kind(), beta=Kind(own_disk(site.scratch, "64k", taken=100_000)))
    ended = finish(site.build(out, "--scratch", site.scratch))
    assert is_same(ended)
    told = [line for line in ended[1].splitlines() if "it pauses" in line]
    assert len(told) == 1 and f" on beta: scratch {site.scratch}: can't be written to (No space left on device); make room there" in told[0]


def test_a_clock_that_is_days_off_changes_nothing(site, out, is_same):
    off = {"CLOCK_OFF_S": str(FIVE_DAYS_S)}
    kind = Kind(environment=tuple(off.items()))
    found = site.start("beta", [site.python, "-c", WHO], **off)
    site.ready(alpha=Kind(), beta=kind)
    code, text = finish(found)
    assert code == 0 and json.loads(text)["time"] > time.time() + FIVE_DAYS_S / 2
    with site.held(out):
        driver = site.build(out)
        wait_for_the_middle(out, driver)
        code, text = finish(site.build(out, host="beta", **off))  # its clock says that the lease is days old
        assert code == 2 and "another run is writing to it (process " in text and " on driver, since " in text, text
    assert is_same(finish(driver))
