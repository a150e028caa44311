"""Files that are missing, cut, damaged or no sound: one clear line each, never a traceback, never a wrong sample."""

import io
import os
import re
import struct
import subprocess

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sounds import chirp, encode, noise

from audiodata.audio import decode, find_ffmpeg, read_clip
from audiodata.containers import container, shortfall
from audiodata.errors import ClipError

RATE = 16000


def refusal(source, **options):
    """The error that a source gives; its message is one line that names the file."""
    with pytest.raises(ClipError) as caught:
        decode(source, **options)
    message = caught.value.message
    assert message.isprintable()
    assert message.startswith(options.get("name", ""))
    return caught.value


@pytest.fixture(scope="module")
def sweep():
    return np.round(chirp(RATE, 2.0) * 32768) / np.float32(32768)


@pytest.fixture(scope="module")
def encoded(sweep, tmp_path_factory):
    """Content of one file a format."""
    folder = tmp_path_factory.mktemp("whole")

    def get(ending, *arguments):
        path = folder / f"a.{ending}"
        if ending in {"wav", "flac", "aiff", "au"}:
            sf.write(path, sweep.T, RATE, subtype="PCM_16")
        else:
            encode(path, sweep, RATE, list(arguments) or None)
        return path.read_bytes()

    return get


def test_a_missing_file(tmp_path):
    error = refusal(tmp_path / "a.wav")
    assert (error.reason, error.message) == ("missing_file", "a.wav: no such file")
    assert refusal(tmp_path / "no folder" / "a.wav").reason == "missing_file"


def test_a_folder_and_a_device_are_not_files(tmp_path):
    assert refusal(tmp_path).reason == "unreadable"
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal(tmp_path / "pipe.wav").reason == "unreadable"


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    sf.write(path, noise(0, 100).T, RATE)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    error = refusal(path)
    assert (error.reason, error.message) == ("unreadable", "a.wav: can't be read (Permission denied)")


def test_an_empty_file():
    assert refusal(b"", name="a.flac").reason == "empty"


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_without_samples(tmp_path, ending):
    sf.write(tmp_path / f"a.{ending}", np.zeros((0, 1)), RATE)
    assert refusal(tmp_path / f"a.{ending}").reason == "empty"


TEXTS = ["<!DOCTYPE html>\n<html>", "video unavailable", '{"error": 404}', "ä" * 400, "#EXTM3U\n/etc/passwd"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_instead_of_media(text):
    error = refusal(text.encode(), name="a.m4a")
    assert error.reason == "undecodable"
    assert "got text that begins with" in error.message


@pytest.mark.parametrize("end", [b"", b"#\x80\x80\x80\x80\n"], ids=["text", "not quite text"])
def test_a_list_of_other_files_is_not_followed(tmp_path, end):
    """To ffmpeg this is a format like any other: it would read the file that is named."""
    sf.write(tmp_path / "secret.wav", noise(0, 1000).T, RATE)
    (tmp_path / "a.m4a").write_bytes(b"ffconcat version 1.0\nfile secret.wav\n" + end)
    assert refusal(tmp_path / "a.m4a").reason == "undecodable"


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=25, deadline=None)
def test_random_bytes_are_refused(content):
    assert refusal(content, name="a.bin").reason in {"undecodable", "truncated", "empty"}


BEGINNINGS = [b"RIFF\x24\0\0\0WAVE", b"fLaC", b"OggS\0", b"ID3\x04", b"\xff\xfb\x90", b"FORM", b"\x1aE\xdf\xa3"]


@pytest.mark.parametrize("magic", BEGINNINGS)
def test_random_bytes_behind_a_known_beginning_are_refused(magic):
    rng = np.random.default_rng(0)
    for size in (0, 5, 60, 3000):
        assert refusal(magic + rng.bytes(size), name="a.bin").reason in {"undecodable", "truncated", "empty"}


SMALL = [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("flac", "PCM_24")]


