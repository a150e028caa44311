"""Where a cut really lies, measured on sound that tells the time, and what is said when sound is missing."""

import math
import os
import subprocess
import threading

import numpy as np
import pytest
import soundfile as sf
from made_sounds import delay, encode
from media_server import MediaServer, cut_after, endless

from audiodata import audio, fetch
from audiodata.download import WantedClip, clip_path, cut, download_clip
from audiodata.errors import ClipError, EnvironmentFault
from audiodata.fetch import _first_position, read_span
from audiodata.resolve import Address, DownloadOptions, Source

LENGTH_S = 24
HALF_A_MILLISECOND = 0.0005
# name -> sample rate, encoder
RECORDINGS = {
    "aac.m4a": (44100, ["-c:a", "aac", "-b:a", "128k"]),
    "index_first.m4a": (48000, ["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"]),
    "opus.webm": (48000, ["-c:a", "libopus", "-b:a", "96k", "-cluster_time_limit", "10000"]),
    "vorbis.webm": (44100, ["-c:a", "libvorbis"]),
    "vorbis.ogg": (44100, ["-c:a", "libvorbis"]),
    "vbr.mp3": (44100, ["-c:a", "libmp3lame", "-q:a", "4"]),
    "flac.flac": (48000, ["-c:a", "flac"]),
}


