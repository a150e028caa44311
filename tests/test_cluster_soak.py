"""A short soak: a few kills at random moments, and nothing is lost. The long one is ``tests/benchmarks/soak.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")
pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (extra `youtube`)")
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes that are to be killed in /proc")
def test_nothing_is_lost_when_drivers_workers_and_the_scheduler_are_killed():
    words = ["--kills", 5, "--pause", 2, "--sounds", 2, "--videos", 17, "--seed", 26]
    command = [sys.executable, ROOT / "tests" / "benchmarks" / "soak.py", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills survived: 5, losses: 0, duplicate rows: 0, problems: 0" in done.stdout
