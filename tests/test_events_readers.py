"""All readers alike: the registry, formats found by content, one line for whatever is wrong, and no file that crashes or hangs one."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import aedat2_bytes, aedat4_bytes, dvs128_address, headerless_bytes, nmnist_bytes, ntidigits_file

from audiodata.errors import CatalogError, ClipError
from audiodata.events.readers import READERS, AutoSettings, read_events, reader_settings, sniff_format
from audiodata.events.readers.base import as_events, in_order, kind_of
from audiodata.events.record import EVENT_1D, EVENT_2D, Events, make_events
from audiodata.events.writing import save_events
from audiodata.reasons import REASONS
from audiodata.settings import Settings

OURS = ("aedat2", "aedat4", "nmnist", "headerless", "ntidigits", "npz")
SETTINGS = {"headerless": {"address_bytes": 2, "tick_us": 0.2}, "npz": {"sensor_size": [34, 34, 2]}}
ITEMS = {"ntidigits": "train/man-ae-a-1"}
TIMES = np.arange(20) * 10


def reader_of(form):
    return {"format": form, **SETTINGS.get(form, {})}


def recording():
    """Twenty events that any sensor of 34 x 34 could have."""
    return make_events(TIMES, np.arange(20), np.arange(20)[::-1], np.arange(20) % 2, (34, 34, 2))


def write(path, form):
    """A small file of each format; twenty events."""
    x, y, p = np.arange(20), np.arange(20)[::-1], np.arange(20) % 2
    if form == "aedat2":
        path.write_bytes(aedat2_bytes(dvs128_address(x, y, p), TIMES))
    elif form == "aedat4":
        path.write_bytes(aedat4_bytes([(0, list(zip(TIMES, x, y, p, strict=True)))], {0: ("EVTS", (34, 34))}, compression=1))
    elif form == "nmnist":
        path.write_bytes(nmnist_bytes(TIMES, x, y, p))
    elif form == "headerless":
        path.write_bytes(headerless_bytes(x, TIMES, 2))
    elif form == "ntidigits":
        ntidigits_file(path, {"train": {"man-ae-a-1": (TIMES / 1e6, x)}, "test": {}})
    else:
        save_events(path, recording())
    return path


def refusal(path, reader, item="", **options):
    """What a file is refused with: one line that begins with its name, and a reason of the closed list."""
    with pytest.raises(ClipError) as caught:
        read_events(path, reader, item, **options)
    error = caught.value
    assert error.reason in REASONS
    assert error.message.isprintable()
    assert error.message.startswith(options.get("name", path.name) + ": ")
    assert str(path.parent) not in error.message
    return error


@pytest.mark.parametrize("form", OURS)
def test_every_format_is_read_whatever_the_file_is_called(tmp_path, form):
    path = write(tmp_path / "a.wav", form)
    before = path.read_bytes()
    events = read_events(path, reader_of(form), ITEMS.get(form, ""))
    assert len(events.array) == 20
    assert events.array.dtype == (EVENT_1D if form in {"headerless", "ntidigits"} else EVENT_2D)
    assert events.array["t"].tolist() == (TIMES // 5 if form == "headerless" else TIMES).tolist()
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", [form for form in OURS if form != "headerless"])
def test_a_format_is_found_by_content(tmp_path, form):
    path = write(tmp_path / "a.dat", form)
    assert sniff_format(path) == form
    found = read_events(path, {"format": "auto"}, ITEMS.get(form, ""))
    named = read_events(path, reader_of(form), ITEMS.get(form, ""))
    assert found.sensor_size == named.sensor_size
    np.testing.assert_array_equal(found.array, named.array)


def test_a_cochlea_without_header_must_be_named(tmp_path):
    message = refusal(write(tmp_path / "a.aedat", "headerless"), {"format": "auto"}).message
    assert "not known beyond doubt" in message
    assert "headerless" in message


@pytest.mark.parametrize("spoil", ["order", "x", "cut", "few", "zeros"])
def test_bytes_that_could_be_something_else_are_not_taken_for_nmnist(tmp_path, spoil):
    x, times = np.arange(20), TIMES.copy()
    if spoil == "order":
        times[10] = 0
    if spoil == "x":
        x[19] = 34
    content = nmnist_bytes(times, x, x[::-1], x % 2)
    path = tmp_path / "a"
    path.write_bytes({"cut": content[:-1], "few": content[:75], "zeros": bytes(500)}.get(spoil, content))
    assert refusal(path, {"format": "auto"}).reason == "undecodable"


@pytest.mark.parametrize(
    ("head", "got"),
    [
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "an AEDAT 3.1 file"),
        (b"#!AER-DAT1.0\r\n" + bytes(60), "an AEDAT 1.0 file"),
        (b"% evt 3.0\n" + bytes(60), "a Prophesee recording, or text"),
        (b"<!DOCTYPE html><html>", "a web page or XML"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
        (b"RIFF\x24\0\0\0WAVE", "a RIFF file (sound or video)"),
        (b"\x07\xf0\x01", "a file that begins with the bytes 07 f0 01"),
    ],
)
def test_what_is_no_known_format_is_called_what_it_is(tmp_path, head, got):
    path = tmp_path / "a.aedat"
    path.write_bytes(head)
    error = refusal(path, {"format": "auto"})
    assert error.reason == "undecodable"
    assert got in error.message
    assert "name the `format`" in error.message


@pytest.mark.parametrize("form", OURS)
@pytest.mark.parametrize("other", OURS)
def test_a_file_of_another_format_is_refused(tmp_path, form, other):
    if form == other:
        return
    path = write(tmp_path / "a", other)
    try:
        events = read_events(path, reader_of(form), ITEMS.get(form, ""))
    except ClipError as error:
        assert error.reason in {"undecodable", "truncated"}
    else:  # neither has a header: twelve-byte groups may pass for both
        assert {form, other} == {"nmnist", "headerless"}
        assert len(events.array)


@pytest.mark.parametrize("form", [*OURS, "auto"])
def test_files_that_are_not_there_or_empty(tmp_path, form):
    reader, item = reader_of(form), ITEMS.get(form, "")
    assert refusal(tmp_path / "a", reader, item).message == "a: no such file"
    assert refusal(tmp_path / "no folder" / "a", reader, item).reason == "missing_file"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder", reader, item).reason == "unreadable"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe", reader, item).reason == "unreadable"
    (tmp_path / "a").touch()
    error = refusal(tmp_path / "a", reader, item)
    assert (error.reason, error.message) == ("empty", "a: expected events, got a file of 0 bytes")


@pytest.mark.parametrize("form", [*OURS, "auto"])
def test_a_file_that_may_not_be_read(tmp_path, form, monkeypatch):
    path = write(tmp_path / "a", "nmnist" if form == "auto" else form)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    error = refusal(path, reader_of(form), ITEMS.get(form, ""))
    assert (error.reason, error.message) == ("unreadable", "a: can't be read (Permission denied)")


def test_files_without_an_event(tmp_path):
    (tmp_path / "two").write_bytes(aedat2_bytes([], []))
    (tmp_path / "special").write_bytes(aedat2_bytes([0x8000], [0]))
    (tmp_path / "four").write_bytes(aedat4_bytes([], {0: ("EVTS", (4, 4))}))
    (tmp_path / "overflow").write_bytes(nmnist_bytes([0], [0], [240], [0]))
    save_events(tmp_path / "none.npz", Events(np.zeros(0, EVENT_2D), (4, 4, 2)))
    forms = {"two": "aedat2", "special": "aedat2", "four": "aedat4", "overflow": "nmnist", "none.npz": "npz"}
    for name, form in forms.items():
        error = refusal(tmp_path / name, {"format": form})
        assert (error.reason, error.message) == ("empty", f"{name}: holds no events")


def test_messages_call_a_file_as_asked(tmp_path):
    error = refusal(tmp_path / "a", {"format": "npz"}, name="sets/a.npz")
    assert error.message == "sets/a.npz: no such file"
    with pytest.raises(ClipError, match=r"a\?\?\[31m: no such file"):
        read_events(tmp_path / "a\n\x1b[31m", {"format": "auto"})


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ({}, "here: `format` is required; known: aedat2, "),
        ({"format": "aedat"}, "here: unknown format `aedat`; did you mean `aedat4`?"),
        ({"format": 3}, "here: unknown format `3`; known: "),
        ({"format": "aedat2", "orientaton": "raw"}, "here: unknown key `orientaton`; did you mean `orientation`?"),
        ({"format": "aedat2", "orientation": "left"}, "here: `orientation` = 'left': "),
        ({"format": "headerless", "tick_us": 1.0}, "here: `address_bytes` is required"),
        ({"format": "headerless", "address_bytes": 3, "tick_us": 1.0}, "here: `address_bytes` = 3: "),
        ({"format": "headerless", "address_bytes": 2, "tick_us": 0.0}, "here: `tick_us` = 0.0: "),
        ({"format": "headerless", "address_bytes": 2, "tick_us": 1.0, "ear": "left"}, 'here: `ear` = "left" needs `ears` = 2'),
        ({"format": "ntidigits", "channels": 3}, "here: unknown key `channels`"),
        ({"format": "nmnist", "sensor_size": [34, 241]}, "here: `sensor_size.1` = 241: "),
        ({"format": "npz", "sensor_size": [34, 34, 3]}, "here: `sensor_size.2` = 3: "),
        ({"format": "auto", "orientation": "raw"}, "here: `orientation` needs a format that is named"),
    ],
)
def test_settings_that_are_wrong_are_told_before_any_file_is_there(reader, message, tmp_path):
    with pytest.raises(CatalogError) as caught:
        reader_settings(reader, "here")
    assert str(caught.value).startswith(message)
    with pytest.raises(CatalogError):
        read_events(tmp_path / "a", reader)


def test_settings_that_are_right():
    assert isinstance(reader_settings({"format": "auto"}, "here"), AutoSettings)
    assert reader_settings({"format": "aedat2", "orientation": "jaer"}, "here").orientation == "jaer"
    assert reader_settings({"format": "npz", "sensor_size": [64, 1, 2]}, "here").sensor_size == (64, 1, 2)


def test_every_reader_is_complete():
    assert set(OURS) <= set(READERS)
    for form, reader in READERS.items():
        assert issubclass(reader.settings, Settings), form
        assert reader.summary
        assert reader.summary.isprintable()


def test_late_events_are_sorted_and_stay_in_line(tmp_path, caplog):
    array = np.zeros(40, EVENT_2D)
    array["t"], array["x"] = np.arange(40) // 2, np.arange(40)
    array["t"][10] = 2
    ordered = in_order(array, tmp_path / "a.aedat")
    assert ordered["x"].tolist() == [0, 1, 2, 3, 4, 5, 10, *range(6, 10), *range(11, 40)]
    assert caplog.messages == ["a.aedat: 1 of 40 events are late; sorted by time"]
    assert array["t"][10] == 2
    many = np.zeros(5000, EVENT_2D)
    many["t"], many["x"] = np.arange(5000) // 1000, np.arange(5000)
    many["t"][4000] = 0
    assert in_order(many, tmp_path)["x"].tolist() == [*range(1000), 4000, *range(1000, 4000), *range(4001, 5000)]
    array["t"][20:24] = [3, 2, 1, 0]
    with pytest.raises(ClipError, match="time runs backward at 5 of 40 events"):
        in_order(array, tmp_path)


def test_packed_words_are_the_structured_arrays():
    array = as_events(np.array([-5, 3 | 200 << 16 | 1 << 32, 7, 32767]), rows=True)
    assert array.tolist() == [(-5, 3, 200, 1), (7, 32767, 0, 0)]
    assert as_events(np.array([9, 63 | 1 << 16]), rows=False).tolist() == [(9, 63, 1)]


HEADS = [b"", b"#!AER-DAT2.0\r\n", b"#!AER-DAT4.0\r\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]


@given(st.sampled_from(HEADS), st.binary(max_size=400), st.sampled_from([*OURS, "auto"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_give_events_or_one_line(tmp_path, head, content, form):
    path = tmp_path / "any"
    path.write_bytes(head + content)
    assert sound_events_or_one_line(path, form)
    assert path.read_bytes() == head + content


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_give_events_or_one_line(tmp_path, data):
    """Bytes of a sound file turned over, cut out or cut off."""
    form = data.draw(st.sampled_from(OURS))
    content = bytearray(write(tmp_path / "sound", form).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    first, last = sorted(data.draw(st.tuples(*2 * [st.integers(0, len(content))])))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(content[:first] + content[last:]) if data.draw(st.booleans()) else bytes(content))
    assert sound_events_or_one_line(path, data.draw(st.sampled_from([form, "auto"])))


def sound_events_or_one_line(path, form):
    """Whether a file is either refused in one line, or read as at least one event, in order and inside the sensor."""
    try:
        array, sensor_size = read_events(path, reader_of(form), ITEMS.get(form, "train/man-ae-a-1"))
    except ClipError as error:
        return error.reason in {"undecodable", "truncated", "empty"} and error.message.startswith(f"{path.name}: ") and error.message.isprintable()
    sides = {name: side for name, side in zip("xyp", sensor_size, strict=True) if name in array.dtype.names}
    inside = all(array[name].min() >= 0 and array[name].max() < side for name, side in sides.items())
    return len(array) > 0 and inside and bool(np.all(array["t"][1:] >= array["t"][:-1]))


def test_beginnings_that_say_nothing():
    assert kind_of(b"") == ""
    assert kind_of(b"\0\0\0\0") == ""
