"""The few lines at the end of a run: how much, how long, the slowest, the failed."""

import time
from types import SimpleNamespace

import pytest
import typer
from cluster_sets import TOML, catalog, make, two_threads, write_data
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import EnvironmentFault
from pipelines import __main__ as door
from pipelines import crew, site
from pipelines.crew import SetAside
from pipelines.journal import Journal
from pipelines.runs import running, tell_cluster
from pipelines.summary import SHOWN, SLOWEST, Tally


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("summary") / "data")


def tally_of(events):
    tally = Tally()
    for event, fields in events:
        tally(event, fields)
    return tally


def done(name, seconds, worker="one"):
    return "task_done", {"name": name, "seconds": seconds, "worker": worker, "attempt": 1}


def slow_on_three(number):
    time.sleep(2.0 if number == 3 else 0.0)
    if number == 5:
        raise EnvironmentFault("no room for 5")
    return number


def test_the_slow_and_the_failed_are_named(tmp_path, capsys):
    """Three others would have to take two seconds for nothing, all of them, to hide the slow one."""
    with two_threads() as client, running("build", catalog(), tmp_path) as journal:
        results = dict(crew.run_all(client, slow_on_three, range(12), journal=journal))
    assert results[5] == SetAside(3, "no room for 5")
    lines = capsys.readouterr().out.splitlines()
    [work], [slowest] = ([line for line in lines if line.startswith(start)] for start in ("work: ", "slowest: "))
    assert work.startswith("work: 11 pieces, ") and float(work.split(", ")[1].split()[0]) >= 2.0
    assert any(part.startswith("3 ") for part in slowest.removeprefix("slowest: ").split(", "))
    assert "failed tries: 1 piece, the last 5: no room for 5" in lines and "failed: 5 (3 tries): no room for 5" in lines


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from("ab")), max_size=60))
def test_the_slowest_are_those_that_took_longest(times):
    tally = tally_of(done(f"piece {number}", tenths / 10, worker) for number, (tenths, worker) in enumerate(times))
    lines = list(tally.lines(100.0))
    assert tally.done == len(times) and tally.worker_seconds == pytest.approx(sum(tenths for tenths, _ in times) / 10)
    if not times:
        assert lines == []
        return
    named = [float(part.split(" s")[0].split()[-1]) for part in lines[1].split(", ")]
    assert named == sorted((tenths / 10 for tenths, _ in times), reverse=True)[:SLOWEST]


def test_workers_are_named_where_there_are_several():
    assert list(tally_of([done("x", 2.0), done("y", 1.0)]).lines(3.0))[1] == "slowest: x 2.0 s, y 1.0 s"
    assert list(tally_of([done("x", 2.0), done("y", 1.0, "two")]).lines(3.0))[1] == "slowest: x 2.0 s (one), y 1.0 s (two)"


def test_memory_does_not_grow_and_few_lines_are_told():
    lost = {"seconds": 1.0, "status": "failed", "attempt": 1, "reason": "private"}
    tally = tally_of(("video", lost | {"name": f"v{number}", "worker": f"w{number}"}) for number in range(5000))
    kept = [value for value in vars(tally).values() if hasattr(value, "__len__")]
    assert all(len(one) <= max(SHOWN, SLOWEST) or isinstance(one, str) for one in kept)
    lines = list(tally.lines(1.0))
    assert len(lines) <= 2 + SHOWN + 1 and lines[-1] == f"failed: ... and {5000 - SHOWN} more"


def test_videos_that_wait_have_not_failed():
    video = {"name": "v", "seconds": 1.0, "worker": "w", "attempt": 1}
    tally = tally_of([("video", video | {"status": "pending", "reason": "network"}), ("video", video | {"status": "ok", "reason": ""})])
    assert (tally.done, tally.failed) == (2, 0)


def test_a_build_in_this_process_counts_and_an_unfinished_one_sums_up_too(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(TOML)
    real = site.run_all

    def all_but_one(client, function, tasks, *options):
        for task, result in real(client, function, tasks, *options):
            yield task, (SetAside(3, "its worker was lost") if getattr(task, "file", "") == "test-00000.h5" else result)

    monkeypatch.setattr(site, "run_all", all_but_one)
    with pytest.raises(typer.Exit) as caught:
        door.build(str(tmp_path / "small.toml"), data, tmp_path / "cache", workers=0)
    lines = capsys.readouterr().out.splitlines()
    assert caught.value.exit_code == 1
    assert any(line.startswith("unfinished: 1 set aside") for line in lines) and "  test-00000.h5: its worker was lost" in lines
    assert lines[-2].startswith("work: ") and lines[-1].startswith("slowest: ") and ".h5 " in lines[-1]


def test_a_run_that_ends_with_an_error_sums_up_what_it_did(data, tmp_path, capsys):
    with pytest.raises(EnvironmentFault), running("build", catalog(), data) as journal:
        make(data, tmp_path / "cache", journal=journal)
        raise EnvironmentFault("the scheduler went away")
    assert "work: " in capsys.readouterr().out


def test_where_nothing_was_done_nothing_is_said(tmp_path, capsys):
    with running("build", catalog(), tmp_path):
        pass
    assert capsys.readouterr().out == ""


def test_the_dashboard_s_address_is_printed_and_told(capsys):
    events = []
    client = SimpleNamespace(
        dashboard_link="http://login:8787/status", scheduler=SimpleNamespace(address="tcp://login:1"), nthreads=lambda: {"a": 1},
        scheduler_info=lambda n_workers: {"services": {"dashboard": 8787}},
    )
    tell_cluster(client, Journal(lambda event, fields: events.append((event, fields))))
    assert capsys.readouterr().out == "dashboard: http://login:8787/status\n"
    assert events == [("cluster", {"scheduler": "tcp://login:1", "dashboard": "http://login:8787/status", "workers": 1})]
    tell_cluster(None, Journal())
    assert capsys.readouterr().out == ""
