"""FLAC files: what is written, and that nothing half-written ever has a final name."""

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from made_sounds import noise, tone

from audiodata import audio
from audiodata.audio import decode, write_flac
from audiodata.errors import ClipError, EnvironmentFault

RATE = 16000


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_has_the_bits_comes_back_bit_for_bit(tmp_path, subtype, bits, channels):
    steps = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (channels, 5000))
    waveform = (steps / 2.0 ** (bits - 1)).astype(np.float32)
    assert write_flac(tmp_path / "a.flac", waveform, RATE, subtype) == 0
    back, rate = decode(tmp_path / "a.flac")
    assert rate == RATE
    assert sf.info(tmp_path / "a.flac").subtype == subtype
    np.testing.assert_array_equal(back, waveform)


def test_rounding_is_to_the_nearest_step(tmp_path):
    waveform = noise(0, 10000)
    write_flac(tmp_path / "a.flac", waveform, RATE)
    assert np.abs(decode(tmp_path / "a.flac")[0] - waveform).max() <= 0.5 / 32768 + 1e-9


def test_what_is_beyond_full_scale_is_clipped_and_counted(tmp_path):
    waveform = tone(100, 1.04, RATE)
    beyond = int((np.abs(waveform) > 1).sum())
    assert write_flac(tmp_path / "a.flac", waveform, RATE) == beyond > 0
    back, _ = decode(tmp_path / "a.flac")
    assert np.abs(back - np.clip(waveform, -1, 1)).max() < 1.01 / 32768


def test_equal_input_gives_equal_files(tmp_path):
    for name in ("a.flac", "b.flac"):
        write_flac(tmp_path / name, noise(0, 10000), RATE)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path):
    write_flac(tmp_path / "a.flac", noise(0, 1000), RATE)
    write_flac(tmp_path / "a.flac", noise(0, 500), RATE)
    assert decode(tmp_path / "a.flac")[0].shape == (1, 500)
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


@pytest.mark.parametrize(
    ("waveform", "rate", "reason"),
    [
        (np.zeros((1, 0), np.float32), RATE, "empty"),
        (np.full((1, 9), np.nan, np.float32), RATE, "not_finite"),
        (np.full((1, 9), np.inf, np.float32), RATE, "not_finite"),
        (noise(0, 100, channels=9), RATE, "wrong_channels"),
        (noise(0, 100), 700001, "wrong_rate"),
    ],
)
def test_what_flac_can_not_hold_is_refused(tmp_path, waveform, rate, reason):
    with pytest.raises(ClipError) as caught:
        write_flac(tmp_path / "a.flac", waveform, rate)
    assert caught.value.reason == reason
    assert list(tmp_path.iterdir()) == []


def _failing(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failure_at_any_step_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_flac(tmp_path / "a.flac", noise(0, 1000), RATE)
    before = (tmp_path / "a.flac").read_bytes()
    for owner, step in ((os, "fsync"), (Path, "replace"), (audio, "_check_reads_back")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, _failing)
            with pytest.raises(EnvironmentFault, match="No space left on device"):
                write_flac(tmp_path / "a.flac", noise(1, 2000), RATE)
        assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]
        assert (tmp_path / "a.flac").read_bytes() == before


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(audio, "_check_reads_back", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_flac(tmp_path / "a.flac", noise(0, 100), RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: content[:-3] + b"abc"])
def test_what_does_not_read_back_gets_no_final_name(tmp_path, monkeypatch, damage):
    real = audio._flac_content
    monkeypatch.setattr(audio, "_flac_content", lambda *arguments: damage(real(*arguments)))
    with pytest.raises(EnvironmentFault, match="does not read back"):
        write_flac(tmp_path / "a.flac", noise(0, 20000), RATE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(EnvironmentFault, match="can't be written"):
        write_flac(tmp_path / "no" / "a.flac", noise(0, 100), RATE)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True).returncode:
        pytest.skip("a small file system can't be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_line_and_nothing_is_left(small_disk):
    write_flac(small_disk / "a.flac", noise(0, 8000), RATE)
    with pytest.raises(EnvironmentFault) as caught:
        write_flac(small_disk / "b.flac", noise(1, 80000), RATE)
    assert str(caught.value).startswith(f"{small_disk / 'b.flac'}: can't be written (No space left on device)")
    assert [path.name for path in small_disk.iterdir()] == ["a.flac"]
