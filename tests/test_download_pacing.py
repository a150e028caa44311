"""When a video may be asked for: with a clock that the test moves, and workers that count."""

from collections import Counter

import numpy as np
import pytest

from audiodata import jobs
from audiodata.catalog import DownloadSettings
from audiodata.download import VideoTask, WantedClip
from audiodata.errors import EnvironmentFault
from audiodata.ledger import ClipRow, Ledger
from audiodata.progress import Bar
from audiodata.resolve import DownloadOptions
from pipelines.download_driver import Driver, Inline
from pipelines.pacing import (
    IN_A_ROW,
    PAUSE_S,
    CircuitBreaker,
    FaultWindow,
    Fresh,
    Queue,
    RateLimiter,
    Time,
    backoff_s,
    may_retry,
    worst,
)

SECOND = 1.0


class FakeTime:
    """A clock that moves when somebody sleeps, and remembers how long."""

    def __init__(self):
        self.now, self.slept = 100.0, []
        self.time = Time(lambda: self.now, self.sleep)

    def sleep(self, seconds):
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return FakeTime()


class Platform:
    """Answers videos by a script of reasons per video; counts and dates what it is asked."""

    def __init__(self, clock, script, takes_s=0.0):
        self.clock, self.takes_s = clock, takes_s
        self.script = {video: list(reasons) for video, reasons in script.items()}
        self.asked = []

    def download_video(self, task):
        self.asked.append((round(self.clock.now, 3), task.recording_id, [clip.clip_id for clip in task.clips]))
        self.clock.now += self.takes_s
        reasons = self.script.get(task.recording_id, [])
        reason = (reasons.pop(0) if len(reasons) > 1 else reasons[0]) if reasons else ""
        return [ClipRow(clip.clip_id, "failed" if reason else "ok", reason) for clip in task.clips]


def tasks(*videos):
    clips = {video: (WantedClip(f"{video}_0", 0.0, 1.0, f"{video}.flac"),) for video in videos}
    return [VideoTask(video, clips[video], "/root", DownloadOptions()) for video in videos]


@pytest.fixture
def drive(clock, tmp_path, monkeypatch):
    """Run a driver against a platform; return it with the platform and the ledger's outcome."""
    def run(script, videos, *, interval_s=10.0, retries=3, jitter=0.0, takes_s=0.0):
        platform = Platform(clock, script, takes_s)
        monkeypatch.setattr(jobs, "download_video", platform.download_video)
        pace = DownloadSettings(interval_s=interval_s, jitter=jitter, retries=retries)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            ledger.add(f"{video}_0" for video in videos)
            platform.error = None
            try:
                driver = Driver(ledger, pace, Inline(), 1, Bar("t", len(videos), "clips"), clock.time)
                platform.failed = driver.work(iter(tasks(*videos)))
            except EnvironmentFault as error:
                platform.error = str(error)
            platform.rows = {row.clip_id[:-2]: (row.status, row.reason, row.attempts) for row in ledger.rows()}
        return platform
    return run


def test_the_mean_distance_is_kept_and_the_beat_is_not_steady(clock):
    limiter = RateLimiter(12.0, 0.3, clock.time, np.random.default_rng(0))
    moments = []
    for _ in range(400):
        limiter.take()
        moments.append(clock.now)
    distances = np.diff(moments)
    assert abs(distances.mean() - 12.0) < 0.3
    assert distances.min() >= 12 * 0.7 - 1e-6 and distances.max() <= 12 * 1.3 + 1e-6
    assert distances.std() > 1.0


def test_time_that_work_took_counts(clock):
    limiter = RateLimiter(10.0, 0.0, clock.time, np.random.default_rng(0))
    limiter.take()
    clock.now += 7
    limiter.take()
    clock.now += 70
    limiter.take()
    assert clock.slept == [3.0]


def test_videos_are_asked_for_one_at_a_time_at_the_pace(drive):
    platform = drive({}, ["a", "b", "c"], takes_s=4.0)
    assert platform.asked == [(100, "a", ["a_0"]), (110, "b", ["b_0"]), (120, "c", ["c_0"])]
    assert platform.failed == 0


def test_faults_of_the_network_are_retried_with_growing_distance_and_others_go_first(drive):
    platform = drive({"a": ["network", "network", "network", ""]}, ["a", "b"], interval_s=1.0)
    moments = [moment for moment, video, _ in platform.asked if video == "a"]
    assert [round(wait) for wait in np.diff(moments)] == [2, 4, 8]
    assert platform.asked[1][1] == "b"
    assert platform.rows["a"] == ("ok", "", 4)


def test_a_network_that_stays_away_is_a_failure_after_so_many_retries(drive):
    platform = drive({"a": ["network"]}, ["a"], retries=2)
    assert platform.rows["a"] == ("failed", "network", 3)
    assert platform.failed == 1


def test_what_is_permanent_is_asked_for_once(drive):
    platform = drive({"a": ["private"], "b": ["too_short"]}, ["a", "b"])
    assert [video for _, video, _ in platform.asked] == ["a", "b"]
    assert platform.failed == 2


