"""Files in, samples out: every format, every span, exact to the sample."""

import csv
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sounds import ENCODINGS, chirp, delay, encode, noise, tone

from audiodata import audio, ffmpeg
from audiodata.audio import decode, read_clip
from audiodata.errors import ClipError, EnvironmentFault

RATE = 48000
LOSSLESS = {"wav", "flac", "aiff", "mkv", "w64", "au", "caf"}
UNSTATED_DELAY = {"aac"}  # a bare stream has nowhere to state the encoder's delay


@pytest.fixture(scope="module")
def sweep():
    return np.round(chirp(RATE, 3.0) * 32768) / np.float32(32768)


@pytest.fixture(scope="module")
def files(sweep, tmp_path_factory):
    """One file a format, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("formats"), {}

    def get(ending):
        if ending not in made:
            path = folder / f"sweep.{ending}"
            if ending in ENCODINGS:
                encode(path, sweep, RATE)
            else:
                sf.write(path, sweep.T, RATE, subtype="PCM_16")
            made[ending] = path
        return made[ending]

    return get


@pytest.mark.parametrize("ending", sorted(LOSSLESS))
def test_lossless_formats_give_the_samples_back(files, sweep, ending):
    waveform, rate = decode(files(ending))
    assert rate == RATE
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    assert waveform.flags.writeable
    np.testing.assert_array_equal(waveform, sweep)


@pytest.mark.parametrize("ending", sorted(set(ENCODINGS) - LOSSLESS - UNSTATED_DELAY))
def test_lossy_formats_keep_length_place_and_level(files, sweep, ending):
    waveform, rate = decode(files(ending))
    assert rate == RATE
    assert waveform.shape == sweep.shape
    assert delay(waveform[0], sweep[0]) == 0
    assert np.std(waveform) == pytest.approx(np.std(sweep), rel=0.06)  # LAME takes 5 % off on purpose


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_libsndfile_and_ffmpeg_agree(files, ending):
    by_ffmpeg = ffmpeg.read_through_ffmpeg(files(ending), lambda rate: (1000, 50000), "clip")
    assert (by_ffmpeg.sample_rate, by_ffmpeg.start) == (RATE, 1000)
    by_libsndfile = decode(files(ending))[0][:, 1000:51000]
    np.testing.assert_allclose(by_ffmpeg.waveform, by_libsndfile, atol=0 if ending in LOSSLESS else 2e-5)


@pytest.mark.parametrize("ending", sorted({*LOSSLESS, *ENCODINGS}))
def test_a_span_is_a_slice_of_the_whole(files, ending):
    whole, _ = decode(files(ending))
    rng = np.random.default_rng(5)
    spans = [(0.0, 0.5), (0.1, 1.0), (2.5, 0.25), (1.23456, 0.7)]
    if ending in {"wav", "flac", "ogg", "mp3", "opus"}:  # no process to start: more of them are cheap
        spans += [(float(start), 0.02) for start in (*rng.uniform(0, 2.9, 20), *rng.uniform(2.7, 2.98, 20))]
    for start_s, duration_s in spans:
        cut, _ = read_clip(files(ending), start_s, duration_s)
        start, count = math.floor(start_s * RATE + 0.5), math.floor(duration_s * RATE + 0.5)
        np.testing.assert_array_equal(cut, whole[:, start : start + count])


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "m4a", "webm"])
def test_cut_positions_are_exact_to_the_sample(files, sweep, ending):
    cut, _ = read_clip(files(ending), 1.25, 1.0)
    assert cut.shape == (1, RATE)
    wanted = sweep[0, RATE * 5 // 4 : RATE * 9 // 4]
    assert delay(cut[0], wanted) == 0


def test_a_span_to_the_end(files, sweep):
    cut, _ = read_clip(files("flac"), 2.0, math.nan)
    np.testing.assert_array_equal(cut, sweep[:, 2 * RATE :])


@pytest.mark.parametrize("ending", ["wav", "ogg", "m4a"])
def test_a_span_that_reaches_past_the_end_gives_what_is_there(files, ending):
    cut, _ = read_clip(files(ending), 2.5, 10.0)
    assert cut.shape == (1, RATE // 2)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "m4a", "webm"])
def test_a_span_past_the_end_is_an_error(files, ending):
    with pytest.raises(ClipError, match=r"begins at 3\.500 s, the file ends at 3\.000 s") as caught:
        read_clip(files(ending), 3.5, 1.0)
    assert caught.value.reason == "past_end"


def test_a_span_under_half_a_sample_is_empty(files):
    with pytest.raises(ClipError) as caught:
        read_clip(files("wav"), 1.0, 1e-6)
    assert caught.value.reason == "empty"


def test_a_span_before_the_start_is_a_bug(files):
    with pytest.raises(ValueError, match="before"):
        read_clip(files("wav"), -0.5, 1.0)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "m4a"])
def test_bytes_decode_like_the_file(files, ending):
    from_file, rate = decode(files(ending))
    from_bytes, same_rate = decode(files(ending).read_bytes(), name="upload")
    assert same_rate == rate
    np.testing.assert_array_equal(from_bytes, from_file)


ODD_NAMES = ["-y.m4a", "a b.m4a", "pipe:1.m4a", "%03d.m4a", "x';rm -rf y.m4a", "ü\n.m4a", "c.wav", "noending"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_and_endings_have_no_say(files, sweep, tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(files("m4a").read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        assert decode(path)[0].shape == sweep.shape


@pytest.mark.parametrize("name", ["clip.raw", "clip.mp3", "clip.vox"])
def test_a_wav_under_another_ending_is_a_wav(tmp_path, name):
    waveform = tone(440, 0.5, 16000)
    sf.write(tmp_path / "a.wav", waveform.T, 16000, subtype="FLOAT")
    (tmp_path / "a.wav").rename(tmp_path / name)
    np.testing.assert_array_equal(decode(tmp_path / name)[0], waveform)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_wav_subtypes_equal_libsndfile(tmp_path, subtype):
    sf.write(tmp_path / "a.wav", noise(0, 5000, channels=2).T, 8000, subtype=subtype)
    expected, _ = sf.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(decode(tmp_path / "a.wav")[0], expected.T)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("ending", ["wav", "flac", "mkv"])
def test_channels_keep_their_order(tmp_path, channels, ending):
    waveform = np.round(noise(1, 4000, channels) * 32768) / np.float32(32768)
    path = tmp_path / f"a.{ending}"
    if ending == "mkv":
        encode(path, waveform, 16000)
    else:
        sf.write(path, waveform.T, 16000, subtype="PCM_16")
    decoded, _ = decode(path)
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, waveform)


def test_what_exceeds_full_scale_is_kept(tmp_path):
    waveform = tone(100, 1.6, 16000)
    sf.write(tmp_path / "a.wav", waveform.T, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "a.wav")[0], waveform)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_files_written_into_a_pipe_have_no_stated_length_and_are_fine(files, sweep, kind):
    command = [audio.find_ffmpeg(), "-nostdin", "-loglevel", "error", "-i", str(files("wav")), "-f", kind, "pipe:1"]
    streamed = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\xff\xff\xff\xff" in streamed[:8] or streamed[21:26][1:] == b"\0\0\0\0"
    np.testing.assert_array_equal(decode(streamed)[0], sweep)
    np.testing.assert_array_equal(read_clip(streamed, 1.0, 0.5)[0], sweep[:, RATE : RATE * 3 // 2])


def test_an_mp3_without_stated_length_is_read_to_its_end(tmp_path, sweep):
    path = encode(tmp_path / "a.mp3", sweep, RATE, ["-c:a", "libmp3lame", "-q:a", "2", "-write_xing", "0"])
    waveform, _ = decode(path)
    assert sweep.shape[1] <= waveform.shape[1] < sweep.shape[1] + 3 * 1152
    assert 0 < delay(waveform[0], sweep[0]) < 1200  # the encoder's delay, which nothing states


@given(st.integers(0, 159), st.integers(1, 200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spans_of_a_wav(tmp_path, start, count):
    path = tmp_path / "a.wav"
    waveform = np.round(noise(0, 160) * 32768) / np.float32(32768)
    if not path.exists():
        sf.write(path, waveform.T, 16000)
    cut, _ = read_clip(path, start / 16000, count / 16000)
    np.testing.assert_array_equal(cut, waveform[:, start : start + count])


def test_only_the_sound_of_a_video_is_read(tmp_path, sweep):
    encode(tmp_path / "a.m4a", sweep, RATE)
    picture = ["-f", "lavfi", "-i", "color=s=16x16:d=3", "-i", str(tmp_path / "a.m4a"), "-c:a", "copy"]
    command = [audio.find_ffmpeg(), "-nostdin", "-loglevel", "error", *picture, str(tmp_path / "a.mkv")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this ffmpeg can't make a test video")
    assert abs(decode(tmp_path / "a.mkv")[0].shape[1] - sweep.shape[1]) < 2048


def test_ffmpeg_states_its_version():
    assert audio.ffmpeg_version()
    assert " " not in audio.ffmpeg_version()


def test_the_systems_ffmpeg_comes_first(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'ffmpeg version 5.1-made Copyright'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert audio.find_ffmpeg() == str(program)
    assert audio.ffmpeg_version() == "5.1-made"


def test_without_any_ffmpeg_the_message_says_what_to_do(monkeypatch, files):
    def none():
        raise RuntimeError("No ffmpeg exe could be found.")

    path = files("m4a")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(ffmpeg.imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(EnvironmentFault, match="install ffmpeg"):
        decode(path)


def test_an_ffmpeg_that_does_not_run_is_the_environments_fault(tmp_path, monkeypatch, files):
    path = files("m4a")
    (tmp_path / "ffmpeg").write_text("not a program")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (audio.ffmpeg_version, lambda: decode(path)):
        with pytest.raises(EnvironmentFault, match="does not run"):
            call()


def test_an_ffmpeg_that_hangs_is_stopped(tmp_path, monkeypatch, files):
    path = files("m4a")
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ClipError, match="did not end in time"):
        ffmpeg.read_through_ffmpeg(path, lambda rate: (0, None), "clip", timeout_s=0.2)


def test_real_recordings_decode_to_their_known_lengths(shared_data):
    """Lengths as the data set's description has them."""
    folder = shared_data / "environmental_sounds"
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as table:
        paths = [folder / row["file"] for row in csv.DictReader(table)]
    lengths, peak = {}, 0.0
    for path in paths:
        waveform, rate = decode(path)
        assert (waveform.shape[0], rate) == (1, 44100)
        lengths[path.name] = waveform.shape[1]
        peak = max(peak, float(np.abs(waveform).max()))
    assert len(lengths) == 238
    assert sum(length != 220544 for length in lengths.values()) == 14
    assert min(lengths, key=lengths.get) == "3-104632-A.ogg"
    assert max(lengths, key=lengths.get) == "1-17808-B.ogg"
    assert lengths["3-104632-A.ogg"] / 44100 == pytest.approx(4.962, abs=5e-4)
    assert lengths["1-172649-F.ogg"] / 44100 == pytest.approx(7.001, abs=5e-4)
    assert peak == pytest.approx(1.04, abs=0.005)


def test_real_vorbis_spans_are_slices_of_the_whole(shared_data):
    path = shared_data / "environmental_sounds" / "001 - Dog bark" / "3-155312-A.ogg"
    whole, rate = decode(path)
    for start_s in np.random.default_rng(0).uniform(4.0, 4.9, 10):  # where a seek would go wrong
        cut, _ = read_clip(path, float(start_s), 0.1)
        start = math.floor(start_s * rate + 0.5)
        np.testing.assert_array_equal(cut, whole[:, start : start + 4410])


def test_real_digits_decode_to_their_known_lengths(shared_data):
    lengths = set()
    for path in (shared_data / "spoken_digits" / "recordings").glob("*.wav"):
        waveform, rate = decode(path)
        assert (waveform.shape[0], rate) == (1, 8000)
        lengths.add(waveform.shape[1])
    assert (min(lengths), max(lengths)) == (1149, 10504)
