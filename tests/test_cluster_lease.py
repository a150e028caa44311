"""The lease of a cache: one driver at a time, whoever it is, and nobody is locked out by the dead."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from audiodata import lease as lease_room
from audiodata.errors import CacheError
from audiodata.lease import Holder, Lease, this_process

ROOT = Path(__file__).resolve().parents[1]


def held_by(path, age_s=0.0, **changes):
    """Write a lease as somebody else would have left it."""
    path.write_text(json.dumps(this_process()._replace(token="theirs", **changes)._asdict()))
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.lease.json"


def take(path, **options):
    return Lease(path, "cache", **options)


def test_a_second_driver_is_told_who_holds_it(path):
    told = rf"^cache: another run is writing to it \(process {os.getpid()} on \S+, since 20.* UTC; it is running\)"
    with take(path), pytest.raises(CacheError, match=told):
        take(path).__enter__()
    assert list(path.parent.iterdir()) == []
    with take(path):
        pass


def test_it_lies_beside_the_cache(tmp_path):
    assert Lease.beside(tmp_path / "cache").path == (tmp_path / "cache.lease.json").resolve()


def test_a_driver_that_was_killed_leaves_the_place_at_once(path):
    code = f"import os; from audiodata.lease import Lease; Lease({str(path)!r}, 'x').__enter__(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert path.exists()
    with take(path) as mine:
        assert lease_room._read(path) == mine.holder
    assert list(path.parent.iterdir()) == []


def test_a_driver_that_ended_but_is_not_taken_note_of_leaves_the_place(path):
    """Its parent, a container's first process perhaps, may never ask what became of it: then its pid stays."""
    code = f"import os; from audiodata.lease import Lease; Lease({str(path)!r}, 'x').__enter__(); os.kill(os.getpid(), 9)"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with take(path) as mine:
        assert lease_room._read(path) == mine.holder
    child.wait()


@pytest.mark.parametrize("name", ["", "after-theirs"])
def test_what_a_driver_leaves_that_is_killed_while_it_takes_the_lease_keeps_nobody_out(path, name):
    """It may have written what it was going to link, or taken the right to be the next after one that died."""
    held_by(path, started="1")
    held_by(path.with_name(f".{path.name}.{name or 'token'}"), started="1")
    with take(path) as mine:
        assert lease_room._read(path) == mine.holder
    assert list(path.parent.iterdir()) == []


def test_what_a_driver_is_writing_that_is_alive_stays(path):
    theirs = path.with_name(f".{path.name}.token")
    held_by(theirs)
    with take(path):
        assert theirs.exists()


def test_a_pid_that_was_given_to_another_process_is_not_the_holder(path):
    held_by(path, started="1")
    with take(path) as mine:
        assert lease_room._read(path) == mine.holder


@pytest.mark.parametrize(("age_s", "refused"), [(10.0, True), (700.0, False)])
def test_on_another_machine_the_last_sign_of_life_counts(path, age_s, refused):
    held_by(path, age_s, machine="another", host="node7", pid=1)
    if refused:
        with pytest.raises(CacheError, match=r"process 1 on node7, since .*last sign of life 10 s ago; one that is silent for 600 s"):
            take(path).__enter__()
        assert lease_room._read(path).token == "theirs"
    else:
        with take(path) as mine:
            assert lease_room._read(path) == mine.holder


def test_the_clock_of_the_machine_does_not_matter(path, monkeypatch):
    """Ages are differences of two times of the file system's."""
    held_by(path, 10.0, machine="another")
    monkeypatch.setattr("time.time", lambda: 0.0)
    with pytest.raises(CacheError, match="10 s ago"):
        take(path).__enter__()


def test_a_file_that_is_no_lease_is_waited_for_and_then_replaced(path):
    path.write_text("")
    with pytest.raises(CacheError, match=r"another run is writing to it \(unknown; last sign of life"):
        take(path).__enter__()
    with take(path, stale_s=-1.0):
        pass


def test_of_many_that_want_a_stale_lease_one_gets_it(path):
    held_by(path, 700.0, machine="another")
    results, start = [], threading.Barrier(8)

    def contend():
        one = take(path)
        start.wait()
        try:
            one.__enter__()
            results.append(one)
        except CacheError:
            results.append(None)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [one for one in results if one]
    assert len(winners) == 1 and lease_room._read(path) == winners[0].holder
    winners[0].__exit__()
    assert list(path.parent.iterdir()) == []


def test_a_driver_that_lost_its_place_stops_and_leaves_the_other_alone(path):
    with take(path, renew_s=0.01) as mine:
        held_by(path)
        while not mine._taken_away:
            pass
        with pytest.raises(CacheError, match="another took its place"):
            mine.check()
    assert lease_room._read(path).token == "theirs"


def test_it_is_renewed(path):
    with take(path, renew_s=0.01) as mine:
        os.utime(path, (1, 1))
        while path.stat().st_mtime < 1000:
            pass
        mine.check()


def test_without_links_a_new_file_does_the_same(path, monkeypatch):
    def no_links(source, target):
        raise PermissionError("no links on this file system")

    monkeypatch.setattr(lease_room.os, "link", no_links)
    with take(path), pytest.raises(CacheError, match="it is running"):
        take(path).__enter__()
    held_by(path, machine="another", age_s=700.0)
    with take(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_holder_can_be_written_down_and_read(path):
    path.write_text(json.dumps(this_process()._asdict()))
    assert isinstance(lease_room._read(path), Holder)