def test_a_forbidden_address_is_resolved_again_twice_without_a_wait_but_at_the_pace(drive):
    platform = drive({"a": ["forbidden"]}, ["a"], interval_s=10.0)
    assert [moment for moment, *_ in platform.asked] == [100, 110, 120]
    assert platform.rows["a"] == ("failed", "forbidden", 3)


def test_one_rate_verdict_leaves_the_clip_pending_and_goes_on(drive):
    platform = drive({"a": ["rate_limited"]}, ["a", "b", "c"])
    assert platform.rows["a"] == ("pending", "rate_limited", 1)
    assert platform.rows["b"][0] == platform.rows["c"][0] == "ok"
    assert platform.failed == 0


def test_three_in_a_row_open_the_breaker_for_an_hour_then_one_probes_and_the_refused_come_back(drive):
    script = {video: ["rate_limited", ""] for video in "abc"}
    platform = drive(script, list("abcde"), interval_s=10.0)
    moments = [moment for moment, *_ in platform.asked]
    assert moments[:3] == [100, 110, 120]
    assert moments[3] == 120 + PAUSE_S
    assert Counter(video for _, video, _ in platform.asked) == Counter("abcabcde")
    assert all(status == "ok" for status, *_ in platform.rows.values())


def test_a_probe_that_fails_begins_the_next_pause(drive):
    script = {"a": ["rate_limited"], "b": ["rate_limited"], "c": ["rate_limited"]}
    platform = drive(script, ["a", "b", "c", "d"], interval_s=1.0, retries=1)
    pauses = [after - before for (before, *_), (after, *_) in zip(platform.asked, platform.asked[1:], strict=False)]
    assert sum(pause >= PAUSE_S for pause in pauses) >= 2
    assert platform.rows["d"][0] == "ok"
    assert platform.rows["a"][0] == "pending"


def test_a_verdict_in_between_starts_the_count_again(drive):
    videos = ["a", "b", "c", "d", "e"]
    platform = drive({video: ["rate_limited"] for video in "abde"}, videos)
    assert max(moment for moment, *_ in platform.asked) < PAUSE_S
    assert [platform.rows[video][0] for video in videos] == ["pending", "pending", "ok", "pending", "pending"]


def test_bot_checks_end_the_run_with_what_to_do(drive):
    platform = drive({video: ["bot_check"] for video in "abc"}, list("abcdef"))
    assert len(platform.asked) == IN_A_ROW
    assert "--cookies" in platform.error
    assert all(status == "pending" for status, *_ in platform.rows.values())


def test_an_environment_that_can_not_work_ends_the_run_and_no_clip_is_blamed(drive):
    videos = [f"v{number:02d}" for number in range(40)]
    platform = drive({video: ["no_format"] for video in videos}, videos, interval_s=0)
    assert len(platform.asked) == 10
    assert "JavaScript runtime" in platform.error
    assert all(status == "pending" for status, *_ in platform.rows.values())


def test_a_dead_network_ends_the_run_too(drive):
    videos = [f"v{number:02d}" for number in range(40)]
    platform = drive({video: ["network"] for video in videos}, videos, interval_s=0, retries=0)
    assert "check the network" in platform.error
    assert all(status == "pending" for status, *_ in platform.rows.values())


def test_a_few_faults_among_many_do_not_end_the_run(drive):
    videos = [f"v{number:02d}" for number in range(40)]
    platform = drive({video: ["extractor_broken"] for video in videos[::3]}, videos, interval_s=0)
    assert platform.error is None
    assert platform.failed == 14


def test_what_was_recorded_before_a_crash_stays(drive, clock, tmp_path, monkeypatch):
    def interrupted(task):
        if task.recording_id == "b":
            raise KeyboardInterrupt
        return [ClipRow("a_0", "ok")]

    monkeypatch.setattr(jobs, "download_video", interrupted)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add(["a_0", "b_0"])
        driver = Driver(ledger, DownloadSettings(interval_s=0), Inline(), 1, Bar("t", 2, "clips"), clock.time)
        with pytest.raises(KeyboardInterrupt):
            driver.work(iter(tasks("a", "b")))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.clip_ids("ok") == ["a_0"]
        assert ledger.clip_ids("pending") == ["b_0"]


def test_only_the_clips_that_failed_are_asked_for_again(clock, tmp_path, monkeypatch):
    asked = []

    def one_of_two(task):
        asked.append([clip.clip_id for clip in task.clips])
        return [ClipRow(clip.clip_id, "failed", "network") if clip.clip_id == "y" and len(asked) == 1
                else ClipRow(clip.clip_id, "ok") for clip in task.clips]

    monkeypatch.setattr(jobs, "download_video", one_of_two)
    task = VideoTask("v", tuple(WantedClip(name, 0.0, 1.0, name) for name in "xyz"), "/root", DownloadOptions())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        Driver(ledger, DownloadSettings(interval_s=0), Inline(), 1, Bar("t", 3, "clips"), clock.time).work([task])
        assert ledger.counts() == {("ok", ""): 3}
    assert asked == [["x", "y", "z"], ["y"]]


