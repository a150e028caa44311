"""Work given to workers: tried again, set aside, refused by the unfit, and never lost."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_sets import TOML, write_data
from slurm_cluster import wait_until

from audiodata import worker
from audiodata.errors import CatalogError, EnvironmentFault, ScratchFault
from audiodata.worker import Check, UnfitWorker, call_of
from pipelines import crew, pauses
from pipelines.cluster import connect
from pipelines.crew import SetAside, run_all, run_bounded

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[1]
SEEN = []


@pytest.fixture(scope="module")
def client():
    """Two workers that are threads of this process, so that tests can reach into them."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None, "memory_limit": 0}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch):
    SEEN.clear()
    monkeypatch.setattr(worker, "REFUSAL_PAUSE_S", 0.0)


def double(number):
    SEEN.append(number)
    return 2 * number


def fail_on_three(number):
    SEEN.append(f"piece {number}")
    if number == 3:
        raise EnvironmentFault(f"no room for {number}")
    return number


def fail_twice(number):
    SEEN.append(f"try {number}")
    if number == 3 and SEEN.count("try 3") < 3:
        raise OSError("for the moment")
    return number


def fail_always(number):
    SEEN.append("again")
    raise EnvironmentFault("the disk is full")


def refuse_catalog(number):
    SEEN.append(number)
    raise CatalogError("a setting that can't be")


def fill_one_disk(number):
    """Fail on the first worker that gets work here, as its disk is full."""
    SEEN.append(worker.own_name())
    if worker.own_name() == SEEN[0]:
        raise ScratchFault("scratch /mine: full")
    time.sleep(0.2)  # worth stealing
    return number


def find_room_at_the_tenth_try(number):
    SEEN.append(worker.own_name())
    if len(SEEN) < 10:
        raise ScratchFault("scratch /mine: full")
    return number


def fill_all_disks(number):
    SEEN.append(worker.own_name())
    raise ScratchFault("scratch /mine: full")


def warn(number):
    logging.getLogger("audiodata.somewhere").warning("little room is left")
    return number


def end_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_all_results_come_each_with_its_task(client):
    assert sorted(run_all(client, double, range(20))) == [(number, 2 * number) for number in range(20)]
    assert sorted(run_all(None, double, range(5))) == [(number, 2 * number) for number in range(5)]


def test_few_tasks_are_under_way_at_a_time(client):
    drawn = []

    def tasks():
        for number in range(100):
            drawn.append(number)
            yield number

    results = run_all(client, double, tasks())
    next(results)
    assert len(drawn) <= crew.TASKS_PER_THREAD * 2 + 1
    results.close()
    assert len(SEEN) <= len(drawn)  # and what is not wanted any more is taken back


def test_what_fails_three_times_is_set_aside_while_the_rest_completes(client):
    results = dict(run_all(client, fail_on_three, range(8)))
    assert results == {number: number for number in range(8) if number != 3} | {3: SetAside(3, "no room for 3")}
    assert SEEN.count("piece 3") == 3 and SEEN[-1] == "piece 3"  # the last time at the end, alone


def test_what_fails_twice_is_done(client):
    assert dict(run_all(client, fail_twice, range(8))) == {number: number for number in range(8)}
    assert SEEN.count("try 3") == 3


def test_run_bounded_stops_with_one_line(client):
    with pytest.raises(EnvironmentFault, match=r"^fail_on_three failed 3 times: no room for 3$"):
        list(run_bounded(client, fail_on_three, range(8)))


def test_nothing_but_failures_ends_soon_with_the_cause(client):
    with pytest.raises(EnvironmentFault, match=r"^the disk is full$"):
        list(run_all(client, fail_always, range(1000)))
    assert SEEN.count("again") < 50


def test_bad_input_of_the_whole_run_is_not_tried_again(client):
    with pytest.raises(CatalogError, match="a setting that can't be"):
        list(run_all(client, refuse_catalog, ["once"]))
    assert SEEN.count("once") == 1


def test_warnings_of_workers_are_shown_once(client, caplog):
    assert len(list(run_all(client, warn, range(6)))) == 6
    lines = [record.getMessage() for record in caplog.records if record.name == "pipelines.crew"]
    assert 1 <= len(lines) <= 2 and all("worker " in line and "little room is left" in line for line in lines)


def test_only_functions_that_a_worker_can_import_are_sent():
    with pytest.raises(TypeError, match="not a function that a worker could import"):
        call_of(lambda task: task, 1)


def test_every_worker_that_is_unfit_ends_the_run_with_the_difference(client):
    with pytest.raises(UnfitWorker, match=r"^worker \S+ on \S+: numpy is 2\S* there, 0\.1 here"):
        list(run_all(client, fail_on_three, range(4), Check((("numpy", "0.1"),), ("numpy",))))
    assert "piece 0" not in SEEN


