"""The log of a run: whole lines whatever ends it, every piece of work once, and nothing in it that only the user may know."""

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
import typer
from cluster_sets import TOML, catalog, make, two_threads, write_data
from hypothesis import given
from hypothesis import strategies as st
from slurm_cluster import wait_until

from audiodata import jobs, worker
from audiodata.catalog import DownloadSettings, parse_catalog
from audiodata.download import VideoTask, WantedClip
from audiodata.errors import CatalogError, EnvironmentFault
from audiodata.ledger import ClipRow, Ledger
from audiodata.progress import Bar
from audiodata.resolve import DownloadOptions
from audiodata.worker import Check, UnfitWorker
from pipelines import crew
from pipelines.download import download
from pipelines.download_driver import Driver, Inline
from pipelines.journal import SILENT, Journal, task_name
from pipelines.logfile import Discretion, LogFile, warnings_to
from pipelines.pacing import Time
from pipelines.runs import running

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("journal") / "data")


@pytest.fixture(scope="module")
def client():
    """Two workers that are threads of this process."""
    with two_threads() as one:
        yield one


def read(path):
    """Every line of a log; each must be whole."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def heard():
    events = []
    return events, Journal(lambda event, fields: events.append({"event": event} | fields))


def of(events, kind):
    return [one for one in events if one["event"] == kind]


def command(data, out, log, *words):
    catalog_file = out.parent / "small.toml"
    catalog_file.write_text(TOML)
    words = ["build", catalog_file, "--data", data, "--out", out, "--log", log, *words]
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def test_a_build_by_two_workers_tells_every_piece_of_work_once(data, tmp_path):
    pytest.importorskip("distributed")
    log = tmp_path / "logs" / "build.jsonl"
    done = subprocess.run(command(data, tmp_path / "cache", log, "--workers", 2), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # as some of the made files are bad
    events = read(log)
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"] and len({one["run"] for one in events}) == 1
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"]) for one in events)
    begin, end = events[0], events[-1]
    assert (begin["command"], begin["catalog"], begin["fingerprint"]) == ("build", "small", catalog().fingerprint())
    assert begin["versions"]["numpy"] and begin["pid"] != os.getpid()
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    finished = of(events, "task_done")
    pieces = Counter((one["stage"], one["name"]) for one in finished)
    assert max(pieces.values()) == 1
    shards = {shard["file"] for shard in manifest["shards"]}
    assert shards <= {one["name"] for one in finished if one["stage"] in ("build_ahead", "build_shard")}
    assert end["done"] == len(finished) and end["worker_seconds"] == pytest.approx(sum(one["seconds"] for one in finished), abs=1e-3)
    workers = {one["worker"] for one in of(events, "joined")}
    assert len(workers) == 2 and {one["worker"].split()[0] for one in finished} <= workers
    assert of(events, "plan")[0]["shards"] == len(shards)
    [cluster] = of(events, "cluster")
    assert f"dashboard: {cluster['dashboard']}" in done.stdout and cluster["scheduler"].startswith("tcp://")
    assert end["exit_code"] == 1 and "error" not in end
    assert f"work: {len(finished)} pieces" in done.stdout and "slowest: " in done.stdout


def test_a_log_stays_whole_when_runs_are_killed(data, tmp_path):
    log = tmp_path / "build.jsonl"
    words = command(data, tmp_path / "cache", log, "--workers", 0)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: log.is_file() and '"task_done"' in log.read_text(), "the first piece of work")
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = read(log)
    assert not of(first, "end")
    with log.open("ab") as file:
        file.write(b'{"time": "2025-01-01T00:00:00.000Z", "event": "task_d')  # as if it had been torn
    make_logged(data, tmp_path / "cache", log)
    events = read(log)
    assert events[: len(first)] == first
    [torn], second = of(events, "torn"), events[len(first) :]
    assert torn["text"].endswith('"task_d') and second[0] == torn
    assert {one["run"] for one in second} == {torn["run"]} != {first[0]["run"]}
    assert of(second, "end")[0]["exit_code"] == 0


def make_logged(data, out, log):
    with running("build", catalog(), data, log, out=out) as journal:
        make(data, out, journal=journal)


@given(st.lists(st.binary(max_size=200).map(lambda text: text.replace(b"\n", b"")), max_size=3))
def test_whatever_was_torn_off_the_next_line_is_whole(tmp_path_factory, remains):
    path = tmp_path_factory.mktemp("torn") / "log"
    whole = 0
    for remain in [b"", *remains]:
        LogFile(path)("warning", {"text": "a line"})
        whole += 1
        with path.open("ab") as file:
            file.write(remain)
    LogFile(path)("end", {})
    events = read(path)
    assert len(of(events, "warning")) == whole and events[-1]["event"] == "end"
    assert len(of(events, "torn")) == sum(bool(remain) for remain in remains)


def test_a_long_line_that_was_torn_is_found_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.logfile.BLOCK", 7)
    (tmp_path / "log").write_bytes(b'{"time": "1", "event": "begin"}\n{"time": "' + 100 * b"x")
    LogFile(tmp_path / "log")
    assert read(tmp_path / "log")[1]["text"] == '{"time": "' + 100 * "x"


def test_what_is_no_log_is_not_written_to(tmp_path):
    (tmp_path / "catalog.toml").write_text("[dataset]\n")
    with pytest.raises(CatalogError, match=r"^--log \S+catalog.toml: there is something else in this file; name another$"):
        LogFile(tmp_path / "catalog.toml")
    assert (tmp_path / "catalog.toml").read_text() == "[dataset]\n"


@pytest.mark.parametrize("place", ["/proc/none/log.jsonl", "{folder}", "{folder}/file/log.jsonl"])
def test_a_log_that_can_not_be_written_ends_the_run_at_once(tmp_path, place):
    (tmp_path / "file").write_text("")
    path = Path(place.format(folder=tmp_path))
    with pytest.raises(EnvironmentFault, match=rf"^--log {path}: can't be written to \([A-Z][\w ]+\)$"), running("build", catalog(), tmp_path, path):
        pytest.fail("the run began")


def test_the_run_goes_on_where_its_log_can_not(tmp_path, caplog):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with running("build", catalog(), tmp_path, Path("/dev/full")) as journal:
        for number in range(5):
            journal.write("left", worker=str(number))
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if line.startswith("--log /dev/full: can't be written to (No space left")] == lines and len(lines) == 1


class HalfFull:
    """A file that takes half of one line and then says that the disk is full."""

    def __init__(self, file):
        self._file, self.is_full = file, True

    def write(self, line):
        if self.is_full:
            self._file.write(line[: len(line) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(line)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_disk_that_was_full_for_a_while_leaves_whole_lines(tmp_path):
    log = LogFile(tmp_path / "log")
    log("begin", {})
    log._file = half = HalfFull(log._file)
    log("left", {"worker": "lost"})
    half.is_full = False
    log("end", {})
    assert [one["event"] for one in read(tmp_path / "log")] == ["begin", "torn", "end"]


SECRET = st.text("abcXYZ019-_", min_size=5, max_size=12)


@given(SECRET, SECRET, st.sampled_from(["{proxy} refused", "can't connect to {user}:{secret}", "password {secret} is wrong", "{secret}"]))
def test_a_proxy_s_password_is_in_no_line(tmp_path_factory, user, secret, text):
    proxy = f"http://{user}:{secret}@host:8080"
    path = tmp_path_factory.mktemp("secret") / "log"
    log = LogFile(path, Discretion(proxies=[proxy]))
    text = text.format(proxy=proxy, user=user, secret=secret)
    log("warning", {"text": text, secret: [text, {"inside": (text,)}]})
    assert secret not in path.read_text().split('"run"')[1].partition(",")[2] and "***" in path.read_text()


def test_what_is_hidden_and_what_is_shortened(tmp_path):
    tell = Discretion([str(tmp_path)], ["http://me:p%40ss@host:1"])
    assert tell(f"{tmp_path}/dog/1.wav: undecodable") == "dog/1.wav: undecodable"
    assert tell(f"/mnt{tmp_path}/dog/1.wav and {tmp_path}er/x") == f"/mnt{tmp_path}/dog/1.wav and {tmp_path}er/x"
    assert tell("the password p@ss") == "the password ***" and tell("socks5://a:b@c@host:1 is no proxy") == "socks5://***@host:1 is no proxy"
    assert tell("https://media.example/v?sig=abc&ip=1 gave 403") == "https://media.example/v?*** gave 403"
    assert Discretion(["/", "data", ""])("/x/data/y") == "/x/data/y"


def failing_download(tmp_path, **options):
    (tmp_path / "ontology.json").write_text(json.dumps([{"id": "/m/1", "name": "Dog", "child_ids": []}]))
    (tmp_path / "list.csv").write_text('# a\n# b\n# YTID, start_seconds, end_seconds, positive_labels\nabcdefghij0, 0.000, 10.000, "/m/1"\n')
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\tverysecretcookie\n")
    tables = {"dataset": {"name": "audioset", "segments": ["list.csv"]}, "select": {"classes": ["Dog"]}}
    tables |= {"download": {"retries": 0, "interval_s": 0.0}, "features": {"log_mel": {"window_length": 512, "hop_length": 256}}}
    settings = parse_catalog(tables, "one", "one.toml")
    proxy, log = "http://me:verysecretword@127.0.0.1:9", tmp_path / "log"
    with running("download", settings, tmp_path, log, [proxy]) as journal:
        code = download(
            settings, tmp_path, proxies=[proxy], cookies=tmp_path / "cookies.txt", url_template="http://127.0.0.1:9/{id}", journal=journal, **options
        )
        raise typer.Exit(code)


def test_a_download_tells_each_video_and_no_secret(tmp_path, capsys):
    pytest.importorskip("yt_dlp")
    with pytest.raises(typer.Exit):
        failing_download(tmp_path)
    text, events = (tmp_path / "log").read_text(), read(tmp_path / "log")
    assert "verysecret" not in text + "".join(capsys.readouterr())
    [video] = of(events, "video")
    assert (video["name"], video["status"], video["reason"], video["attempt"]) == ("abcdefghij0", "failed", "network", 1)
    assert list(video["clips"].values()) == ["network"] and video["seconds"] >= 0 and video["identity"] == "127.0.0.1:9"
    assert of(events, "plan")[0]["videos"] == 1 and of(events, "end")[0] | {"exit_code": 1, "failed": 1} == of(events, "end")[0]


class Clock:
    def __init__(self):
        self.now = 0.0
        self.time = Time(lambda: self.now, self.sleep)

    def sleep(self, seconds):
        self.now += seconds


def test_retries_and_pauses_of_a_download(tmp_path, monkeypatch):
    script = {"a": ["network", ""], "b": ["rate_limited", ""], "c": ["rate_limited", ""], "d": ["rate_limited", ""], "e": ["private"]}

    def answer(task):
        reason = script[task.recording_id].pop(0)
        return [ClipRow(clip.clip_id, "failed" if reason else "ok", reason, "") for clip in task.clips]

    monkeypatch.setattr(jobs, "download_video", answer)
    tasks = [VideoTask(name, (WantedClip(f"{name}1", 0.0, 10.0, f"{name}.flac"),), str(tmp_path), DownloadOptions()) for name in "bcdae"]
    events, journal = heard()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add(f"{name}1" for name in "abcde")
        pace = DownloadSettings(interval_s=10.0, jitter=0.0)
        Driver(ledger, pace, Inline(), 1, Bar("t", 5, "clips"), Clock().time, journal=journal).work(tasks)
    told = {name: [] for name in script}
    for one in of(events, "video"):
        told[one["name"]].append((one["status"], one["clips"][f"{one['name']}1"], one["attempt"]))
    assert told["a"] == [("pending", "network", 1), ("ok", "ok", 2)] and told["e"] == [("failed", "private", 1)]
    assert all(told[name] == [("pending", "rate_limited", 1), ("ok", "ok", 2)] for name in "bcd")
    assert [(one["reason"], one["seconds"], one["identity"]) for one in of(events, "pause")] == [("rate_limited", 3600.0, "this machine's address")]


def fail_on_three(number):
    if number == 3:
        raise EnvironmentFault("no room for 3")
    return number


def test_a_piece_that_fails_is_told_at_each_try_and_set_aside_once(client):
    events, journal = heard()
    list(crew.run_all(client, fail_on_three, range(8), journal=journal))
    assert Counter(one["name"] for one in of(events, "task_done")) == {str(number): 1 for number in range(8) if number != 3}
    assert [(one["name"], one["attempt"], one["reason"]) for one in of(events, "task_failed")] == [("3", n, "no room for 3") for n in (1, 2, 3)]
    assert of(events, "set_aside") == [{"event": "set_aside", "stage": "fail_on_three", "name": "3", "tries": 3, "reason": "no room for 3"}]
    assert {one["worker"] for one in of(events, "joined")} == set(client.nthreads())


def test_without_workers_the_same_is_told_of_this_process(monkeypatch):
    events, journal = heard()
    with pytest.raises(EnvironmentFault):
        list(crew.run_all(None, fail_on_three, range(8), journal=journal))
    assert [one["name"] for one in of(events, "task_done")] == ["0", "1", "2"]
    assert {one["worker"] for one in of(events, "task_done")} == {worker.own_name()}
    assert [(one["name"], one["reason"]) for one in of(events, "task_failed")] == [("3", "no room for 3")]


def test_an_unfit_worker_is_told(client, monkeypatch):
    monkeypatch.setattr(worker, "REFUSAL_PAUSE_S", 0.0)
    events, journal = heard()
    with pytest.raises(UnfitWorker):
        list(crew.run_all(client, fail_on_three, range(3), Check((("numpy", "0.1"),), ("numpy",)), journal))
    assert {one["worker"].split()[0] for one in of(events, "unfit")} == set(client.nthreads()) and "numpy is" in of(events, "unfit")[0]["reason"]


def test_workers_that_join_and_leave():
    events, journal = heard()
    for threads in ({"a": 1}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {}):
        journal.see(threads)
    assert [(one["event"], one["worker"]) for one in events] == [("joined", "a"), ("joined", "b"), ("left", "a"), ("left", "b")]
    SILENT.see({"a": 1})
    assert not SILENT._there  # it is shared by all who tell nothing


def test_names_tell_nothing_of_settings():
    options = DownloadOptions(proxy="http://me:secret@host:1")
    assert task_name(VideoTask("abc", (), "/root", options)) == "VideoTask" and task_name(("secret",)) == "tuple"


def test_warnings_are_told_and_still_shown(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    events, journal = heard()
    with warnings_to(journal):
        logging.getLogger("audiodata.somewhere").warning("little room: %d MB", 3)
        logging.getLogger("pipelines.crew").info("nothing to worry about")
    logging.getLogger("audiodata.somewhere").warning("afterwards")
    assert events == [{"event": "warning", "logger": "audiodata.somewhere", "text": "little room: 3 MB"}]
    assert capsys.readouterr().err == "little room: 3 MB\nafterwards\n"


@pytest.mark.parametrize(("error", "code", "line"), [
    (typer.Exit(1), 1, None), (EnvironmentFault("no disk"), 2, "no disk"), (KeyboardInterrupt(), 130, "interrupted"),
    (ValueError("a\nbug"), 1, "ValueError: a bug"),
])
def test_the_last_line_says_how_it_ended(tmp_path, error, code, line):
    with pytest.raises(type(error)), running("build", catalog(), tmp_path, tmp_path / "log"):
        raise error
    end = read(tmp_path / "log")[-1]
    assert (end["event"], end["exit_code"], end.get("error")) == ("end", code, line)
    assert datetime.fromisoformat(end["time"]) >= datetime.fromisoformat(read(tmp_path / "log")[0]["time"])