def test_the_breaker_alone(clock):
    breaker = CircuitBreaker(clock.time)
    assert [breaker.record("rate_limited") for _ in range(IN_A_ROW)] == [False, False, True]
    assert breaker.is_probing and breaker.open_until == clock.now + PAUSE_S
    assert breaker.record("") is False
    assert not breaker.is_probing


def test_the_window_needs_enough_verdicts():
    window = FaultWindow(size=10, least=5)
    for _ in range(4):
        window.record("no_format")
    with pytest.raises(EnvironmentFault, match=r"5 of the last 5 videos failed as no_format"):
        window.record("no_format")


def test_backoff_doubles_from_twice_the_interval_and_is_never_under_a_second():
    generator = np.random.default_rng(0)
    waits = [backoff_s("network", tries, 12.0, 0.0, generator) for tries in (1, 2, 3)]
    assert waits == [24.0, 48.0, 96.0]
    assert backoff_s("network", 1, 0.0, 0.0, generator) == SECOND
    assert all(24 <= backoff_s("network", 1, 12.0, 0.5, generator) <= 36 for _ in range(100))


@pytest.mark.parametrize(("reason", "tries", "expected"), [
    ("network", 3, True), ("network", 4, False), ("forbidden", 2, True), ("forbidden", 3, False), ("private", 1, False),
    ("live_or_upcoming", 1, False), ("", 1, False), ("rate_limited", 1, False),
])
def test_what_is_tried_again(reason, tries, expected):
    assert may_retry(reason, tries, retries=3) is expected


def test_a_video_counts_by_its_worst_clip():
    assert worst(["", "too_short", "rate_limited", "network"]) == "rate_limited"
    assert worst(["", "too_short"]) == "too_short"
    assert worst([]) == ""


def test_the_queue_takes_work_lazily_and_what_is_due_again_first():
    taken = []

    def fresh():
        for name in "abc":
            taken.append(name)
            yield name

    queue = Queue(Fresh(fresh()))
    assert queue.pop(0.0) == ("a", 0)
    assert taken == ["a", "b"], "one ahead, no more"
    queue.put("again", 1, ready_at=5.0)
    assert queue.pop(4.0) == ("b", 0)
    assert queue.pop(5.0) == ("again", 1)
    assert queue.pop(6.0) == ("c", 0)
    queue.put("later", 2, ready_at=9.0)
    assert queue.ready_at() == 9.0
    assert queue.pop(9.0) == ("later", 2)
    assert queue.ready_at() == np.inf


VIDEOS = [f"v{number:02d}" for number in range(20)]
PROXIES = ("http://me:secret@first:1", "http://second:1", None)


def several(clock, script, ledger, monkeypatch):
    """Drive several identities; a platform answers at once, by the proxy that it is asked through."""
    asked = []

    def answer(task):
        asked.append((clock.now, task.options.proxy, task.recording_id))
        reason = script.get(task.options.proxy, "")
        return [ClipRow(clip.clip_id, "failed" if reason else "ok", reason) for clip in task.clips]

    monkeypatch.setattr(jobs, "download_video", answer)
    ledger.add(f"{video}_0" for video in VIDEOS)
    pace = DownloadSettings(interval_s=10.0, jitter=0.0)
    return Driver(ledger, pace, Inline(), 1, Bar("t", len(VIDEOS), "clips"), clock.time, PROXIES), asked


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as one:
        yield one


def test_each_identity_keeps_its_own_pace_and_no_video_is_asked_for_twice(clock, ledger, monkeypatch):
    driver, asked = several(clock, {}, ledger, monkeypatch)
    assert driver.work(iter(tasks(*VIDEOS))) == 0
    assert sorted(video for _, _, video in asked) == VIDEOS
    for proxy in PROXIES:
        moments = [moment for moment, by, _ in asked if by == proxy]
        assert len(moments) >= 6 and set(np.diff(moments)) == {10.0}
    assert clock.now == 100.0 + 6 * 10.0


def test_an_identity_that_is_refused_pauses_alone(clock, ledger, monkeypatch):
    driver, asked = several(clock, {PROXIES[0]: "rate_limited"}, ledger, monkeypatch)
    driver.work(iter(tasks(*VIDEOS)))
    before = [by for moment, by, _ in asked if moment < 100.0 + PAUSE_S]
    assert before.count(PROXIES[0]) == IN_A_ROW and len(before) == len(VIDEOS)


def test_an_identity_that_is_taken_for_a_robot_stops_alone_and_is_named_without_its_password(clock, ledger, monkeypatch, caplog):
    driver, asked = several(clock, {PROXIES[0]: "bot_check"}, ledger, monkeypatch)
    with pytest.raises(EnvironmentFault, match=r"^first:1: stopped after 3 bot checks"):
        driver.work(iter(tasks(*VIDEOS)))
    assert ledger.counts() == {("ok", ""): len(VIDEOS) - IN_A_ROW, ("pending", "bot_check"): IN_A_ROW}
    assert len(asked) == len(VIDEOS) and "secret" not in caplog.text and "the other identities go on" in caplog.text