def stepped_tone(sample_rate):
    """Another frequency each second, with steps at whole seconds; float32 [channel, sample]."""
    second = np.arange(sample_rate) / sample_rate
    steps = [0.4 * np.sin(2 * np.pi * (300 + (number * 397) % 2900) * second) for number in range(LENGTH_S)]
    return np.concatenate(steps).astype(np.float32)[np.newaxis]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Content by name, of those that this ffmpeg can encode."""
    folder = tmp_path_factory.mktemp("recordings")
    return {
        name: encode(folder / name, stepped_tone(rate), rate, encoder).read_bytes()
        for name, (rate, encoder) in RECORDINGS.items()
    }


@pytest.fixture(scope="module")
def server(recordings):
    with MediaServer(dict(recordings)) as running:
        yield running


def source(server, name, duration_s=None):
    return Source(Address(server.template.replace("{id}", name)), duration_s, {})


def offset_s(waveform, rate, start_s):
    """Seconds by which a cut begins later than it should, from the tone's steps."""
    reference = stepped_tone(rate)[0, round(start_s * rate) :][: waveform.shape[1]]
    return -delay(waveform[0], reference) / rate


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_cut_is_right_to_a_millisecond_and_has_every_sample(server, tmp_path, name):
    rate = RECORDINGS[name][0]
    generator = np.random.default_rng(len(name))
    for start_s in (0.0, 0.3, 12.5, round(generator.uniform(5, LENGTH_S - 5), 3)):
        clip = WantedClip(f"{name}-{start_s}", float(start_s), 5.0, f"{start_s}.flac")
        path = download_clip(source(server, name), clip, tmp_path, DownloadOptions())
        waveform, got_rate = audio.decode(path)
        assert (got_rate, waveform.shape) == (rate, (1, 5 * rate))
        assert np.abs(waveform[0, : rate // 100]).max() > 0.2, "sound from the first sample on"
        assert abs(offset_s(waveform, rate, start_s)) < HALF_A_MILLISECOND, f"{name} at {start_s} s"


def test_a_server_that_falls_silent_holds_no_ffmpeg_whose_worker_was_killed(recordings):
    """Then nobody is there who would end it."""
    body, over = recordings["aac.m4a"], threading.Event()

    def fall_silent(handler, body):
        handler.start(200, len(body), "audio/mp4")
        handler.end_headers()
        handler.wfile.write(body[:20_000])
        over.wait()

    with MediaServer({"silent": body}) as server:
        server.script("silent", fall_silent, repeat=True)
        command = fetch._command(Address(server.template.replace("{id}", "silent")), 1, 5.0, 0.5)
        try:
            done = subprocess.run(command, env=fetch._environment(None), capture_output=True, timeout=120, check=False)  # it ends by itself
        finally:
            over.set()
    assert done.stderr


@pytest.mark.parametrize("said", ["n:4 pts:1024 rate:8000 nb_samples:64 checksum:00C0FFEE ", "plane_checksums: [ ", "DEADBEEF ", "]", ""])
def test_what_ffmpeg_says_between_the_pieces_of_a_frames_line_is_heard(said):
    """It decides whether a clip is tried again: a broken connection also damages the last packet."""
    log = f"[Parsed_ashowinfo_0 @ 0x55ee] {said}Stream ends prematurely at 20000, should be 107011\n[aac @ 0x5] Invalid data found"
    assert fetch._complaint(f"{log} when processing input") == ("network", "Stream ends prematurely at 20000, should be 107011")
    frame = "[Parsed_ashowinfo_0 @ 0x55ee] n:4 pts:1024 fmt:fltp rate:8000 nb_samples:64 checksum:00C0FFEE plane_checksums: [ DEADBEEF 00C0FFEE ]"
    assert fetch._complaint(f"{frame}\n    comment : connection refused, HTTP error 404") == ("", "")


def test_most_bytes_stay_where_they_are(server, recordings, tmp_path):
    before = len(server.requests)
    download_clip(source(server, "opus.webm"), WantedClip("x", 21.0, 2.0, "x.flac"), tmp_path, DownloadOptions())
    ranges = [request.headers["Range"].removeprefix("bytes=") for request in server.requests[before:]]
    size = len(recordings["opus.webm"])
    assert any(0.4 * size < int(text.split("-")[0]) < 0.9 * size for text in ranges), ranges


def test_the_file_is_as_the_catalog_has_it_and_a_cut_is_no_edge_to_the_resampler(server, tmp_path):
    clip = WantedClip("x", 12.5, 5.0, "x.flac")
    path = download_clip(source(server, "flac.flac"), clip, tmp_path, DownloadOptions(sample_rate=16000))
    waveform, rate = audio.decode(path)
    assert (rate, waveform.shape) == (16000, (1, 80000))
    whole = audio.resample(stepped_tone(48000), 48000, 16000)[:, 200000:280000]
    assert np.max(np.abs(waveform - whole)) < 2 / 32768, "as if the whole recording had been resampled"


def test_stereo_becomes_mono_or_stays(tmp_path):
    left, right = stepped_tone(16000), np.zeros_like(stepped_tone(16000))
    clip = WantedClip("x", 3.0, 2.0, "x.flac")
    content = encode(tmp_path / "s.ogg", np.concatenate([left, right]), 16000).read_bytes()
    with MediaServer({"stereo": content}) as server:
        mono = audio.decode(download_clip(source(server, "stereo"), clip, tmp_path, DownloadOptions()))[0]
        both = audio.decode(download_clip(source(server, "stereo"), clip, tmp_path, DownloadOptions(channels=None)))[0]
    assert (mono.shape, both.shape) == ((1, 32000), (2, 32000))
    assert np.allclose(mono[0], both.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "vorbis.ogg", "vbr.mp3"])
@pytest.mark.parametrize(("start_s", "reason"), [(LENGTH_S - 3.0, "too_short"), (LENGTH_S + 6.0, "past_end"), (LENGTH_S + 40.0, "past_end")])
def test_a_span_that_the_recording_does_not_have(server, tmp_path, name, start_s, reason):
    with pytest.raises(ClipError) as caught:
        download_clip(source(server, name), WantedClip("x", start_s, 10.0, "a/x.flac"), tmp_path, DownloadOptions())
    assert caught.value.reason == reason
    if reason == "too_short":
        assert "measured 3.0" in caught.value.message, "the seconds that are there are kept"
    assert not list(tmp_path.rglob("*.*"))


def test_a_span_past_the_stated_end_is_not_asked_for(server, tmp_path):
    before = len(server.requests)
    with pytest.raises(ClipError) as caught:
        clip = WantedClip("x", 24.0, 10.0, "x.flac")
        download_clip(source(server, "aac.m4a", duration_s=24.0), clip, tmp_path, DownloadOptions())
    assert caught.value.reason == "past_end"
    assert len(server.requests) == before


def test_a_little_less_than_asked_for_is_accepted_and_nothing_is_added(server, tmp_path):
    clip = WantedClip("x", LENGTH_S - 4.95, 5.0, "x.flac")
    waveform, rate = audio.decode(download_clip(source(server, "flac.flac"), clip, tmp_path, DownloadOptions()))
    assert waveform.shape[1] == round(4.95 * rate)
    assert np.abs(waveform[0, -1000:]).max() > 0.1


def test_a_clip_without_an_end_goes_to_the_end(server, tmp_path):
    clip = WantedClip("x", 20.0, None, "x.flac")
    waveform, rate = audio.decode(download_clip(source(server, "vorbis.ogg"), clip, tmp_path, DownloadOptions()))
    assert waveform.shape[1] / rate == pytest.approx(LENGTH_S - 20, abs=0.05)


@pytest.mark.parametrize(("name", "keep"), [("index_first.m4a", 0.5), ("opus.webm", 0.5), ("index_first.m4a", 0.8)])
def test_a_file_cut_short_is_not_a_short_recording(recordings, tmp_path, name, keep):
    content = recordings[name]
    clip = WantedClip("x", LENGTH_S * keep - 3, 10.0, "x.flac")
    with MediaServer({name: content[: int(len(content) * keep)]}) as server, pytest.raises(ClipError) as caught:
        download_clip(source(server, name), clip, tmp_path, DownloadOptions())
    assert caught.value.reason == "truncated"


def test_a_connection_that_breaks_is_the_networks_fault(recordings, tmp_path):
    with MediaServer({"a": recordings["index_first.m4a"]}) as server:
        server.script("a", cut_after(60000), repeat=True)
        with pytest.raises(ClipError) as caught:
            download_clip(source(server, "a"), WantedClip("x", 12.0, 10.0, "x.flac"), tmp_path, DownloadOptions())
        server.script("a")
        download_clip(source(server, "a"), WantedClip("x", 12.0, 10.0, "x.flac"), tmp_path, DownloadOptions())
    assert caught.value.reason == "network"
    assert "measured" in caught.value.message


@pytest.mark.parametrize("content", [b"this is text, not sound\n" * 500, b"\x1aE\xdf\xa3" + bytes(5000)])
def test_what_is_no_sound(tmp_path, content):
    with MediaServer({"a": content}) as server, pytest.raises(ClipError) as caught:
        download_clip(source(server, "a"), WantedClip("x", 0.0, 10.0, "x.flac"), tmp_path, DownloadOptions())
    assert caught.value.reason == "undecodable"


def test_a_picture_without_sound(tmp_path):
    video = tmp_path / "v.webm"
    arguments = ["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=2"]
    subprocess.run([audio.find_ffmpeg(), *arguments, "-c:v", "libvpx", str(video)], check=True, capture_output=True)
    with MediaServer({"a": video.read_bytes()}) as server, pytest.raises(ClipError) as caught:
        download_clip(source(server, "a"), WantedClip("x", 0.0, 1.0, "x.flac"), tmp_path, DownloadOptions())
    assert caught.value.reason == "undecodable"


def test_a_recording_may_not_lead_to_local_files(tmp_path):
    """A playlist that names a file of this machine is not followed."""
    sf.write(tmp_path / "secret.wav", np.zeros(16000), 16000)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    with MediaServer({"a.m3u8": playlist.encode()}) as server, pytest.raises(ClipError):
        download_clip(source(server, "a.m3u8"), WantedClip("x", 0.0, 0.5, "x.flac"), tmp_path, DownloadOptions())
    assert not (tmp_path / "x.flac").exists()


def test_no_ffmpeg_is_left_behind(server, tmp_path):
    """The process group of a clip that takes too long is gone when the error is raised."""
    with MediaServer({"a": b"\x1aE\xdf\xa3" + bytes(100)}) as slow:
        slow.script("a", endless, repeat=True)
        address = Address(slow.template.replace("{id}", "a"))
        with pytest.raises(ClipError, match="did not arrive"):
            read_span(address, 0, 1, over_read_s=0.1, timeout_s=0.5)
        command = ["ps", "-ww", "-o", "args=", "--ppid", str(os.getpid())]
        children = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert address.url not in children


@pytest.mark.parametrize("path", ["../x.flac", "/x.flac", "a/../../x.flac", "", "a\\b.flac"])
def test_a_path_that_leaves_the_root_is_refused(tmp_path, path):
    with pytest.raises(ClipError):
        clip_path(tmp_path, path)


def test_a_folder_that_can_not_be_made_is_one_line(server, tmp_path):
    (tmp_path / "clips").write_text("a file where a folder should be")
    with pytest.raises(EnvironmentFault, match="clips"):
        clip = WantedClip("x", 0.0, 1.0, "clips/x.flac")
        download_clip(source(server, "flac.flac"), clip, tmp_path, DownloadOptions())


def test_cut_from_a_waveform_that_begins_late():
    waveform = np.ones((1, 1000), dtype=np.float32)
    clip = WantedClip("x", 1.0, 1.0, "x.flac")
    assert cut(waveform, 1000, 1000, clip, 1000, 0.1).shape == (1, 1000)
    late = cut(waveform, 1000, 1050, clip, 1000, 0.1)
    assert late[0, :50].tolist() == [0] * 50 and late[0, 50:].min() == 1
    with pytest.raises(ClipError, match=r"sets in at 1\.200 s"):
        cut(waveform, 1000, 1200, clip, 1000, 0.1)
    with pytest.raises(ClipError, match=r"measured 0\.800 s, expected 1\.000 s"):
        cut(waveform, 1000, 800, clip, 1000, 0.1)


def test_the_first_position_is_voted_for_and_a_gap_is_noticed():
    frames = [(100 + 960 * number, 1, 48000, 960) for number in range(20)]
    assert _first_position(frames, is_opus=False) == 100
    assert _first_position([(0, 1, 48000, 960), *frames[1:]], is_opus=False) == 100, "one wrong stamp after a seek"
    with pytest.raises(ClipError, match="a gap"):
        _first_position(frames[:10] + [(pts + 48000, *rest) for pts, *rest in frames[10:]], is_opus=False)


def test_opus_snaps_to_its_grid_only_where_the_decoder_has_dropped_its_delay():
    dropped = [(480048, 1, 48000, 648), (480696, 1, 48000, 960)]
    assert _first_position(dropped, is_opus=True) == 480000
    assert _first_position(dropped, is_opus=False) == 480048
    kept = [(480048, 1, 48000, 960), (481008, 1, 48000, 960)]
    assert _first_position(kept, is_opus=True) == 480048


def test_resampling_keeps_time_at_odd_rates():
    rate, to_rate = 44100, 16000
    clip = WantedClip("x", 7.123, 3.0, "x.flac")
    piece = cut(stepped_tone(rate)[:, 5 * rate :], rate, 5 * rate, clip, to_rate, 0.1)
    assert piece.shape == (1, 48000)
    assert abs(offset_s(piece, to_rate, 7.123)) <= 1 / to_rate
    assert math.isclose(float(np.abs(piece).max()), 0.4, abs_tol=0.1)