@pytest.mark.parametrize(("ending", "subtype"), SMALL)
def test_every_cut_of_a_small_file_is_noticed(tmp_path, ending, subtype):
    sf.write(tmp_path / f"a.{ending}", noise(2, 150, channels=2).T, RATE, subtype=subtype)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    end = min(len(whole), _end_of_samples(whole)) if ending == "wav" else len(whole)
    assert decode(whole)[0].shape == (2, 150)
    cuts = [*range(64), *range(64, end - 1000, 31), *range(max(64, end - 1000), end)]  # a FLAC's head is mostly padding
    reasons = [refusal(whole[:cut], name="a").reason for cut in cuts]
    assert reasons[0] == "empty"
    assert set(reasons[1:12]) <= {"undecodable", "truncated"}
    assert set(reasons[12:]) == {"truncated"}


def _end_of_samples(content):
    at = content.index(b"data")
    return at + 8 + struct.unpack("<I", content[at + 4 : at + 8])[0]


@pytest.mark.parametrize("ending", ["ogg", "opus", "m4a", "mp4", "webm", "mkv", "aiff", "au", "mp3"])
def test_cuts_of_other_formats_are_noticed(encoded, ending):
    whole = encoded(ending)
    for share in (0.02, 0.3, 0.62, 0.95):
        assert refusal(whole[: int(share * len(whole))], name=f"a.{ending}").reason == "truncated"
    assert refusal(whole[:-1], name=f"a.{ending}").reason == "truncated"


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "m4a"])
def test_the_message_has_expected_and_got(encoded, ending):
    whole = encoded(ending)
    message = refusal(whole[: len(whole) // 2], name="clips/a").message
    assert re.search(r"promises \d+ (bytes|samples)|promises \d+ bytes of samples", message)
    assert message.startswith("clips/a: ")
    assert message.endswith("fetch it again")


def test_a_cut_flac_tells_how_much_is_there(encoded, sweep):
    whole = encoded("flac")
    message = refusal(whole[: len(whole) // 2]).message
    promised, decoded = map(int, re.search(r"promises (\d+) samples, (\d+) decode", message).groups())
    assert promised == sweep.shape[1]
    assert promised / 4 < decoded < promised * 3 / 4


def test_a_flac_damaged_inside_is_not_called_cut(encoded):
    whole = bytearray(encoded("flac"))
    whole[len(whole) // 2] ^= 0xFF
    error = refusal(bytes(whole))
    assert error.reason == "undecodable"
    assert "damaged after sample" in error.message


def test_every_flipped_byte_in_a_flacs_frames_is_noticed(tmp_path):
    """FLAC frames carry a checksum: a wrong sample never comes out."""
    sf.write(tmp_path / "a.flac", noise(4, 300).T, RATE, subtype="PCM_16")
    whole = (tmp_path / "a.flac").read_bytes()
    expected, _ = decode(whole)
    for at in range(whole.rindex(b"\xff\xf8"), len(whole), 7):
        flipped = bytearray(whole)
        flipped[at] ^= 0x10
        try:
            got, _ = decode(bytes(flipped))
        except ClipError as error:
            assert error.reason in {"undecodable", "truncated"}
        else:
            np.testing.assert_array_equal(got, expected)


def test_an_ogg_cut_between_two_pages_is_noticed(encoded):
    whole = encoded("ogg")
    pages = [match.start() for match in re.finditer(b"OggS\x00", whole)]
    for page in pages[2:]:
        error = refusal(whole[:page])
        assert error.reason == "truncated"
        assert "marked as the last" in error.message


@pytest.mark.parametrize("tag_bytes", [0, 3000])
def test_an_mp3_is_measured_behind_its_tag(encoded, tag_bytes):
    sound = encoded("mp3", "-c:a", "libmp3lame", "-id3v2_version", "0")
    size = bytes([tag_bytes >> 21 & 127, tag_bytes >> 14 & 127, tag_bytes >> 7 & 127, tag_bytes & 127])
    whole = (b"ID3\x04\0\0" + size + bytes(tag_bytes) if tag_bytes else b"") + sound
    assert decode(whole)[0].shape == (1, 2 * RATE)
    promised, there = map(int, re.findall(r"(\d+)", refusal(whole[:-100], name="a").message))
    assert promised - there == 100


def rf64(data_bytes, promised):
    """RF64 (EBU Tech 3306): the lengths that matter are in the ds64 chunk."""
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 72 + promised, promised, promised // 2, 0)
    layout = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + layout + b"data\xff\xff\xff\xff" + bytes(data_bytes)


def test_rf64_states_its_length_in_64_bits():
    assert decode(rf64(200, 200))[0].shape == (1, 100)
    assert refusal(rf64(200, 300), name="a").message.startswith("a: its header promises 300 bytes of samples, 200 are")
    assert refusal(rf64(200, 1 << 33), name="a").reason == "truncated"


def test_an_mp4_box_states_its_length_in_64_bits(encoded):
    whole = encoded("m4a")
    at = whole.index(b"mdat") - 4
    length = struct.unpack(">I", whole[at : at + 4])[0]
    large = b"\0\0\0\1mdat" + struct.pack(">Q", length + 8)
    wide = whole[:at] + large + whole[at + 8 :]
    assert shortfall(io.BytesIO(wide), len(wide), "mp4") == ""
    short = wide[: at + length]
    assert "'mdat' box promises" in shortfall(io.BytesIO(short), len(short), "mp4")


def test_a_span_of_a_cut_flac_before_the_cut_is_given_and_behind_it_refused(encoded, sweep):
    cut = encoded("flac")[: len(encoded("flac")) // 2]
    np.testing.assert_array_equal(read_clip(cut, 0.1, 0.2)[0], sweep[:, 1600:4800])
    with pytest.raises(ClipError) as caught:
        read_clip(cut, 1.5, 0.2)
    assert caught.value.reason == "truncated"


def test_a_header_that_promises_more_than_memory_holds(encoded):
    whole = bytearray(encoded("flac"))
    whole[21:26] = bytes([whole[21] | 0x0F]) + b"\xff\xff\xff\xff"  # 2**36 - 1 samples
    error = refusal(bytes(whole))
    assert error.reason in {"undecodable", "truncated"}


def test_a_wav_that_promises_one_sample_too_many(tmp_path):
    sf.write(tmp_path / "a.wav", noise(0, 100).T, RATE, subtype="PCM_16")
    whole = bytearray((tmp_path / "a.wav").read_bytes())
    whole[40:44] = struct.pack("<I", 202)
    assert refusal(bytes(whole)).message.endswith("promises 202 bytes of samples, 200 are there; fetch it again")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_of_unknown_length_is_fine(tmp_path, length):
    sf.write(tmp_path / "a.wav", noise(0, 100).T, RATE, subtype="PCM_16")
    whole = bytearray((tmp_path / "a.wav").read_bytes())
    whole[40:44] = struct.pack("<I", length)
    assert decode(bytes(whole))[0].shape == (1, 100)


def test_a_video_without_sound(tmp_path, sweep):
    picture = ["-loglevel", "error", "-f", "lavfi", "-i", "color=s=16x16:d=1", str(tmp_path / "a.mkv")]
    if subprocess.run([find_ffmpeg(), "-nostdin", *picture], capture_output=True).returncode:
        pytest.skip("this ffmpeg can't make a test video")
    error = refusal(tmp_path / "a.mkv")
    assert (error.reason, error.message) == ("undecodable", "a.mkv: expected sound, got a file without an audio stream")


def test_messages_are_the_same_on_every_run(encoded, tmp_path):
    """They go into the ledger of a reproducible cache: no addresses, no folders."""
    whole = encoded("webm")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.webm").write_bytes(whole[: len(whole) // 2])
    first, second = (refusal(tmp_path / name / "a.webm").message for name in ("one", "two"))
    assert first == second
    assert "0x" not in first
    assert str(tmp_path) not in first


def test_control_characters_in_a_name_stay_out_of_the_message(tmp_path):
    assert refusal(tmp_path / "a\n\x1b[31m.wav").message == "a??[31m.wav: no such file"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", ""),
        (b"FORM\0\0\0\0AIFC", "aiff"),
        (b"\x00\x00\x00\x20ftypM4A ", "mp4"),
        (b"\x1aE\xdf\xa3\x01", "matroska"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xf1\x50\x80", ""),  # AAC
        (b"NIST_1A\n   1024\n", "nist"),
        (b"hello\n", "text"),
        ("é".encode()[:1], ""),
        (b"", ""),
    ],
)
def test_containers_are_told_by_their_first_bytes(head, kind):
    assert container(head) == kind


@given(st.binary(max_size=200), st.sampled_from(["wav", "aiff", "au", "flac", "ogg", "mp4", "matroska", "mp3"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_length_checks_survive_any_content(tmp_path, content, kind):
    path = tmp_path / "any"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert isinstance(shortfall(file, len(content), kind), str)
