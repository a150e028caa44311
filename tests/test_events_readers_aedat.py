"""AEDAT 2.0 of the DVS128 and AEDAT 4 of any camera: files made by hand, byte by byte, and the recorded one."""

import struct

import numpy as np
import pytest
from made_events import AEDAT2_HEADER, aedat2_bytes, aedat4_bytes, dvs128_address, info_text
from test_events_readers import refusal

from audiodata.events.readers import read_events

TWO, FOUR = {"format": "aedat2"}, {"format": "aedat4"}
STREAMS = {0: ("EVTS", (20, 10))}


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file."""

    def write(content, name="a.aedat"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def turned(path, orientation):
    return read_events(path, {**TWO, "orientation": orientation}).array.tolist()


def test_one_event_in_the_three_orientations(put):
    """Raw x 5, y 9, polarity bit 1 at 1000 us; the bit is 0 for ON."""
    path = put(b"#!AER-DAT2.0\r\n" + bytes.fromhex("0000090B 000003E8"))
    assert turned(path, "jaer") == [(1000, 122, 9, 0)]
    assert turned(path, "upright") == [(1000, 118, 122, 0)]
    assert turned(path, "raw") == [(1000, 5, 9, 1)]
    events = read_events(path, TWO)
    assert events.array.tolist() == turned(path, "upright")
    assert events.sensor_size == (128, 128, 2)


def test_every_pixel_and_polarity_lands_where_the_equations_say(put):
    raw_x, raw_y, raw_p = (axis.ravel() for axis in np.meshgrid(range(128), range(128), range(2)))
    path = put(aedat2_bytes(dvs128_address(raw_x, raw_y, raw_p), np.arange(len(raw_x))))
    for orientation, x, y, p in (
        ("upright", 127 - raw_y, 127 - raw_x, 1 - raw_p),
        ("jaer", 127 - raw_x, raw_y, 1 - raw_p),
        ("raw", raw_x, raw_y, raw_p),
    ):
        array = read_events(path, {**TWO, "orientation": orientation}).array
        for name, expected in (("x", x), ("y", y), ("p", p), ("t", np.arange(len(raw_x)))):
            np.testing.assert_array_equal(array[name], expected)


def test_special_events_are_left_out(put):
    path = put(aedat2_bytes([2, 0x8002, 4, 0xFFFF], [1, 2, 3, 4]))
    assert turned(path, "raw") == [(1, 1, 0, 0), (3, 2, 0, 0)]


def test_a_special_event_without_sense_of_time_changes_nothing(put):
    path = put(aedat2_bytes([2, 0x8000, 4], [1 << 31, 0, (1 << 31) + 5]))
    assert [event[0] for event in turned(path, "raw")] == [1 << 31, (1 << 31) + 5]


def test_timestamps_go_on_through_wraps(put, caplog):
    top = 1 << 32
    path = put(aedat2_bytes([0] * 6, [top - 10, top - 1, top, top + (1 << 31), 2 * top - 1, 2 * top]))
    assert [event[0] for event in turned(path, "raw")] == [top - 10, top - 1, top, top + (1 << 31), 2 * top - 1, 2 * top]
    assert not caplog.messages


def test_a_long_pause_is_no_wrap(put):
    path = put(aedat2_bytes([0, 0], [5, 4_000_000_000]))
    assert [event[0] for event in turned(path, "raw")] == [5, 4_000_000_000]


def test_an_event_from_before_a_wrap_that_comes_after_it(put, caplog):
    top = 1 << 32
    path = put(aedat2_bytes([0, 2, 4, 6], [top - 2, top + 1, top - 1, top + 2]))
    assert turned(path, "raw") == [(top - 2, 0, 0, 0), (top - 1, 2, 0, 0), (top + 1, 1, 0, 0), (top + 2, 3, 0, 0)]
    assert caplog.messages == ["a.aedat: 1 of 4 events are late; sorted by time"]


def test_wraps_and_specials_across_the_blocks_that_a_file_is_read_in(put):
    rng = np.random.default_rng(0)
    count = 200_000
    special = rng.random(count) < 0.01
    times = np.cumsum(rng.integers(0, 100_000, count))
    assert times[-1] > 2 << 32
    path = put(aedat2_bytes(np.where(special, 0x8000, np.arange(count) & 0x7FFF), times))
    array = read_events(path, {**TWO, "orientation": "raw"}).array
    np.testing.assert_array_equal(array["t"], times[~special])
    np.testing.assert_array_equal(array["y"], (np.arange(count) & 0x7FFF)[~special] >> 8)


def test_an_odd_tail_is_left_out_with_a_warning(put, caplog):
    whole = aedat2_bytes([2, 4], [1, 2])
    for tail in range(1, 8):
        caplog.clear()
        assert len(turned(put(whole + bytes(tail)), "raw")) == 2
        assert caplog.messages == [f"a.aedat: {tail} bytes after the last whole event; left out"]


def test_time_that_runs_backward_all_over_is_refused(put):
    path = put(aedat2_bytes([0] * 40, np.arange(40)[::-1]))
    assert "time runs backward at 39 of 40 events" in refusal(path, TWO).message


@pytest.mark.parametrize("first", [b"#", b"##", b"#\n", b"#\n#\n"])
def test_data_that_begin_like_a_header_line(put, first):
    """No DVS128 has such an address; a header that says where it ends leaves no doubt."""
    content = b"".join(first.ljust(4, b"\x01") + struct.pack(">I", time) for time in range(70_000, 70_003))
    assert refusal(put(AEDAT2_HEADER + content), TWO).reason in {"truncated", "undecodable", "empty"}
    ended = AEDAT2_HEADER + b"#End Of ASCII Header\r\n" + content
    assert "bits beyond the 16th" in refusal(put(ended), TWO).message


def test_a_header_that_says_where_it_ends(put):
    path = put(aedat2_bytes([2], [1], AEDAT2_HEADER + b"#End Of ASCII Header\r\n"))
    assert turned(path, "raw") == [(1, 1, 0, 0)]


def test_lines_may_end_in_either_way_and_be_long(put):
    header = b"#!AER-DAT2.0\n#" + b"x" * 100_000 + b"\n# \xe9\n"
    assert turned(put(aedat2_bytes([2], [1], header)), "raw") == [(1, 1, 0, 0)]


@pytest.mark.parametrize(("chip", "named"), [("", "names none"), ("# AEChip: eu.seebetter.ini.chips.davis.Davis240C\r\n", "names eu.seebetter.ini")])
def test_another_camera_is_refused_by_its_address_bits(put, chip, named):
    error = refusal(put(aedat2_bytes([0x12345678], [0], AEDAT2_HEADER + chip.encode())), TWO)
    assert error.reason == "undecodable"
    assert named in error.message
    assert "0x12345678" in error.message


def test_a_camera_of_another_name_with_addresses_of_the_same_kind_is_read(put):
    header = AEDAT2_HEADER + b"# AEChip: es.cnm.imse.jaer.chip.retina.Other\r\n"
    assert len(turned(put(aedat2_bytes([2], [0], header)), "raw")) == 1


@pytest.mark.parametrize("version", ["1.0", "3.1", "4.0"])
def test_other_versions_are_named(put, version):
    error = refusal(put(f"#!AER-DAT{version}\r\n".encode() + bytes(80)), TWO)
    assert error.message == f"a.aedat: expected an AEDAT 2.0 file, got an AEDAT {version} file"


def test_a_header_without_end(put):
    error = refusal(put(b"#!AER-DAT2.0\r\n# Created"), TWO)
    assert (error.reason, error.message) == ("truncated", "a.aedat: a line of its header has no end; fetch it again")


def test_the_recorded_aedat4(shared_data):
    events = read_events(shared_data / "events" / "aedat4" / "sample.aedat4", {"format": "auto"})
    array = events.array
    assert (len(array), int(array["p"].sum()), events.sensor_size) == (111_954, 55_023, (320, 240, 2))
    assert array["t"][0] == 1_605_537_493_718_345
    assert np.all(np.diff(array["t"]) >= 0)
    assert events.duration_us == pytest.approx(590_000, rel=0.01)


def test_the_recorded_aedat4_is_what_the_other_reader_says(shared_data):
    aedat = pytest.importorskip("aedat", reason="the peer's reader of AEDAT 4 is not installed")
    path = shared_data / "events" / "aedat4" / "sample.aedat4"
    theirs = np.concatenate([packet["events"] for packet in aedat.Decoder(str(path)) if packet["stream_id"] == 0])
    ours = read_events(path, FOUR).array
    for name, other in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        np.testing.assert_array_equal(ours[name], theirs[other])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.99])
def test_the_recorded_aedat4_cut(put, shared_data, share):
    whole = (shared_data / "events" / "aedat4" / "sample.aedat4").read_bytes()
    assert refusal(put(whole[: int(share * len(whole))]), FOUR).reason == "truncated"


@pytest.mark.parametrize("compression", range(5))
def test_aedat4_in_every_compression(put, compression):
    packets = [(0, [(5, 1, 2, 1), (6, 19, 9, 0)]), (1, b"not events"), (0, []), (0, [(7, 0, 0, 1)])]
    events = read_events(put(aedat4_bytes(packets, {**STREAMS, 1: ("IMUS", None)}, compression)), FOUR)
    assert events.array.tolist() == [(5, 1, 2, 1), (6, 19, 9, 0), (7, 0, 0, 1)]
    assert events.sensor_size == (20, 10, 2)


def test_aedat4_takes_the_lowest_stream_of_events_or_the_one_asked_for(put):
    streams = {0: ("FRME", (8, 8)), 5: ("EVTS", (30, 10)), 2: ("EVTS", (20, 10))}
    path = put(aedat4_bytes([(5, [(1, 25, 0, 1)]), (2, [(2, 3, 0, 0)])], streams))
    assert read_events(path, FOUR).array.tolist() == [(2, 3, 0, 0)]
    assert read_events(path, {**FOUR, "stream": 5}).sensor_size == (30, 10, 2)
    assert "stream 0 has no events; streams with events: 2, 5" in refusal(path, {**FOUR, "stream": 0}).message


def test_aedat4_without_events(put):
    assert "no stream of events" in refusal(put(aedat4_bytes([], {0: ("FRME", (8, 8))})), FOUR).message


def test_aedat4_sensor_size_comes_from_one_side(put):
    unknown = put(aedat4_bytes([(0, [(1, 3, 4, 0)])], {0: ("EVTS", None)}))
    assert "give `sensor_size`" in refusal(unknown, FOUR).message
    assert read_events(unknown, {**FOUR, "sensor_size": [5, 5]}).sensor_size == (5, 5, 2)
    assert "x runs from 3 to 3, the sensor has 0 to 2" in refusal(unknown, {**FOUR, "sensor_size": [3, 5]}).message
    known = put(aedat4_bytes([(0, [(1, 3, 4, 0)])], STREAMS))
    assert "`sensor_size` = [5, 5], the file says [20, 10]" in refusal(known, {**FOUR, "sensor_size": [5, 5]}).message


def test_aedat4_whose_recording_was_broken_off(put, caplog):
    packets = [(0, [(5, 1, 2, 1)]), (0, [(6, 1, 2, 1)])]
    open_end = aedat4_bytes(packets, STREAMS, compression=1, closed=False)
    assert len(read_events(put(open_end), FOUR).array) == 2
    assert not caplog.messages
    for cut in (1, 20, 60):
        caplog.clear()
        assert len(read_events(put(open_end[:-cut]), FOUR).array) == 1
        assert "broken off; its last packet" in caplog.messages[0]


def test_aedat4_that_is_cut_before_its_index(put):
    whole = aedat4_bytes([(0, [(5, 1, 2, 1)])], STREAMS)
    assert len(read_events(put(whole[: -len(b"the index")]), FOUR).array) == 1
    for cut in (10, 60, 100, 300, len(whole) - 15):
        assert refusal(put(whole[:-cut]), FOUR).reason == "truncated"


@pytest.mark.parametrize("info", [
    b"no XML", b"<dv>", b"<dv/>" + b"\xff", b'<!DOCTYPE a [<!ENTITY b "c">]><dv>&b;</dv>', info_text({"x": ("EVTS", (1, 1))}),
    info_text({0: ("EVTS", ("many", 1))}), info_text({0: ("EVTS", (10**9, 1))}), info_text({0: ("EVTS", (0, 1))}),
])  # fmt: skip
def test_aedat4_with_a_list_of_streams_that_makes_no_sense(put, info):
    error = refusal(put(aedat4_bytes([(0, [(5, 1, 2, 1)])], info)), FOUR)
    assert error.reason == "undecodable"
    assert "header is damaged" in error.message or "no stream of events" in error.message


def test_aedat4_with_unknown_compression(put):
    assert "compression is number 9, known are 0 to 4" in refusal(put(aedat4_bytes([], STREAMS, compression=9)), FOUR).message


@pytest.mark.parametrize("content", [
    b"", b"\x08\0\0\0", b"\xff\xff\xff\xff" + bytes(20), struct.pack("<II", 8, 1 << 31) + bytes(8),
    struct.pack("<I", 24) + struct.pack("<I4sHHHhiI", 14, b"EVTS", 6, 8, 4, 0, 6, 4)[:24],
])  # fmt: skip
def test_aedat4_with_packets_that_make_no_sense(put, content):
    for compression in (0, 1, 3):
        assert "packet of events is damaged" in refusal(put(aedat4_bytes([(0, content)], STREAMS, compression)), FOUR).message


def test_aedat4_with_compressed_packets_that_are_none(put):
    plain, packed = (aedat4_bytes([(0, [(5, 1, 2, 1)])], STREAMS, compression) for compression in (0, 1))
    head = packed.index(b"<dv")
    mixed = packed[:head] + plain[plain.index(b"<dv") :]
    assert refusal(put(mixed), FOUR).reason in {"undecodable", "truncated"}


def test_aedat4_promising_more_than_any_packet_holds(put):
    bomb = struct.pack("<I", (1 << 28) + 1) + bytes(1000)
    assert "bytes in one packet" in refusal(put(aedat4_bytes([(0, bomb)], STREAMS, 3)), FOUR).message