def test_a_worker_that_joins_later_and_is_unfit_gets_no_work(client, monkeypatch, caplog):
    bad = sorted(client.nthreads())[0]
    monkeypatch.setattr(worker, "_PASSED", frozenset())  # both are one process here
    monkeypatch.setattr(worker, "_pass_check", lambda check: refuse_on(bad))
    assert sorted(run_all(client, double, range(30), Check())) == [(number, 2 * number) for number in range(30)]
    lines = [record.getMessage() for record in caplog.records if "gets no work" in record.getMessage()]
    assert len(lines) <= 1 and all(bad in line and "soxr is not installed" in line for line in lines)


def refuse_on(address):
    if worker.own_name().startswith(f"{address} "):
        raise UnfitWorker(worker.own_name(), ("soxr is not installed there",))


def test_a_worker_without_room_pauses_and_others_do_its_work(client, caplog):
    assert sorted(run_all(client, fill_one_disk, range(30))) == [(number, number) for number in range(30)]
    assert SEEN.count(SEEN[0]) <= 2 * crew.TASKS_PER_THREAD + 1  # what it had been given already
    lines = [record.getMessage() for record in caplog.records if "it pauses" in record.getMessage()]
    assert lines == [f"worker {SEEN[0]}: scratch /mine: full; it pauses, and is tried again every 60 s"]


def test_workers_that_find_room_again_do_the_rest(client, monkeypatch, caplog):
    monkeypatch.setattr(pauses, "REST_S", 0.0)
    assert sorted(run_all(client, find_room_at_the_tenth_try, range(20))) == [(number, number) for number in range(20)]
    assert sum("it pauses" in record.getMessage() for record in caplog.records) <= 2


def test_when_no_worker_has_room_for_long_the_run_ends_with_one_line(client, monkeypatch):
    monkeypatch.setattr(pauses, "GIVE_UP_S", 0.0)
    told = r"^no worker has room for its work \(2 tried\): worker \S+ on \S+: scratch /mine: full; what is done is kept, .* continues$"
    with pytest.raises(EnvironmentFault, match=told):
        list(run_all(client, fill_all_disks, range(1000)))
    assert len(SEEN) <= 2 * crew.TASKS_PER_THREAD + 1


class StubFuture:
    def release(self):
        SEEN.append("released")


def test_work_that_is_tied_to_workers_that_have_gone_is_taken_back():
    one, future, tied = crew._Crew(None, double, None), StubFuture(), frozenset({"tcp://a:1", "tcp://b:1"})
    one.under_way[future] = crew._Attempt(7, 2, tied)
    one._addresses = ("tcp://b:1", "tcp://c:1")
    one._take_back_lost()
    assert not one.waiting
    one._addresses = ("tcp://c:1",)
    one._take_back_lost()
    assert SEEN == ["released"] and not one.under_way
    assert [(attempt.task, attempt.number) for attempt in one.waiting] == [(7, 2)]


def test_a_task_that_ends_its_worker_three_times_is_set_aside():
    with connect(2) as client:
        results = dict(run_all(client, end_on_three, range(8)))
    aside = results.pop(3)
    assert results == {number: number for number in range(8) if number != 3}
    assert aside.tries == 3 and "its worker was lost" in aside.reason


def test_local_workers_have_one_thread_and_this_process_keeps_its_own(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with connect(1) as client:
        assert client.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert client.submit(os.getenv, "MKL_NUM_THREADS").result() == "1"
    assert dict(os.environ) == before


def test_a_scheduler_that_goes_away_ends_the_run_with_one_line(client):
    gone = SimpleNamespace(status="closed")
    with pytest.raises(EnvironmentFault, match="scheduler has gone away; what is finished is kept"):
        crew._Crew(gone, double, None)._look()


def test_workers_that_have_all_paused_end_the_run(monkeypatch):
    there = {"tcp://a:1": {"status": "paused"}, "tcp://b:1": {"status": "paused"}}
    stub = SimpleNamespace(status="running", nthreads=lambda: dict.fromkeys(there, 1), scheduler_info=lambda n_workers: {"workers": there})
    one = crew._Crew(stub, double, None)
    one._moved = time.monotonic() - 2 * crew.TELL_AFTER_S
    with pytest.raises(EnvironmentFault, match=r"all workers have paused.*tcp://a:1 \(and 1 more\)"):
        one._look()


def test_ctrl_c_reaches_local_workers_too_and_one_line_is_said(tmp_path):
    write_data(tmp_path / "data")
    (tmp_path / "small.toml").write_text(TOML)
    words = ["build", tmp_path / "small.toml", "--data", tmp_path / "data", "--out", tmp_path / "cache", "--workers", 2]
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    wait_until(lambda: list((tmp_path / "cache").glob("*.h5")) or driver.poll() is not None, "the first shard")
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    driver.wait()
    lines = (tmp_path / "log").read_text().splitlines()
    assert driver.returncode == 130 and lines[-1] == "interrupted; the same command continues where it stopped"
    assert not any("Traceback" in line for line in lines)
