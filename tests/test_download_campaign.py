"""What a download is going to cost, before it starts."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from audiodata import jobs
from audiodata.catalog import DownloadSettings
from audiodata.clips import clips_table
from audiodata.ledger import attrition
from pipelines.__main__ import app
from pipelines.campaign import ENOUGH, PUBLISHED_LOSS, estimate, expected_losses
from pipelines.download_plan import plan


def campaign(root, clips=1000, known=(), identities=1, **pace):
    """Half the clips are of class Dog, and two clips lie in each video."""
    candidates = clips_table({
        "clip_id": [f"c{number:05d}" for number in range(clips)],
        "path": [f"c{number:05d}.flac" for number in range(clips)],
        "recording_id": [f"v{number // 2:05d}" for number in range(clips)],
        "duration_s": [10.0] * clips,
        "label": ["Dog", "Rain"] * (clips // 2),
    }).assign(split="")
    ledger = pd.DataFrame(list(known), columns=["clip_id", "status", "reason"])
    status = np.array(["pending"] * clips, dtype=object)
    status[: len(ledger)] = ledger["status"]
    settings = DownloadSettings(**pace)
    return estimate(plan(candidates, status, interval_s=settings.interval_s), ledger, candidates, settings, identities, root)


def test_days_are_videos_times_the_pace_over_the_identities(tmp_path):
    assert campaign(tmp_path, interval_s=86.4).days == pytest.approx(0.5)  # 500 videos
    assert campaign(tmp_path, interval_s=86.4, identities=4).days == pytest.approx(0.125)


def test_without_a_ledger_the_published_loss_counts(tmp_path):
    found = campaign(tmp_path)
    assert found.losses.loc["Dog"].tolist() == [500, *PUBLISHED_LOSS, 0]
    assert found.losses.loc["all", "asked"] == found.clips == 1000
    seconds = 1000 * 10 * (1 - np.mean(PUBLISHED_LOSS))
    assert (found.size, found.measured_files) == (round(seconds * 48_000 * 2), 0)  # 48 kHz, 16 bits, one channel


def test_a_class_with_enough_clips_tells_its_own_loss_and_the_others_that_of_all():
    labels = {f"d{number}": "Dog" for number in range(200)} | {f"r{number}": "Rain" for number in range(20)}
    rows = [(clip_id, "failed" if number % 4 == 0 else "ok", "private" if number % 4 == 0 else "") for number, clip_id in enumerate(labels)]
    so_far = attrition(pd.DataFrame(rows, columns=["clip_id", "status", "reason"]), labels)
    losses = expected_losses(so_far, pd.Series({"Dog": 100, "Rain": 300, "Bell": 100}))
    assert losses.loc["Dog"].tolist() == [100, 0.25, 0.25, 200]
    assert losses.loc["Rain", "settled"] == losses.loc["Bell", "settled"] == 220 >= ENOUGH > 20
    assert losses.loc["all"].tolist() == [500, 0.25, 0.25, 220]


def test_a_few_clips_tell_nothing_yet():
    labels = {f"d{number}": "Dog" for number in range(ENOUGH - 1)}
    so_far = attrition(pd.DataFrame([(name, "failed", "private") for name in labels], columns=["clip_id", "status", "reason"]), labels)
    assert expected_losses(so_far, pd.Series({"Dog": 10})).loc["Dog"].tolist() == [10, *PUBLISHED_LOSS, 0]


def test_bytes_are_those_of_the_files_that_are_there(tmp_path):
    known = [(f"c{number:05d}", "ok", "") for number in range(100)]
    for clip_id, _, _ in known:
        (tmp_path / f"{clip_id}.flac").write_bytes(bytes(5000))
    found = campaign(tmp_path, known=known)
    assert found.measured_files == 100
    assert found.losses.loc["all", ["least_lost", "most_lost"]].tolist() == [0.0, 0.0]
    assert found.size == 900 * 5000


def test_nothing_left_is_no_campaign(tmp_path):
    found = campaign(tmp_path, 10, [(f"c{number:05d}", "ok", "") for number in range(10)])
    assert (found.clips, found.videos, found.days, found.size) == (0, 0, 0, 0)


def test_the_command_prints_the_campaign_and_stops(tmp_path, monkeypatch):
    (tmp_path / "ontology.json").write_text('[{"id": "/m/1", "name": "Dog", "child_ids": []}, {"id": "/m/2", "name": "Rain", "child_ids": []}]')
    rows = [f'{number:011d}, 0.000, 10.000, "/m/{1 + number % 2}"' for number in range(100)]
    (tmp_path / "all_segments.csv").write_text("# a\n# b\n# YTID, start_seconds, end_seconds, positive_labels\n" + "\n".join(rows) + "\n")
    (tmp_path / "c.toml").write_text(
        '[dataset]\nname = "audioset"\nsegments = ["all_segments.csv"]\n[select]\nclasses = ["Dog", "Rain"]\n'
        "[download]\ninterval_s = 864.0\n[features.log_mel]\nwindow_length = 512\nhop_length = 256\nn_mels = 8\n"
    )
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(jobs, "download_video", lambda task: pytest.fail("asked for a video"))
    command = ["download", str(tmp_path / "c.toml"), "--data", str(tmp_path), "--plan", "--identities", "2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    told = " ".join(done.output.split())
    assert "to ask for: 100 clips of 100 videos; expected loss: 15.0% to 20.0%, as published for AudioSet" in told
    assert "time: 0.5 days at least, with 2 network identities" in told
    assert sorted(tmp_path.iterdir()) == before
